"""Which words may leave the house: those of this program's own texts, of the system's errors, and short numbers.

Everything else in a text is somebody's name, address or secret until proven otherwise.
"""

from __future__ import annotations

import ast
import errno
import functools
import http
import os
import re
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

RUN = re.compile(r"[^\W_][\w.:@/+%-]*|[/_][\w.:@/+%-]+")
"""A stretch of text that can be one name, address or path."""

_EXAMPLES = re.compile(r"[a-z]+(?:-[a-z]+)*-\d{1,4}|prod|vdi|render|students|acme|ml-research|monday|tuesday|night")
"""Names in this program's own help and examples: somebody may have chosen the same."""

_ENDS = ".:-+/@%_"
_OWN_ROOMS_LEFT_OUT = frozenset({"simulator", "assets"})
"""The embedded cloud's names look like anybody's."""

_FIELD_WORDS = """
Red Hat Enterprise Linux Ubuntu Debian GNU Rocky AlmaLinux CentOS Stream Fedora Oracle SUSE openSUSE Leap LTS Server
Intel AMD Ampere Xeon EPYC Gold Silver Platinum Bronze Processor Core CPU R TM Plow Core NVIDIA GRID Tesla Quadro RTX
PCIe SXM SXM2 SXM3 SXM4 SXM5 HBM2 HBM2e HBM3 NVL Ada Lovelace Hopper Turing Volta Blackwell
ACTIVE ERROR SHUTOFF PAUSED SUSPENDED BUILD REBUILD RESIZE VERIFY_RESIZE MIGRATING DELETED SOFT_DELETED SHELVED
SHELVED_OFFLOADED RESCUE REBOOT HARD_REBOOT UNKNOWN accepted queued preparing running post-migrating completed failed
cancelled error done confirmed finished reverted up down enabled disabled None true false null
the a an of to in on at by for from with without and or not no is are was were be been has have had this that it its
Permission denied publickey password authentication failed handshake certificate verify expired hostname mismatch
Connection refused reset closed timed out unreachable resolve name service temporary failure unauthorized forbidden
Internal Server Gateway Timeout Bad Request Too Many Requests Unavailable internal operation domain device instance
""".split()  # noqa: SIM905 - a list of a hundred quoted words reads worse

_BUILD = (
    r"\d{1,4}|el\d\w{0,6}|fc\d\d|rt\d{0,3}|deb\d\du\d|bpo\d\d|generic|cloud|amd64|x86_64|aarch64|default|ubuntu\d{1,2}"
)
"""What distributions add to a version."""

_SHAPES = (
    re.compile(r"\d{1,6}"),
    # versions; four numbers with dots between them are an address
    re.compile(rf"v?\d{{1,4}}(?:\.\d{{1,4}}){{1,2}}(?:[-+~](?:{_BUILD})(?:\.(?:{_BUILD}))*)*"),
    re.compile(r"\d{1,6}(?:\.\d{1,3})?(?:s|ms|h|m|d|min|B|kB|MB|GB|TB|KiB|MiB|GiB|TiB|GHz|MHz|%|x|st|nd|rd|th)"),
    re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:[.,]\d{1,6})?)?(?:Z|[+-]\d\d:?\d\d)?)?"),  # times
    re.compile(r"\d\d?:\d\d(?::\d\d(?:[.,]\d{1,6})?)?"),
    re.compile(r"[0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]"),  # a PCI address
    re.compile(r"pci_[0-9a-f]{4}_[0-9a-f]{2}_[0-9a-f]{2}_[0-7]"),
    re.compile(r"nvidia-\d{1,4}"),
    re.compile(r"[A-Z]{1,3}\d{1,4}[A-Z]{0,2}(?:-\d){0,2}(?:-\d{1,3}[ABCQ])?"),  # A100, RTX6000, A100-1-5C
)


def harmless_shape(run: str) -> bool:
    """Whether a run is a short number, version, time, PCI address or vGPU type."""
    return any(shape.fullmatch(run) for shape in _SHAPES)


def harmless_word(run: str) -> bool:
    """Whether a run is a word of this program or of the system's own messages, as it is written or in lower case."""
    words = vocabulary()
    return run in words or (run.isalpha() and run.lower() in words)


@functools.cache
def vocabulary() -> frozenset[str]:
    """All runs in this program's own texts, also as the parts between slashes and colons. Made once, when needed."""
    words: set[str] = set(_FIELD_WORDS) | {word.lower() for word in _FIELD_WORDS}
    texts = [os.strerror(number) for number in errno.errorcode]
    texts += [status.phrase for status in http.HTTPStatus]
    for text in texts:
        words.update(_runs(text))
    for module in _modules(files("vgpu_console")):
        for text in _texts(module):
            words.update(_runs(text))
    catalogue = files("vgpu_console") / "assets" / "vgpu_types.toml"
    words.update(_runs(catalogue.read_text(encoding="utf-8")))
    return frozenset(word for word in words if not _EXAMPLES.fullmatch(word))


def _runs(text: str) -> Iterator[str]:
    for run in RUN.findall(text):
        run = run.rstrip(_ENDS)
        yield run
        if run.isalpha():
            yield run.lower()
        for part in re.split(r"[/:@.]", run):
            if part:
                yield part.rstrip(_ENDS)


def _modules(folder: Traversable) -> Iterator[Traversable]:
    for entry in folder.iterdir():
        if entry.is_dir():
            if entry.name not in _OWN_ROOMS_LEFT_OUT:
                yield from _modules(entry)
        elif entry.name.endswith(".py"):
            yield entry


def _texts(module: Traversable) -> Iterator[str]:
    """The texts of a module that are shown or sent: every string in it but docstrings, and the names of its fields."""
    try:
        tree = ast.parse(module.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):  # installed without its source: fewer words are known, more are hidden
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def trimmed(run: str) -> tuple[str, str]:
    """A run without the marks at its end, and those: a full stop after a word is none of the word."""
    kept = run.rstrip(_ENDS)
    return kept, run[len(kept) :]
