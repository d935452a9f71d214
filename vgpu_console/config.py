"""Settings: what they are, where each value came from, and clear words when one is wrong.

A value is looked for on the command line, then in the environment (``VGPU_CONSOLE_<KEY>``, ``OS_CLOUD``,
``OS_REGION_NAME``, ``NO_COLOR``), then in one TOML file, then among the defaults. ``read_only`` is the exception: it is
a wall, so any layer can put it up and none can take it down again.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from vgpu_console.model.source import SourceKind
from vgpu_console.text import plain

APP = "vgpu-console"
ENV_PREFIX = "VGPU_CONSOLE_"
CONFIG_VARIABLE = "VGPU_CONSOLE_CONFIG"

Layer = Literal["command line", "environment", "file", "default"]
Theme = Literal["auto", "dark", "light", "colour-blind", "mono"]
LogLevel = Literal["debug", "info", "warning", "error"]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=3_600_000)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]

_OTHER_VARIABLES = {"OS_CLOUD": "cloud", "OS_REGION_NAME": "region", "NO_COLOR": "no_color"}
_BOOL_WORDS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
_RANK: dict[Layer, int] = {"command line": 0, "environment": 1, "file": 2, "default": 3}


class ConfigError(Exception):
    """Settings that cannot be used. ``str()`` holds one plain line per mistake, each naming its file or variable."""


class DemoChoice(msgspec.Struct, frozen=True):
    """Which embedded cloud to run on: a scenario's name or file, a number of hosts to generate, None: the default."""

    scenario: str | int | None = None


class Origin(msgspec.Struct, frozen=True):
    """Where a value came from: its layer, and the option, variable or file that held it."""

    layer: Layer = "default"
    detail: str = ""


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """One value with where it came from, as ``vgpu-console config`` prints it."""

    key: str
    value: Any
    origin: Layer
    detail: str = ""


class RefreshSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds between two readings of a source while all is well. ``openstack`` is Nova and Placement."""

    openstack: Seconds = 5.0
    keystone: Seconds = 30.0
    libvirt: Seconds = 10.0
    ssh: Seconds = 60.0
    adaptive: bool = True

    def interval(self, kind: SourceKind, hosts: int) -> float:
        """Seconds between two readings of one source of this kind in a fleet of that many hosts.

        With ``adaptive`` the pace holds up to 100 hosts and then grows with the fleet, to four times at 400 hosts
        and above: the number of host channels grows with the fleet, the machine that asks does not.
        """
        base = {
            "nova": self.openstack,
            "placement": self.openstack,
            "keystone": self.keystone,
            "libvirt": self.libvirt,
            "ssh": self.ssh,
        }[kind]
        return base * min(4.0, max(1.0, hosts / 100)) if self.adaptive else base


class HostsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Hosts to ask although Nova may not name them."""

    extra: tuple[str, ...] = ()


class LibvirtSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a host's libvirt is reached; ``{host}`` in ``uri`` stands for the host's name."""

    enabled: bool = True
    uri: str = "qemu+ssh://{host}/system"
    timeout: Seconds = 5.0


class SshSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How hosts are reached over SSH. None leaves the choice to OpenSSH's own configuration.

    ``changes`` lets the console itself run its few constant commands that change a host (set a vGPU type, enable
    virtual functions); without it SSH only reads.
    """

    enabled: bool = True
    changes: bool = False
    user: str | None = None
    port: Port | None = None
    known_hosts: str | None = None
    timeout: Seconds = 10.0
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=256)] = 16


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the log goes (None: the state folder of the user) and how much of it there is."""

    file: str | None = None
    level: LogLevel = "info"


class JournalSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``syslog``: a local socket that takes each line of the journal too, mostly ``/dev/log``; None: none does."""

    syslog: str | None = None


class MigrationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How long live migrations let a guest stand still: the longest that is allowed, and what it is predicted from.

    ``max_downtime`` is in seconds (None: no limit), ``rate`` what the migration network carries in bytes a second
    (None: assumed), ``switchover_ms`` the least and the most that a switch-over costs apart from data.
    """

    max_downtime: Seconds | None = None
    rate: Annotated[float, msgspec.Meta(ge=1e6, le=1e12)] | None = None
    switchover_ms: tuple[Milliseconds, Milliseconds] | None = None


class CopySettings(msgspec.Struct, frozen=True, kw_only=True):
    """``osc52_max``: the most bytes written to the terminal's clipboard in one go; longer texts hang some terminals."""

    osc52_max: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] = 74_994


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings with their values in force. ``Settings()`` is the defaults; ``load()`` reads the real ones."""

    cloud: str | None = None  # a name in clouds.yaml; None: what openstacksdk takes when none is named
    limits_cloud: str | None = None  # a second entry of clouds.yaml, used for unified limits only
    region: str | None = None
    read_only: bool = False
    theme: Theme = "auto"  # dark or light, as the terminal says of its ground
    no_color: bool = False
    deadline: Seconds = 20.0  # for one reading of the whole fleet by a command
    refresh: RefreshSettings = RefreshSettings()
    hosts: HostsSettings = HostsSettings()
    libvirt: LibvirtSettings = LibvirtSettings()
    ssh: SshSettings = SshSettings()
    log: LogSettings = LogSettings()
    journal: JournalSettings = JournalSettings()
    copy: CopySettings = CopySettings()
    migration: MigrationSettings = MigrationSettings()
    keys: dict[str, str] = {}  # binding id -> key
    origins: dict[str, Origin] = {}  # dotted key -> where it came from; absent: the default
    file: str | None = None  # the configuration file that was read; None: there is none

    def origin(self, key: str) -> Origin:
        """Where the value of a dotted key came from."""
        return self.origins.get(key, Origin())

    def listing(self) -> tuple[Setting, ...]:
        """Every setting with value and origin, in the order of this class; remapped keys last."""
        out = []
        for key in KEYS:
            value: Any = self
            for part in key.split("."):
                value = getattr(value, part)
            origin = self.origin(key)
            out.append(Setting(key=key, value=value, origin=origin.layer, detail=origin.detail))
        for name, value in self.keys.items():
            origin = self.origin(f"keys.{name}")
            out.append(Setting(key=f"keys.{name}", value=value, origin=origin.layer, detail=origin.detail))
        return tuple(out)


_NOT_SETTINGS = frozenset({"origins", "file", "keys"})


def _leaves(kind: type[msgspec.Struct], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for field in msgspec.structs.fields(kind):
        if not prefix and field.name in _NOT_SETTINGS:
            continue
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from _leaves(field.type, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, field.type


_TYPES: dict[str, Any] = dict(_leaves(Settings))
KEYS: tuple[str, ...] = tuple(_TYPES)
"""Every dotted key but the free ones of ``[keys]``."""

SECTIONS: frozenset[str] = frozenset(key.split(".")[0] for key in KEYS if "." in key) | {"keys"}

VARIABLES: dict[str, str] = {ENV_PREFIX + key.upper().replace(".", "_"): key for key in KEYS}
"""Environment variable -> dotted key."""


def default_file() -> Path:
    """Where the configuration file is looked for when none is named (XDG_CONFIG_HOME is honoured)."""
    import platformdirs

    return platformdirs.user_config_path(APP) / "config.toml"


def load(
    arguments: Mapping[str, tuple[Any, str]] | None = None,
    *,
    config_file: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """The settings in force.

    ``arguments`` are those of the command line: dotted key -> (value, the option's name). A file that was named must
    exist; the default one need not. Raises ConfigError.
    """
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    path, text = _read_file(config_file, environ)

    found: list[tuple[str, Any, Origin]] = []  # from the weakest layer to the strongest
    if path is not None:
        found += [(key, value, Origin("file", path)) for key, value in _file_values(path, text, problems)]
    found += [(key, value, Origin("environment", name)) for key, value, name in _environment_values(environ, problems)]
    for key, (raw, option) in (arguments or {}).items():
        value = _convert(option, key, raw, problems)
        found.append((key, value, Origin("command line", option)))
    if problems:
        raise ConfigError("\n".join(problems))

    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    for key, value, origin in found:
        if key == "read_only" and values.get(key) is True and value is False:
            continue  # a wall that stands is not taken down by a stronger layer
        values[key], origins[key] = value, origin
    _choose_mono(values, origins)
    for key in ("log.file", "ssh.known_hosts"):
        if values.get(key):
            values[key] = os.path.expanduser(values[key])
    return _build(values, origins, path)


def _build(values: Mapping[str, Any], origins: dict[str, Origin], path: str | None) -> Settings:
    tops: dict[str, Any] = {}
    inner: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        section, dot, name = key.partition(".")
        if dot:
            inner.setdefault(section, {})[name] = value
        else:
            tops[key] = value
    defaults = Settings()
    for section, fields in inner.items():
        tops[section] = fields if section == "keys" else msgspec.structs.replace(getattr(defaults, section), **fields)
    return Settings(**tops, origins=origins, file=path)


def _choose_mono(values: dict[str, Any], origins: dict[str, Origin]) -> None:
    """Without colours the theme is ``mono``, unless a theme was chosen in the same layer or a stronger one."""
    if not values.get("no_color"):
        return
    wish = origins["no_color"]
    if _RANK[origins.get("theme", Origin()).layer] > _RANK[wish.layer]:
        values["theme"], origins["theme"] = "mono", wish


def _read_file(named: str | None, environ: Mapping[str, str]) -> tuple[str | None, str]:
    """The configuration file's path and text; (None, "") when there is none and none was asked for."""
    source = "--config" if named else CONFIG_VARIABLE
    named = named or environ.get(CONFIG_VARIABLE) or None
    path = Path(named).expanduser() if named else default_file()
    try:
        return str(path), path.read_bytes().decode()
    except FileNotFoundError:
        if named is None:
            return None, ""
        raise ConfigError(f"{plain(path)}: no such file ({source})") from None
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise ConfigError(f"{plain(path)}: line {line}: not UTF-8 text") from None
    except OSError as error:
        raise ConfigError(f"{plain(path)}: cannot be read: {error.strerror}") from None


def _file_values(path: str, text: str, problems: list[str]) -> Iterator[tuple[str, Any]]:
    """The settings of the file by dotted key; what is wrong goes into ``problems``."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", str(error))
        words = str(error)[: place.start()] if place else str(error)
        line, column = (place.group(1), place.group(2)) if place else (None, None)
        where = f"line {line}, column {column}" if line else f"line {text.count(chr(10)) + 1}, at the end"
        problems.append(f"{plain(path)}: {where}: {plain(words)}")
        return
    for top, value in tree.items():
        if top == "keys" or top in SECTIONS:
            if not isinstance(value, dict):
                problems.append(f"{plain(path)}: {top}: expected a table, written [{top}], got {_kind(value)}")
                continue
            for name, item in value.items():
                yield from _file_value(path, f"{top}.{name}", item, problems)
        else:
            yield from _file_value(path, top, value, problems)


def _file_value(path: str, key: str, value: Any, problems: list[str]) -> Iterator[tuple[str, Any]]:
    if key.startswith("keys."):
        if isinstance(value, str) and value:
            yield key, value
        else:
            problems.append(f"{plain(path)}: {plain(key)}: expected a key's name as text, got {_kind(value)}")
    elif key in _TYPES:
        before = len(problems)
        converted = _convert(plain(path), key, value, problems, lax=False)
        if len(problems) == before:
            yield key, converted
    else:
        problems.append(f"{plain(path)}: unknown key {plain(key)}{_nearest(key)}")


def _environment_values(environ: Mapping[str, str], problems: list[str]) -> Iterator[tuple[str, Any, str]]:
    """(key, value, variable) of the environment; an empty variable is as good as none.

    A misspelt ``VGPU_CONSOLE_…`` is an error: a wall that a typing slip leaves open would be worse than none.
    """
    for variable, key in _OTHER_VARIABLES.items():
        raw = environ.get(variable)
        if raw:
            yield key, True if key == "no_color" else plain(raw), variable
    for variable in sorted(environ):
        raw = environ[variable]
        if not variable.startswith(ENV_PREFIX) or variable == CONFIG_VARIABLE or not raw:
            continue
        if variable not in VARIABLES:
            near = difflib.get_close_matches(variable, [*VARIABLES, CONFIG_VARIABLE], 1, 0.6)
            hint = f"; did you mean {near[0]}?" if near else ""
            problems.append(f"environment: unknown variable {plain(variable)}{hint}")
            continue
        key = VARIABLES[variable]
        before = len(problems)
        value = _convert(f"environment: {variable}", key, raw, problems)
        if len(problems) == before:
            yield key, value, variable


def _convert(where: str, key: str, value: Any, problems: list[str], *, lax: bool = True) -> Any:
    """The value in the key's type; None with a new line in ``problems`` when it does not fit. ``lax`` reads text."""
    kind = _TYPES[key]
    named = where if where.startswith(("environment", "--")) else f"{where}: {key}"
    if lax and isinstance(value, str):
        if kind is bool:
            value = _BOOL_WORDS.get(value.strip().lower(), value)
        elif _lists(kind):
            value = [part.strip() for part in value.split(",") if part.strip()]
    if key == "migration.rate" and isinstance(value, str):
        value = _rate(value)
    if get_origin(kind) is Literal and value not in get_args(kind):
        choices = [str(choice) for choice in get_args(kind)]
        near = difflib.get_close_matches(str(value), choices, 1, 0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        problems.append(f"{named}: {plain(value, 60)!r} is not one of {', '.join(choices)}{hint}")
        return None
    try:
        converted = msgspec.convert(value, kind, strict=not lax)
    except msgspec.ValidationError as error:
        like = ' of bytes a second, or text like "1.2 GB/s"' if key == "migration.rate" else ""
        problems.append(f"{named}: {_words(str(error))}".replace("a number", f"a number{like}"))
        return None
    if isinstance(converted, str) and plain(converted) != converted:
        problems.append(f"{named}: holds a control character, or more than 1,024 characters")
        return None
    if key == "libvirt.uri":
        _check_uri(named, converted, problems)
    if key == "migration.switchover_ms" and converted is not None and converted[0] > converted[1]:
        problems.append(
            f"{named}: the first is the least and the second the most, got {converted[0]:g}, {converted[1]:g}"
        )
    return converted


def _lists(kind: Any) -> bool:
    """Whether values of this type are lists, or nothing."""
    return get_origin(kind) is tuple or any(get_origin(one) is tuple for one in get_args(kind))


_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kKMGT]?i?)(B|bit|b)(?:/s|ps)")
_PREFIXES = {"": 0, "k": 1, "K": 1, "M": 2, "G": 3, "T": 4}


def _rate(text: str) -> float | str:
    """Bytes a second of ``1.2 GB/s``, ``900 MiB/s`` or ``10 Gbit/s``; other text as it is."""
    found = _RATE.fullmatch(text.strip())
    if found is None:
        return text
    prefix = found[2].removesuffix("i")
    factor = (1024.0 if found[2].endswith("i") else 1000.0) ** _PREFIXES[prefix]
    return float(found[1]) * factor / (1 if found[3] == "B" else 8)


def _check_uri(named: str, uri: str, problems: list[str]) -> None:
    strangers = sorted({name for name in re.findall(r"\{([^{}]*)\}", uri) if name != "host"})
    problems += [f"{named}: unknown placeholder {{{plain(s)}}}; only {{host}} can be used" for s in strangers]


def _nearest(key: str) -> str:
    """ "; did you mean …?" for a misspelt key, else the keys that its table has."""
    section = key.rpartition(".")[0]
    table = [k for k in KEYS if k.rpartition(".")[0] == section]
    near = difflib.get_close_matches(key, table, 1, 0.6) or difflib.get_close_matches(
        key.replace("_", "."), KEYS if section else [*KEYS, *SECTIONS], 1, 0.6
    )
    if not near:
        name = key.rpartition(".")[2]
        near = [k for k in KEYS if k.rpartition(".")[2] == name][:1]
    if near:
        return f"; did you mean {near[0]}?"
    tables = [] if section else [f"[{name}]" for name in sorted(SECTIONS)]
    return f"; keys here: {', '.join(table + tables)}"


_WORDS = {
    "float": "a number",
    "int": "a whole number",
    "str": "text",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
}


def _words(message: str) -> str:
    """msgspec's words in those of a person who writes TOML."""
    message = re.sub(r"`([^`]*)`", lambda m: " or ".join(_WORDS.get(t, t) for t in m.group(1).split(" | ")), message)
    message = (
        message.replace(" or nothing", "").replace(" - at $", ", at item ").replace("at item [...]", "in the list")
    )
    return plain(message[:1].lower() + message[1:])


def _kind(value: Any) -> str:
    for kind, words in ((bool, "true or false"), (str, "text"), (int, "a whole number"), (float, "a number")):
        if isinstance(value, kind):
            return words
    return "a table" if isinstance(value, dict) else "a list" if isinstance(value, list) else type(value).__name__
