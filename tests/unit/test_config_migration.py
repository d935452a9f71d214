"""The settings of live migration: the limit, the network's rate in figures or words, the cost of the switch-over."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgpu_console.config import ConfigError, DemoChoice, MigrationSettings, Settings, load
from vgpu_console.rules.migration.downtime import SWITCH_OVER_MS
from vgpu_console.runtime import Fleet


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "config.toml"
    path.write_text(f"[migration]\n{text}\n")
    return str(path)


def test_nothing_is_limited_or_told_by_default() -> None:
    assert Settings().migration == MigrationSettings(max_downtime=None, rate=None, switchover_ms=None)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("1200000000", 1.2e9),
        ("1.2e9", 1.2e9),
        ('"1.2 GB/s"', 1.2e9),
        ('"900MiB/s"', 900 * 2.0**20),
        ('"10 Gbit/s"', 1.25e9),
        ('"25 Gbps"', 3.125e9),
        ('"8 Gb/s"', 1e9),
        ('"2 GBps"', 2e9),
        ('"fast"', None),
        ('"-1 GB/s"', None),
        ("-5", None),
        ('"1 kB/s"', None),
        ("true", None),
    ],
)
def test_the_rate_in_figures_or_words(tmp_path: Path, text: str, rate: float | None) -> None:
    path = written(tmp_path, f"rate = {text}")
    if rate is None:
        with pytest.raises(ConfigError, match=r"migration\.rate"):
            load(config_file=path, environ={})
    else:
        assert load(config_file=path, environ={}).migration.rate == rate


def test_a_rate_that_is_none_says_how_one_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'expected a number of bytes a second, or text like "1\.2 GB/s", got text'):
        load(config_file=written(tmp_path, 'rate = "fast"'), environ={})


def test_the_switch_over_is_a_pair_from_least_to_most(tmp_path: Path) -> None:
    assert load(config_file=written(tmp_path, "switchover_ms = [300, 900]"), environ={}).migration.switchover_ms == (
        300.0,
        900.0,
    )
    with pytest.raises(ConfigError, match="the first is the least and the second the most, got 900, 300"):
        load(config_file=written(tmp_path, "switchover_ms = [900, 300]"), environ={})
    with pytest.raises(ConfigError, match=r"migration\.switchover_ms"):
        load(config_file=written(tmp_path, "switchover_ms = [300]"), environ={})


def test_the_environment_can_say_it_all() -> None:
    told = load(
        environ={
            "VGPU_CONSOLE_MIGRATION_MAX_DOWNTIME": "45",
            "VGPU_CONSOLE_MIGRATION_RATE": "500 MB/s",
            "VGPU_CONSOLE_MIGRATION_SWITCHOVER_MS": "200,700",
        }
    ).migration
    assert told == MigrationSettings(max_downtime=45.0, rate=5e8, switchover_ms=(200.0, 700.0))


@given(st.text(max_size=30))
def test_any_text_as_a_rate_is_a_rate_or_a_clear_mistake(text: str) -> None:
    try:
        rate = load(environ={"VGPU_CONSOLE_MIGRATION_RATE": text}).migration.rate
    except ConfigError as error:
        assert str(error).startswith("environment: VGPU_CONSOLE_MIGRATION_RATE: ")  # noqa: PT017 - it may also be a rate
    else:
        assert rate is None or 1e6 <= rate <= 1e12


def test_what_was_configured_is_what_downtimes_are_predicted_with() -> None:
    told = MigrationSettings(max_downtime=60.0, rate=2e9, switchover_ms=(100.0, 200.0))
    fleet = Fleet(Settings(migration=told), DemoChoice(None))
    try:
        settings = fleet.downtime_settings()
        assert settings.rate is not None
        assert (settings.rate.low, settings.rate.high) == (2e9, 2e9)
        assert settings.rate.origin == "configured: [migration] rate"
        assert (settings.max_downtime_ms, settings.switch_over_ms) == (60_000.0, (100.0, 200.0))
        assert fleet.downtime_settings(5.0).max_downtime_ms == 5_000.0  # the command's own goes before
    finally:
        fleet.close()
    plain = Fleet(Settings(), DemoChoice(None))
    try:
        bare = plain.downtime_settings()
        assert (bare.rate, bare.max_downtime_ms, bare.switch_over_ms) == (None, None, SWITCH_OVER_MS)
    finally:
        plain.close()
