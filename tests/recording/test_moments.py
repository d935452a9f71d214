"""Times and spans as they are typed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgpu_console.recording.moments import local_words, moment_s, span_s, span_words, utc_words

FIRST = 1_790_000_000.0  # 2026-09-21 14:13:20 UTC
LAST = FIRST + 12 * 3_600


@pytest.fixture(autouse=True)
def _zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1")  # an hour ahead, always: 15:13:20
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("0.5s", 0.5), ("5m", 300), ("5min", 300), ("1h30m", 5400), ("8h", 28800), ("2d", 172800), ("7", 7)],
)
def test_spans(text: str, seconds: float) -> None:
    assert span_s(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0s", "-1s", "1x", "m", "nan", "inf", "1h 5", "9999999d", "10 s"])
def test_what_is_no_span_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"span of time|more than nothing"):
        span_s(text)


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("start", 0),
        ("end", 12 * 3600),
        ("+2h", 7200),
        ("-10m", 12 * 3600 - 600),
        ("15:13:20", 0),
        ("15:13", 0),
        ("16:00", 2800),
        ("03:13", 12 * 3600 - 20),
        ("2026-09-21T14:30Z", 1000),
        ("2026-09-21 15:30", 1000),
        ("2026-09-21T16:30+02:00", 1000),
        ("1790000005", 5),
        ("@1790000005.5", 5.5),
    ],
)
def test_moments_of_a_recording_from_a_quarter_past_three_on(text: str, since: float) -> None:
    first = FIRST if text != "15:13" else FIRST - 20  # begun at 15:13:00 sharp
    found = moment_s(text, first, LAST)
    assert found - FIRST == (since if text != "15:13" else -20)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tomorrow", "is no time; there are: 14:05"),
        ("25:00", "is no time"),
        ("", "is no time"),
        ("+x", "is no span of time"),
        ("12:00", "is not in the recording, which goes from 2026-09-21 15:13:20 to 2026-09-22 03:13:20"),
        ("2020-01-01", "is not in the recording"),
        ("2999-12-31T23:59:59", "is not in the recording"),
    ],
)
def test_what_is_no_moment_is_told(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        moment_s(text, FIRST, LAST)


@given(st.text(max_size=20))
def test_any_text_is_a_moment_or_told(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert FIRST <= moment_s(text, FIRST, LAST) <= LAST


def test_words_for_eyes_and_for_programs() -> None:
    assert local_words(FIRST) == "2026-09-21 15:13:20"
    assert local_words(FIRST, date=False) == "15:13:20"
    assert utc_words(FIRST + 0.25) == "2026-09-21T14:13:20.250Z"
    assert [span_words(s) for s in (0, 61, 3600, 90_061)] == ["00:00:00", "00:01:01", "01:00:00", "1d 01:01:01"]
