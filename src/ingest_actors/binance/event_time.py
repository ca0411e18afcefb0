"""The Kafka timestamp of an event: its own time, in ms, unless a broker would refuse it."""

from __future__ import annotations

FUTURE_LIMIT_MS = 50 * 60 * 1000
"""Brokers refuse what lies more than an hour ahead of their own clock (``message.timestamp.after.max.ms``), and one
refused record fails all that share its request; ten minutes are left for clocks that differ."""

_MICROSECONDS_FROM = 10**14
"""As ms that would be the year 5138, as us it is 1973."""
_NANOSECONDS_FROM = 10**17


def to_ms(time: int) -> int:
    """A time of the exchange in ms since the epoch, whatever its unit: told by its magnitude.

    The exchange sends ms, or us to a connection that asked for them. Taken for ms, the latter lie in the year 57111.
    """
    if time < _MICROSECONDS_FROM:
        return time
    if time < _NANOSECONDS_FROM:
        return time // 1000
    return time // 1_000_000


def event_timestamp(event_time: int | None, trade_time: int | None, received_at_ms: int) -> tuple[int, bool]:
    """Choose the timestamp of an event.

    Args:
        event_time: its ``E``, None when it has none.
        trade_time: its ``T``, likewise.
        received_at_ms: wall clock when its bytes were read.

    Returns:
        The timestamp in ms, and whether the event's own time was put aside for lying too far ahead.
    """
    time = event_time if event_time is not None and event_time > 0 else trade_time
    if time is None or time <= 0:
        return received_at_ms, False
    time_ms = to_ms(time)
    if time_ms > received_at_ms + FUTURE_LIMIT_MS:
        return received_at_ms, True
    return max(time_ms, 1), False
