"""The seeded market under all checks, for as long as one likes, in virtual time."""

from __future__ import annotations

import json

from invariants import Invariants
from simulator_support import Listener, advance, make_market

from ingest_actors.simulator.rest_answers import RestAnswers
from ingest_actors.simulator.rest_endpoints import ENDPOINTS
from ingest_actors.simulator.rest_rules import check

KINDS = (
    "trade", "aggTrade", "blockTrade", "bookTicker", "depth@100ms", "depth", "depth5@100ms", "kline_1s", "kline_1m",
    "kline_1h", "kline_1d@+08:00", "miniTicker", "ticker", "ticker_1h", "ticker_4h", "avgPrice", "referencePrice",
)  # fmt: skip
STEP_S = 5


class MarketRun:
    """A market, one connection on it with every kind of stream, and the checks of what it gets.

    Attributes:
        source: the market.
        seen: the checks.
    """

    def __init__(self, *, symbols, kinds=KINDS, phase_us=37_000, microseconds=False, **changes):
        self.source = make_market(symbols=symbols, **changes)
        self.symbols = symbols
        self.seen = Invariants(microseconds=microseconds)
        names = [f"{symbol.lower()}@{kind}" for symbol in symbols for kind in kinds]
        self._listener = Listener(self.source, *names, "!miniTicker@arr", phase_us=phase_us, microseconds=microseconds)
        self._unit = 1 if microseconds else 1000
        self._answers = RestAnswers(self.source.rest, lambda: self.source.scheduler.now_us, limits=[])

    def rest(self, endpoint, **sent):
        """An answer of REST, decoded."""
        items = [(name, str(value)) for name, value in sent.items()]
        rules = ENDPOINTS[endpoint]
        parameters = check(rules, items, traded=self.symbols, now_us=self.source.scheduler.now_us)
        return json.loads(self._answers.answer(endpoint, parameters, self._unit))

    def play(self, seconds, *, rest_every_s=60):
        """Let time pass, checking what is sent and, now and then, what REST tells."""
        for step in range(0, int(seconds), STEP_S):
            advance(self.source, STEP_S)
            self.drain()
            if step % rest_every_s == 0:
                self.ask()

    def drain(self):
        """Check what was sent."""
        for payload in self._listener.payloads():
            self.seen.frame(payload)

    def ask(self):
        """Check what REST tells just now."""
        for symbol in self.symbols:
            self.seen.snapshot(symbol, self.rest("depth", symbol=symbol, limit=5000))
            self.seen.rest_trades(symbol, self.rest("historicalTrades", symbol=symbol, limit=1000))
            self.seen.rest_aggregates(symbol, self.rest("aggTrades", symbol=symbol, limit=1000))
            for interval in ("1m", "1h"):
                self.seen.rest_klines(symbol, self.rest("klines", symbol=symbol, interval=interval, limit=60)[:-1])

    def finish(self):
        """The checks, when nothing more comes."""
        self.seen.finish()
        return self.seen
