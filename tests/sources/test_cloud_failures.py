"""The connection when things go wrong: answers that are none, and networks that fail."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sources.canned_cloud import PASSWORD, CannedCloud, Reply, spec
from vgpu_console.sources.base import SourceError
from vgpu_console.sources.cloud import CloudConnection, CloudSpec, HttpStatusError

SERVERS = "/compute/v2.1/servers"


@pytest.fixture
def cloud() -> CannedCloud:
    return CannedCloud()


HTML = b"<!DOCTYPE html><html><head><title>502 Bad\x1b[31m Gateway</title></head></html>"


class TestBadAnswers:
    @pytest.mark.parametrize(
        ("reply", "kind", "words"),
        [
            (Reply(403, {"forbidden": {"message": "Policy does not allow"}}), "forbidden", "needs the admin role"),
            (Reply(404, {}), "protocol", "has no /servers"),
            (Reply(406, {}), "protocol", "microversion"),
            (Reply(429, {}), "unreachable", "less often"),
            (Reply(500, {"computeFault": {"message": "broken"}}), "protocol", "HTTP 500: broken"),
            (Reply(502, HTML, {"Content-Type": "text/html"}), "unreachable", "a web page ‘502 Bad·[31m Gateway’"),
            (Reply(503, b""), "unreachable", "HTTP 503"),
            (Reply(504, b""), "timeout", "HTTP 504"),
            (Reply(200, HTML, {"Content-Type": "text/html"}), "protocol", "instead of JSON: is there a proxy"),
            (Reply(200, b'{"servers": [{"id": "1"'), "protocol", "cut off or broken"),
            (Reply(200, b"[]"), "protocol", "a list, not an object"),
            (Reply(200, b'"hello"'), "protocol", "a string, not an object"),
            (Reply(200, b""), "protocol", "an empty body"),
            (Reply(200, b"\xff\xfe\x00"), "protocol", "cut off or broken"),
            (Reply(200, b"[" * 200_000), "protocol", "broken"),
            (Reply(300, {}), "protocol", "HTTP 300"),
        ],
    )
    def test_each_is_one_plain_line(self, cloud: CannedCloud, reply: Reply, kind: str, words: str) -> None:
        cloud.get(SERVERS, reply)
        with pytest.raises(SourceError) as caught:
            cloud.connection().get("compute", "/servers")
        assert words in str(caught.value)
        assert caught.value.kind == kind
        assert str(caught.value).isprintable()
        assert "nova" in str(caught.value)

    @pytest.mark.parametrize(
        ("reply", "kind", "words"),
        [
            (Reply(401, {"error": {"message": "The request you have made requires authentication."}}), "auth", "user"),
            (Reply(401, {"error": {"message": "The password is expired"}}), "auth", "The password is expired"),
            (Reply(400, {"error": {"message": f"'{PASSWORD}' is not of type 'string'"}}), "auth", "in quotes"),
            (Reply(404, b"nope"), "protocol", "check auth_url"),
            (Reply(500, {"error": {"message": PASSWORD}}), "protocol", "HTTP 500"),
            (Reply(200, HTML, {"Content-Type": "text/html"}), "protocol", "keystone"),
            (Reply(201, b"[1, 2", {"X-Subject-Token": "t"}), "protocol", "no token"),
            (Reply(201, {"token": 7}, {"X-Subject-Token": "t"}), "protocol", "keystone"),
            (Reply(201, {"token": {}}, {}), "protocol", "keystone"),
        ],
    )
    def test_a_login_that_fails_says_why(self, cloud: CannedCloud, reply: Reply, kind: str, words: str) -> None:
        cloud.routes["POST", "/identity/v3/auth/tokens"] = reply
        with pytest.raises(SourceError) as caught:
            cloud.connection().identity()
        assert words in str(caught.value)
        assert caught.value.kind == kind
        assert PASSWORD not in str(caught.value)

    def test_a_wrong_password(self, cloud: CannedCloud) -> None:
        with pytest.raises(SourceError, match=r"keystone at cloud\.test did not accept the credential") as caught:
            cloud.connection(password="wrong-one").identity()
        assert caught.value.kind == "auth"
        assert "wrong-one" not in str(caught.value)

    def test_the_status_is_kept_for_callers(self, cloud: CannedCloud) -> None:
        with pytest.raises(HttpStatusError) as caught:
            cloud.connection().get("compute", "/servers/1")
        assert caught.value.status == 404

    @given(
        body=st.binary(max_size=300),
        status=st.integers(100, 599),
        kind=st.sampled_from(["text/html", "application/json", ""]),
    )
    @settings(max_examples=60, deadline=None)
    def test_no_answer_breaks_it(self, body: bytes, status: int, kind: str) -> None:
        cloud = CannedCloud()
        cloud.get(SERVERS, Reply(status, body, {"Content-Type": kind}))
        said = ""
        try:
            cloud.connection().get("compute", "/servers")
        except SourceError as exc:
            said = str(exc)
        assert said.isprintable()
        assert said or 200 <= status < 300


@pytest.fixture
def silent_server() -> Iterator[int]:
    """A port that accepts connections and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(8)
        yield server.getsockname()[1]


class TestTheNetwork:
    @pytest.fixture(autouse=True)
    def _no_proxy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)

    def failing(self, url: str, **overrides: Any) -> SourceError:
        base = spec(url=url)
        settings_ = CloudSpec(cloud="x", overrides=base.overrides | overrides, load_files=False)
        with pytest.raises(SourceError) as caught:
            CloudConnection(settings_, read_only=True, timeout_s=0.3).identity()
        assert PASSWORD not in str(caught.value)
        return caught.value

    def test_nobody_listens(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        error = self.failing(f"http://127.0.0.1:{port}/v3")
        assert (error.kind, str(error)) == ("unreachable", f"keystone at 127.0.0.1:{port}: connection refused")

    def test_no_answer_in_time(self, silent_server: int) -> None:
        error = self.failing(f"http://127.0.0.1:{silent_server}/v3")
        assert (error.kind, str(error)) == (
            "timeout",
            f"keystone at 127.0.0.1:{silent_server}: no answer within 0.3 s",
        )

    def test_it_hangs_up(self, closing_server: int) -> None:
        error = self.failing(f"http://127.0.0.1:{closing_server}/v3")
        assert error.kind == "unreachable"
        assert "closed the connection" in str(error)

    def test_a_name_that_is_not_known(self) -> None:
        error = self.failing("http://keystone.invalid:5000/v3")
        assert error.kind == "unreachable"
        assert "keystone.invalid:5000: its name is not known to DNS" in str(error)

    def test_userinfo_in_the_url_is_not_told(self) -> None:
        assert "bob" not in str(self.failing("http://bob:hunter22@keystone.invalid:5000/v3"))

    @pytest.mark.parametrize("url", ["cloud.test/v3", "ftp://cloud.test/v3", "http://[broken/v3"])
    def test_a_url_that_is_none(self, url: str) -> None:
        assert str(self.failing(url)) == "cloud 'x': auth_url is not an http:// or https:// URL"

    def test_an_expired_certificate(self, expired_tls: tuple[int, str]) -> None:
        port, authority = expired_tls
        error = self.failing(f"https://localhost:{port}/v3", verify=authority)
        assert error.kind == "unreachable"
        assert str(error) == f"keystone at localhost:{port}: its certificate is not accepted: certificate has expired"

    def test_a_certificate_of_nobody_known(self, expired_tls: tuple[int, str]) -> None:
        error = self.failing(f"https://localhost:{expired_tls[0]}/v3")
        assert "its certificate is not accepted: self" in str(error)

    def test_https_to_a_port_that_speaks_http(self, plain_http: int) -> None:
        error = self.failing(f"https://localhost:{plain_http}/v3")
        assert "is it http:// and not https://?" in str(error)
