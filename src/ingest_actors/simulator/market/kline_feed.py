"""The stream of candles."""

from __future__ import annotations

from ingest_actors.simulator.channel import Channel
from ingest_actors.simulator.market import payloads
from ingest_actors.simulator.market.candles import SECOND_US, Candle, bucket
from ingest_actors.simulator.market.delays import DELAY_MAX_US
from ingest_actors.simulator.market.feeds import Feed
from ingest_actors.simulator.market.scheduler import Scheduler
from ingest_actors.simulator.market.symbol_market import SymbolMarket


class KlineFeed(Feed):
    """Candles while they grow, about every two seconds when something traded, and each once more when it is closed.

    A symbol that does not trade at all, being halted or dead, has no candles without trades either.
    """

    def __init__(
        self, channel: Channel, market: SymbolMarket, scheduler: Scheduler, *, seed: str, interval: str, offset_us: int
    ) -> None:
        super().__init__(channel, scheduler, seed=seed)
        self._market = market
        self._interval = interval
        self._offset_us = offset_us
        self._open_us, self._end_us = bucket(interval, scheduler.now_us, offset_us)
        self._closes_us = self._draw_close()
        self._sent_id = -1
        self._leaves_us = 0

    def next_us(self, now_us: int) -> int:
        """Two seconds and something from now, or the closing of the candle when that is earlier."""
        step_us = SECOND_US if self._interval == "1s" else 2 * SECOND_US + int(self.rng.expovariate(1 / 150_000))
        return max(min(now_us + step_us, self._closes_us), now_us + 1, self._leaves_us + 1)

    def send(self, now_us: int) -> None:
        """The open candle, if it has changed; or the closed one."""
        market = self._market
        if now_us >= self._closes_us:
            candle = market.candles.candle(self._interval, self._open_us, self._offset_us)
            if candle.trades or market.is_active:
                self._emit(now_us, candle, closed=True)
            self._open_us, self._end_us = bucket(self._interval, self._end_us + 1, self._offset_us)
            self._closes_us = self._draw_close()
            return
        candle = market.candles.candle(self._interval, self._open_us, self._offset_us)
        if candle.trades and candle.last_id != self._sent_id and self._interval != "1s":
            self._emit(now_us, candle, closed=False)

    def _draw_close(self) -> int:
        """After the last trade of the candle has been published, within 2.4 s."""
        if self._interval == "1s":
            return self._end_us + DELAY_MAX_US + self.rng.randrange(1000, 50_000)
        return self._end_us + DELAY_MAX_US + min(2_150_000, int(self.rng.expovariate(1 / 400_000)))

    def _emit(self, now_us: int, candle: Candle, *, closed: bool) -> None:
        self._sent_id = candle.last_id

        def render(unit: int) -> bytes:
            return payloads.kline(unit, now_us, self._market.spec.name, self._interval, candle, closed=closed)

        if not closed and self.rng.random() < 0.3:  # noqa: PLR2004 - some frames trail what was published meanwhile
            self._leaves_us = now_us + self.rng.randrange(5_000, 60_000)
            self._scheduler.at(self._leaves_us, self.channel.emit, render)
        else:
            self.channel.emit(render)
