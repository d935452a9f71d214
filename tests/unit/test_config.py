"""Settings: which layer wins, where each value says it came from, and what a mistake is answered with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgpu_console.config import KEYS, VARIABLES, ConfigError, Origin, Settings, load

Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a configuration file and gives its path."""

    def make(text: str) -> str:
        path = tmp_path / "config.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return make


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without configuration."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path / "home"


def mistakes(text: str, write: Write, environ: dict[str, str] | None = None) -> list[str]:
    path = write(text)
    with pytest.raises(ConfigError) as caught:
        load(config_file=path, environ=environ or {})
    return [line.replace(path, "FILE") for line in str(caught.value).splitlines()]


# --- precedence -------------------------------------------------------------------------------------------------------


def test_nothing_given_is_the_defaults() -> None:
    settings = load(environ={})

    assert settings == Settings()
    assert {s.origin for s in settings.listing()} == {"default"}
    assert settings.read_only is False
    assert settings.file is None


def test_the_stronger_layer_wins_and_is_named(write: Write) -> None:
    path = write('cloud = "file"\nregion = "file"\ntheme = "light"\n[ssh]\nport = 2222\nuser = "ops"\n')
    settings = load(
        {"cloud": ("line", "--os-cloud")},
        config_file=path,
        environ={
            "VGPU_CONSOLE_CLOUD": "environment",
            "VGPU_CONSOLE_REGION": "environment",
            "VGPU_CONSOLE_SSH_PORT": "22",
        },
    )

    assert (settings.cloud, settings.origin("cloud")) == ("line", Origin("command line", "--os-cloud"))
    assert (settings.region, settings.origin("region")) == ("environment", Origin("environment", "VGPU_CONSOLE_REGION"))
    assert (settings.theme, settings.origin("theme")) == ("light", Origin("file", path))
    assert (settings.ssh.port, settings.origin("ssh.port").detail) == (22, "VGPU_CONSOLE_SSH_PORT")
    assert (settings.ssh.user, settings.origin("ssh.user").layer) == ("ops", "file")
    assert (settings.ssh.timeout, settings.origin("ssh.timeout").layer) == (10.0, "default")
    assert settings.file == path


@pytest.mark.parametrize(
    ("environ", "cloud", "variable"),
    [
        ({"OS_CLOUD": "a"}, "a", "OS_CLOUD"),
        ({"OS_CLOUD": "a", "VGPU_CONSOLE_CLOUD": "b"}, "b", "VGPU_CONSOLE_CLOUD"),
        ({"OS_CLOUD": "a", "VGPU_CONSOLE_CLOUD": ""}, "a", "OS_CLOUD"),
    ],
)
def test_the_own_variable_goes_before_openstacks_and_an_empty_one_is_none(
    environ: dict[str, str], cloud: str, variable: str
) -> None:
    settings = load(environ=environ)

    assert (settings.cloud, settings.origin("cloud").detail) == (cloud, variable)


WALLS = [(line, env, file) for line in (None, True) for env in (None, "0", "1") for file in (None, False, True)]


@pytest.mark.parametrize(("line", "env", "file"), WALLS)
def test_any_layer_can_make_it_read_only_and_none_can_undo_it(
    line: bool | None, env: str | None, file: bool | None, write: Write
) -> None:
    path = write("" if file is None else f"read_only = {str(file).lower()}\n")
    settings = load(
        {"read_only": (True, "--read-only")} if line else {},
        config_file=path,
        environ={"VGPU_CONSOLE_READ_ONLY": env} if env else {},
    )

    assert settings.read_only is (line is True or env == "1" or file is True)
    if settings.read_only:
        expected = "command line" if line else "environment" if env == "1" else "file"
        assert settings.origin("read_only").layer == expected


@pytest.mark.parametrize(
    ("file", "environ", "theme", "origin"),
    [
        ("", {"NO_COLOR": "1"}, "mono", "NO_COLOR"),
        ('theme = "light"', {"NO_COLOR": "1"}, "mono", "NO_COLOR"),
        ('theme = "light"', {"NO_COLOR": ""}, "light", "FILE"),
        ("", {"NO_COLOR": "1", "VGPU_CONSOLE_THEME": "dark"}, "dark", "VGPU_CONSOLE_THEME"),
        ('theme = "light"\nno_color = true', {}, "light", "FILE"),
        ("no_color = true", {}, "mono", "FILE"),
    ],
)
def test_no_color_selects_mono_unless_a_theme_was_chosen_as_strongly(
    file: str, environ: dict[str, str], theme: str, origin: str, write: Write
) -> None:
    path = write(file)
    settings = load(config_file=path, environ=environ)

    assert settings.theme == theme
    assert settings.origin("theme").detail.replace(path, "FILE") == origin


def test_every_key_can_be_given_in_the_environment() -> None:
    values = {
        "theme": "colour-blind",
        "hosts.extra": "gpu-07, gpu-08",
        "libvirt.uri": "qemu+tls://{host}/system",
        "log.level": "debug",
        "refresh.adaptive": "off",
        "migration.rate": "1.2 GB/s",
        "migration.switchover_ms": "300, 900",
    }
    numbers = {"refresh.openstack", "refresh.keystone", "refresh.libvirt", "refresh.ssh", "deadline", "libvirt.timeout"}
    numbers |= {"ssh.port", "ssh.timeout", "ssh.concurrency", "copy.osc52_max", "migration.max_downtime"}
    switches = {"read_only", "no_color", "libvirt.enabled", "ssh.enabled", "ssh.changes"}
    environ = {
        variable: values.get(key, "7" if key in numbers else "yes" if key in switches else "text")
        for variable, key in VARIABLES.items()
    }
    settings = load(environ=environ)

    assert {s.key: s.detail for s in settings.listing()} == {key: variable for variable, key in VARIABLES.items()}
    assert settings.hosts.extra == ("gpu-07", "gpu-08")
    assert settings.refresh.adaptive is False
    assert settings.refresh.ssh == 7.0
    assert settings.ssh.port == 7
    assert settings.libvirt.uri == "qemu+tls://{host}/system"


def test_the_file_is_found_where_xdg_says(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "etc"))
    (home / "etc" / "vgpu-console").mkdir(parents=True)
    (home / "etc" / "vgpu-console" / "config.toml").write_text('cloud = "prod"\n')

    assert load(environ={}).cloud == "prod"


def test_the_environment_can_name_the_file_and_the_command_line_another(write: Write, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text('cloud = "other"\n')

    assert load(environ={"VGPU_CONSOLE_CONFIG": str(other)}).cloud == "other"
    assert load(config_file=write('cloud = "first"'), environ={"VGPU_CONSOLE_CONFIG": str(other)}).cloud == "first"


def test_keys_are_remapped_by_binding_id_and_listed(write: Write) -> None:
    settings = load(config_file=write('[keys]\n"fleet.refresh" = "f5"\nquit = "ctrl+q"\n'), environ={})

    assert settings.keys == {"fleet.refresh": "f5", "quit": "ctrl+q"}
    assert [(s.key, s.value, s.origin) for s in settings.listing()[-2:]] == [
        ("keys.fleet.refresh", "f5", "file"),
        ("keys.quit", "ctrl+q", "file"),
    ]


def test_a_tilde_is_the_home(write: Write, home: Path) -> None:
    settings = load(config_file=write('[log]\nfile = "~/x.log"\n[ssh]\nknown_hosts = "~/kh"\n'), environ={})

    assert settings.log.file == str(home / "x.log")
    assert settings.ssh.known_hosts == str(home / "kh")


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("read_onyl = true", "FILE: unknown key read_onyl; did you mean read_only?"),
        ("[refresh]\nopenstak = 5", "FILE: unknown key refresh.openstak; did you mean refresh.openstack?"),
        ("libvirt_uri = 'x'", "FILE: unknown key libvirt_uri; did you mean libvirt.uri?"),
        ("concurrency = 4", "FILE: unknown key concurrency; did you mean ssh.concurrency?"),
        ("[ssh]\nqqq = 4", "FILE: unknown key ssh.qqq; keys here: ssh.enabled, ssh.changes, ssh.user, ssh.port,"),
        ("[qqq]\na = 4", "FILE: unknown key qqq; keys here: cloud, limits_cloud, region,"),
        ("[refresh]\nkeystone = '5s'", "FILE: refresh.keystone: expected a number, got text"),
        ("[refresh]\nssh = 0", "FILE: refresh.ssh: expected a number > 0.0"),
        ("[refresh]\nssh = nan", "FILE: refresh.ssh: expected a number > 0.0"),
        ("[refresh]\nssh = inf", "FILE: refresh.ssh: expected a number <= 86400.0"),
        ("refresh = 5", "FILE: refresh: expected a table, written [refresh], got a whole number"),
        ("read_only = 1", "FILE: read_only: expected true or false, got a whole number"),
        ("read_only = 'true'", "FILE: read_only: expected true or false, got text"),
        (
            "theme = 'darc'",
            "FILE: theme: 'darc' is not one of auto, dark, light, colour-blind, mono; did you mean dark?",
        ),
        ("theme = []", "FILE: theme: '[]' is not one of auto, dark, light, colour-blind, mono"),
        ("[ssh]\nport = 70000", "FILE: ssh.port: expected a whole number <= 65535"),
        ("[hosts]\nextra = ['a', 3]", "FILE: hosts.extra: expected text, got a whole number, at item [1]"),
        ("[hosts]\nextra = 'a'", "FILE: hosts.extra: expected a list, got text"),
        ("[keys]\nquit = 3", "FILE: keys.quit: expected a key's name as text, got a whole number"),
        ("[libvirt]\nuri = 'qemu://{hots}/'", "FILE: libvirt.uri: unknown placeholder {hots}; only {host} can be used"),
        ('cloud = "a\\u001b[31m"', "FILE: cloud: holds a control character"),
        ("cloud = 'a'\n[refresh\n", "FILE: line 2, column 9: Expected ']'"),
        ("cloud = 'a'\ncloud = 'b'\n", "FILE: line 2, column 12: Cannot overwrite a value"),
        ("cloud = 'a", "FILE: line 1, "),
    ],
)
def test_a_mistake_names_the_file_the_key_and_what_was_meant(text: str, message: str, write: Write) -> None:
    found = mistakes(text, write)

    assert len(found) == 1
    assert found[0].startswith(message)


def test_all_mistakes_are_told_at_once(write: Write) -> None:
    found = mistakes("read_onyl = true\n[ssh]\nport = 'x'\n", write, {"VGPU_CONSOLE_SSH_TIMEOUT": "x"})

    assert [line.split(":")[0] for line in found] == ["FILE", "FILE", "environment"]


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {"VGPU_CONSOLE_READONLY": "1"},
            "environment: unknown variable VGPU_CONSOLE_READONLY; did you mean VGPU_CONSOLE_READ_ONLY?",
        ),
        ({"VGPU_CONSOLE_READ_ONLY": "maybe"}, "environment: VGPU_CONSOLE_READ_ONLY: expected true or false, got text"),
        ({"VGPU_CONSOLE_SSH_PORT": "ssh"}, "environment: VGPU_CONSOLE_SSH_PORT: expected a whole number, got text"),
        ({"VGPU_CONSOLE_CONFIG": "/nowhere/c.toml"}, "/nowhere/c.toml: no such file (VGPU_CONSOLE_CONFIG)"),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(environ=environ)

    assert str(caught.value) == message


def test_a_file_that_is_not_text_or_not_readable_is_told(tmp_path: Path) -> None:
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b'cloud = "a"\nregion = "\xff"\n')

    with pytest.raises(ConfigError, match=r"binary\.toml: line 2: not UTF-8 text"):
        load(config_file=str(binary), environ={})
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(config_file=str(tmp_path), environ={})


@given(st.text(max_size=200))
def test_any_text_is_settings_or_a_told_mistake(text: str) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".toml", encoding="utf-8", errors="surrogatepass") as file:
        file.write(text)
        file.flush()
        lines: list[str] = []
        try:
            load(config_file=file.name, environ={})
        except ConfigError as error:
            lines = str(error).splitlines()
    assert all(line.startswith(file.name) for line in lines)
    assert not any(ord(character) < 0x20 for line in lines for character in line)


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10), st.lists(st.integers(), max_size=2)
)


@given(st.dictionaries(st.sampled_from(KEYS), VALUES.filter(lambda v: v is not None), max_size=4))
def test_values_of_any_type_never_get_past_the_types(values: dict[str, Any]) -> None:
    try:
        settings = load({key: (value, "--x") for key, value in values.items()}, environ={})
    except ConfigError:
        return
    assert isinstance(settings.read_only, bool)
    assert 0 < settings.refresh.ssh <= 86_400
    assert settings.ssh.port is None or 1 <= settings.ssh.port <= 65_535
    assert isinstance(settings.hosts.extra, tuple)


# --- pace -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hosts", "expected"), [(0, 10.0), (100, 10.0), (250, 25.0), (400, 40.0), (10_000, 40.0)])
def test_the_pace_grows_with_the_fleet(hosts: int, expected: float) -> None:
    assert Settings().refresh.interval("libvirt", hosts) == expected


def test_the_pace_can_be_held(write: Write) -> None:
    refresh = load(config_file=write("[refresh]\nadaptive = false\nopenstack = 3\n"), environ={}).refresh

    assert [refresh.interval(kind, 5_000) for kind in ("nova", "placement", "keystone")] == [3.0, 3.0, 30.0]
