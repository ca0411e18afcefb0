"""How much REST an address may use: weights by the minute of the clock, refusals, bans. Sans-IO."""

from __future__ import annotations

from dataclasses import dataclass

_MINUTE_MS = 60_000
_PATIENCE = 10
"""Requests refused with 429 within a minute before an address that does not stop is banned."""
_FIRST_BAN_MS = 2 * _MINUTE_MS
_LONGEST_BAN_MS = 3 * 24 * 60 * _MINUTE_MS


@dataclass(slots=True)
class _Account:
    minute: int = 0
    used: int = 0
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
    """

    used: int
    status: int | None = None
    retry_after_s: int = 0
    banned_until_ms: int = 0


class WeightBudget:
    """Charges requests to addresses.

    Args:
        weight_per_minute: what an address may use.
    """

    def __init__(self, weight_per_minute: int) -> None:
        self.weight_per_minute = weight_per_minute
        self._accounts: dict[str, _Account] = {}

    def charge(self, address: str, weight: int, now_ms: int) -> Charge:
        """Charge one request, whether it will succeed or not."""
        account = self._accounts.setdefault(address, _Account())
        minute = now_ms // _MINUTE_MS
        if account.minute != minute:
            account.minute, account.used, account.refused = minute, 0, 0
        if account.banned_until_ms > now_ms:
            return self._banned(account, now_ms)
        account.used += weight
        if account.used <= self.weight_per_minute:
            return Charge(account.used)
        account.refused += 1
        if account.refused > _PATIENCE:
            account.banned_until_ms = now_ms + min(_LONGEST_BAN_MS, _FIRST_BAN_MS << account.bans)
            account.bans += 1
            return self._banned(account, now_ms)
        return Charge(account.used, 429, _seconds((minute + 1) * _MINUTE_MS - now_ms))

    @staticmethod
    def _banned(account: _Account, now_ms: int) -> Charge:
        until_ms = account.banned_until_ms
        return Charge(account.used, 418, _seconds(until_ms - now_ms), until_ms)


def _seconds(duration_ms: int) -> int:
    return max(1, -(-duration_ms // 1000))
