"""What a table's cell can be, and figures in words that a person reads at a look.

A cell is a text; a text with a tone (``good``, ``warn``, ``bad``, ``idle``); or a meter. The page and the script that
keeps it up to date make the same of it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, NamedTuple

TEXT_MAX: Final = 240
"""Characters of any text that comes from outside: bounds what one picture weighs."""


class Toned(NamedTuple):
    """A text that says how things are; the tone only repeats it."""

    text: str
    tone: str


class Meter(NamedTuple):
    """How full something is, and the same in words."""

    text: str
    tone: str
    ratio: float


Cell = str | Toned | Meter


def clipped(text: str) -> str:
    """A text of bounded length."""
    return text if len(text) <= TEXT_MAX else f"{text[: TEXT_MAX - 1]}…"


def count(number: int) -> str:
    """``12,345``."""
    return f"{number:,}"


def rate(per_second: float) -> str:
    """``12,345`` or ``1.2``: a second."""
    return f"{per_second:,.0f}" if per_second >= 100 else f"{per_second:.1f}"  # noqa: PLR2004 - three digits are enough


def meter(ratio: float) -> Meter:
    """A mailbox, say."""
    ratio = min(max(ratio, 0.0), 1.0)
    tone = "bad" if ratio >= FULL else "warn" if ratio >= CROWDED else ""
    return Meter(f"{ratio:.0%}", tone, round(ratio, 3))


CROWDED: Final = 0.5
FULL: Final = 0.9
"""From here on a mailbox is about to hold up whoever fills it."""

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def span(seconds: float) -> str:
    """``0.3 s``, ``12 s``, ``3 min``, ``2 h 5 min``, ``4 d 3 h``."""
    if seconds < 10:  # noqa: PLR2004
        return f"{max(seconds, 0.0):.1f} s"
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR:
        return f"{seconds // _MINUTE:.0f} min"
    if seconds < 2 * _DAY:
        return f"{seconds // _HOUR:.0f} h {seconds % _HOUR // _MINUTE:.0f} min"
    return f"{seconds // _DAY:.0f} d {seconds % _DAY // _HOUR:.0f} h"


def age(seconds: float | None) -> str:
    """The same of something that is looked at once a second."""
    if seconds is None:
        return "never"
    return "now" if seconds < 1 else span(round(seconds)) if seconds >= 10 else f"{seconds:.0f} s"  # noqa: PLR2004


def milliseconds(seconds: float | None) -> str:
    """``3.2 ms``, ``120 ms``, ``1.4 s``; a dash for nothing."""
    if seconds is None:
        return "–"
    if seconds >= 1:
        return span(seconds)
    return f"{seconds * 1000:.1f} ms" if seconds < 0.01 else f"{seconds * 1000:.0f} ms"  # noqa: PLR2004


def size(count_bytes: float) -> str:
    """``12 KiB``, ``3.4 MiB``."""
    if count_bytes < _KIB:
        return f"{count_bytes:.0f} B"
    power = min(max((int(count_bytes).bit_length() - 1) // 10, 1), len(_UNITS))
    amount = count_bytes / _KIB**power
    return f"{amount:.0f} {_UNITS[power - 1]}" if amount >= 100 else f"{amount:.1f} {_UNITS[power - 1]}"  # noqa: PLR2004


_KIB: Final = 1024
_UNITS: Final = ("KiB", "MiB", "GiB")


def moment(ms: int) -> str:
    """``2026-11-23 14:03:22 UTC``."""
    return f"{datetime.fromtimestamp(ms / 1000, tz=UTC):%Y-%m-%d %H:%M:%S} UTC"


def clock(ms: int, now_ms: int) -> str:
    """The time alone if it is of today, UTC."""
    then, now = (datetime.fromtimestamp(at / 1000, tz=UTC) for at in (ms, now_ms))
    return f"{then:%H:%M:%S}" if then.date() == now.date() else f"{then:%d %b %H:%M}"
