"""A real browser without a window, driven over its own protocol, and a proxy that counts what it asks the world for."""

from __future__ import annotations

import base64
import fcntl
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.lab.migration.requirements import NotPossible, as_root, program

PACKAGE = "chromium-headless-shell"
PROGRAMS = (PACKAGE, "chromium", "chromium-browser", "google-chrome")

_PATIENCE_S = 30.0
_AFTER_LOADING_S = 0.25

_FLAGS = (
    "--headless",
    "--no-sandbox",  # root has none; what is opened here is our own
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--proxy-bypass-list=<-loopback>",  # nothing goes past the proxy, not even to this machine
    "--remote-debugging-pipe",
)


def set_up() -> str:
    """Where the browser is; installs it where that is allowed. Raises NotPossible."""
    if found := _found():
        return found
    if program("apt-get") and os.environ.get("SETUP_APT", "yes") != "no":
        apt = [*as_root(), "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120"]
        install = [*apt, "install", "-y", "--no-install-recommends", PACKAGE]
        if subprocess.run(install, capture_output=True).returncode:
            subprocess.run([*apt, "update"], capture_output=True)
            subprocess.run(install, capture_output=True)
    if found := _found():
        return found
    raise NotPossible(f"no browser: none of {', '.join(PROGRAMS)} (Debian: apt-get install {PACKAGE})")


def _found() -> str | None:
    return next((path for name in PROGRAMS if (path := program(name))), None)


class Proxy:
    """Answers every request with a refusal, and remembers it."""

    def __init__(self) -> None:
        seen = self.seen = []  # type: list[str]

        class Handler(BaseHTTPRequestHandler):
            def _refuse(self) -> None:
                seen.append(f"{self.command} {self.path}")
                self.send_error(502)

            do_GET = do_HEAD = do_POST = do_PUT = do_OPTIONS = do_CONNECT = _refuse

            def log_message(self, format: str, *args: Any) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()


class Browser:
    """One browser with one tab. Every call raises RuntimeError when the browser says no, TimeoutError when nothing."""

    def __init__(self, path: str, proxy: Proxy) -> None:
        self.requests: list[str] = []
        """What the page asked for, by address."""
        self.complaints: list[str] = []
        """What stands on the page's console: errors, and what its policy has refused."""
        self._numbers = itertools.count(1)
        self._answers: dict[int, dict[str, Any]] = {}
        self._events: list[str] = []
        self._news = threading.Condition()
        self._home = tempfile.mkdtemp(prefix="vgpu-browser-")
        to_it, ours = (fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in os.pipe())
        theirs, from_it = (fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in os.pipe())
        self._write, self._read = os.fdopen(ours, "wb", buffering=0), os.fdopen(theirs, "rb")
        command = [path, *_FLAGS, f"--proxy-server={proxy.url}", f"--user-data-dir={self._home}", "about:blank"]
        # the protocol's pipes are those with the numbers 3 and 4
        shell = f'exec "$@" 3<&{to_it} 4>&{from_it} {to_it}<&- {from_it}>&-'
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", shell, "bash", *command],
            pass_fds=(to_it, from_it),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ.get("PATH", os.defpath), "HOME": self._home},
        )
        os.close(to_it)
        os.close(from_it)
        threading.Thread(target=self._listen, daemon=True).start()
        self._session = ""
        targets = self._call("Target.getTargets")["targetInfos"]
        page = next(t["targetId"] for t in targets if t["type"] == "page")
        self._session = self._call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    # Pages

    def open(self, path: Path) -> None:
        """Open a file, and wait until it is loaded and nothing more comes."""
        self.requests.clear()
        self.complaints.clear()
        self._events.clear()
        answer = self._call("Page.navigate", url=path.absolute().as_uri())
        if answer.get("errorText"):
            raise RuntimeError(f"{path}: {answer['errorText']}")
        self._until(lambda: "Page.loadEventFired" in self._events, "the page is loaded")
        time.sleep(_AFTER_LOADING_S)  # what a page would fetch or run after it is loaded

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page, run past the page's policy."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def see_as(self, *, media: str = "", scheme: str = "light", width: int = 1280, height: int = 900) -> None:
        """The media, the colour scheme and the size that the page sees."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self._call("Emulation.setEmulatedMedia", media=media, features=[feature])
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def picture(self) -> bytes:
        """The whole page as PNG."""
        shot = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    def print(self) -> bytes:
        """The page as PDF, with the size of paper that its style asks for."""
        sheet = self._call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
        return base64.b64decode(sheet["data"])

    def close(self) -> None:
        """End it."""
        try:
            self._session = ""
            self._call("Browser.close")
            self._process.wait(10)
        except (OSError, RuntimeError, TimeoutError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._write.close()
        shutil.rmtree(self._home, ignore_errors=True)

    # The protocol

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._write.write(json.dumps(message).encode() + b"\0")
        self._until(lambda: number in self._answers, method)
        answer = self._answers.pop(number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _until(self, true: Callable[[], bool], what: str) -> None:
        with self._news:
            if not self._news.wait_for(true, _PATIENCE_S):
                raise TimeoutError(f"{what}: not within {_PATIENCE_S:.0f} s")

    def _listen(self) -> None:
        data = b""
        while chunk := os.read(self._read.fileno(), 65_536):
            *messages, data = (data + chunk).split(b"\0")
            with self._news:
                for message in messages:
                    self._take(json.loads(message))
                self._news.notify_all()
        self._read.close()

    def _take(self, message: Mapping[str, Any]) -> None:
        if "id" in message:
            self._answers[message["id"]] = dict(message)
            return
        method, params = message["method"], message["params"]
        self._events.append(method)
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.complaints.append(str(params["args"]))
