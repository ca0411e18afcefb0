"""How much REST an address may use: weights by the minute of the clock, refusals, bans. Sans-IO."""

from __future__ import annotations

from dataclasses import dataclass

RAW_REQUESTS_MAX = 300_000
RAW_MINUTES = 5
"""Requests of one address within so many minutes of the clock, whatever they weigh (since 2026-04)."""

_MINUTE_MS = 60_000
_PATIENCE = 10
"""Requests refused with 429 within a minute before an address that does not stop is banned."""
_FIRST_BAN_MS = 2 * _MINUTE_MS
_LONGEST_BAN_MS = 3 * 24 * 60 * _MINUTE_MS


@dataclass(slots=True)
class _Account:
    minute: int = 0
    used: int = 0
    raw_window: int = 0
    requests: int = 0
    refused: int = 0
    bans: int = 0
    banned_until_ms: int = 0


@dataclass(frozen=True, slots=True)
class Charge:
    """What became of a request.

    Attributes:
        used: weight used in this minute, this request included.
        status: 429 or 418 when it is refused; None when it may go on.
        retry_after_s: seconds until it is worth trying again.
        banned_until_ms: end of the ban, ms since the epoch; 0 without one.
        too_many: it is refused for the number of requests, not for their weight.
    """

    used: int
    status: int | None = None
    retry_after_s: int = 0
    banned_until_ms: int = 0
    too_many: bool = False


class WeightBudget:
    """Charges requests to addresses.

    Args:
        weight_per_minute: what an address may use.
        raw_requests_max: how many requests it may make within `RAW_MINUTES`.
    """

    def __init__(self, weight_per_minute: int, raw_requests_max: int = RAW_REQUESTS_MAX) -> None:
        self.weight_per_minute = weight_per_minute
        self.raw_requests_max = raw_requests_max
        self._accounts: dict[str, _Account] = {}

    def charge(self, address: str, weight: int, now_ms: int) -> Charge:
        """Charge one request, whether it will succeed or not."""
        account = self._accounts.setdefault(address, _Account())
        minute = now_ms // _MINUTE_MS
        if account.minute != minute:
            account.minute, account.used, account.refused = minute, 0, 0
        if account.raw_window != minute // RAW_MINUTES:
            account.raw_window, account.requests = minute // RAW_MINUTES, 0
        if account.banned_until_ms > now_ms:
            return self._banned(account, now_ms)
        account.used += weight
        account.requests += 1
        too_many = account.requests > self.raw_requests_max
        if account.used <= self.weight_per_minute and not too_many:
            return Charge(account.used)
        account.refused += 1
        if account.refused > _PATIENCE:
            account.banned_until_ms = now_ms + min(_LONGEST_BAN_MS, _FIRST_BAN_MS << account.bans)
            account.bans += 1
            return self._banned(account, now_ms)
        next_minute = (account.raw_window + 1) * RAW_MINUTES if too_many else minute + 1
        return Charge(account.used, 429, _seconds(next_minute * _MINUTE_MS - now_ms), too_many=too_many)

    @staticmethod
    def _banned(account: _Account, now_ms: int) -> Charge:
        until_ms = account.banned_until_ms
        return Charge(account.used, 418, _seconds(until_ms - now_ms), until_ms)


def _seconds(duration_ms: int) -> int:
    return max(1, -(-duration_ms // 1000))
