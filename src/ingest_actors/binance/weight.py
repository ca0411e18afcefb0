"""The budget of REST weight, shared by all that a service asks of the exchange."""

from __future__ import annotations

from collections import deque

import trio

WINDOW_S = 60.0
"""The exchange counts by the minute of its clock. Never more than the budget within any 60 s holds for every such
minute, and needs no clock in common."""

EXCHANGE_WEIGHT_PER_MINUTE = 6000
"""What the exchange gives an address (``exchangeInfo``, ``rateLimits``)."""

EXCHANGE_SHARE_MAX = 0.9
"""Others on the address are seen in the exchange's own count; beyond this share of its limit nobody should ask."""

HOLD_OFF_MAX_S = 3 * 86_400.0
"""The longest ban that the exchange speaks out; what asks for more is no answer of the exchange."""


URGENT_SHARE = 0.25
"""Part of the budget that whatever can wait leaves to the repair of gaps, which holds up a series. Of the default
budget that is 30,000 trades or 187,000 aggregate trades a minute."""


class WeightBudget:
    """Lets requests through within a budget, in the order of asking. Times are trio's.

    Args:
        weight_per_minute: what this service may use.
        exchange_weight_per_minute: what everybody on the address may use together.
    """

    def __init__(self, weight_per_minute: int, *, exchange_weight_per_minute: int = EXCHANGE_WEIGHT_PER_MINUTE) -> None:
        self.weight_per_minute = weight_per_minute
        self._others_max = EXCHANGE_SHARE_MAX * exchange_weight_per_minute
        self._spent: deque[tuple[float, int]] = deque()
        self._used = 0
        self._silent_until = -1.0
        self._turn = trio.StrictFIFOLock()

    @property
    def used(self) -> int:
        """Weight spent within the last minute; asked outside of trio, as of the last time that anybody asked within."""
        if trio.lowlevel.in_trio_run():
            self._forget(trio.current_time())
        return self._used

    async def spend(self, weight: int) -> None:
        """Wait until a request of this weight may be made, and count it. Cancelled: it is not counted.

        A request that is heavier than the whole budget is let through alone, with nothing else in its minute.
        """
        async with self._turn:
            while (at := self.next_at(weight)) > trio.current_time():  # noqa: ASYNC110 - it may move meanwhile
                await trio.sleep_until(at)
            await trio.lowlevel.checkpoint()
            self._spent.append((trio.current_time(), weight))
            self._used += weight

    def spare(self, weight: int) -> float:
        """When a request of this weight may be made by those who can wait, by trio's clock, as things are now."""
        return self.next_at(weight + round(URGENT_SHARE * self.weight_per_minute))

    async def wait_spare(self, weight: int) -> None:
        """Wait until a request of this weight may be made by those who can wait. Nothing is counted."""
        await trio.lowlevel.checkpoint()
        while (at := self.spare(weight)) > trio.current_time():  # noqa: ASYNC110 - it may move meanwhile
            await trio.sleep_until(at)

    def next_at(self, weight: int) -> float:
        """When a request of this weight may be made, by trio's clock, as things are now."""
        now = trio.current_time()
        self._forget(now)
        at = max(now, self._silent_until)
        left = self._used
        for spent_at, spent in self._spent:
            if left + weight <= self.weight_per_minute:
                break
            at = max(at, spent_at + WINDOW_S)
            left -= spent
        return at

    def observe(self, used: int) -> None:
        """What the exchange says that everybody on this address has used of its minute.

        Near its limit nothing more is asked for a while: what others use up is answered 429 to all.
        """
        if used >= self._others_max:
            self.hold_off(WINDOW_S)

    def hold_off(self, seconds: float) -> None:
        """Ask nothing for so long: after 429 or 418, as the exchange's ``Retry-After`` says."""
        self._silent_until = max(self._silent_until, trio.current_time() + min(seconds, HOLD_OFF_MAX_S))

    def _forget(self, now: float) -> None:
        while self._spent and self._spent[0][0] + WINDOW_S <= now:
            self._used -= self._spent.popleft()[1]
