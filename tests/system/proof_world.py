"""What the proofs share: a market that outlives the service, the service again and again, two opinions of the record.

One is a plain consumer's (`once_in_order`), the other that of `python -m ingest_actors audit`.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import statistics
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any, Self

from kafka_topics import Topics
from once_in_order import Follower, Series, journal_of, read_all, tally_of, untold_holes
from service_process import Command, Service

log = logging.getLogger(__name__)

MODES = ("exactly_once", "at_least_once")
SYMBOLS = ("BTCUSDT", "ETHUSDT")
CATCH_UP_S = 120.0
"""Longest that a start may take until everything that had been published before it can be read."""
REMEMBERED = 1_000_000
"""Trades that the exchange's REST has of each symbol: the real one forgets none that anybody would ask for."""


def number_of(name: str, default: int) -> int:
    """How often something is done: as the environment says."""
    return int(os.environ.get(name, default))


class Market(Command):
    """``simulate`` with trades enough to be a load: with an activity of 20 some 1,000 trades a second.

    Args:
        faults: the text of a fault script; empty: none.
    """

    def __init__(
        self,
        directory: Path,
        *,
        activity: float = 20,
        symbols: Sequence[str] = SYMBOLS,
        faults: str = "",
        more: Sequence[str] = (),
    ) -> None:
        self.symbols = symbols
        arguments = ["--symbols", ",".join(symbols), "--activity", str(activity), "--seed", "11", *more]
        arguments += ["--history", str(REMEMBERED)]
        if faults:
            (directory / "faults.toml").write_text(faults)
            arguments += ["--faults", "faults.toml"]
        super().__init__(directory, "simulate", *arguments)
        self.ready = self.answer()

    @property
    def settings(self) -> dict[str, str]:
        """What leads the service here."""
        return {
            "BINANCE_WS_URL": self.ready["ws_url"],
            "BINANCE_REST_URL": self.ready["rest_url"],
            "BINANCE_SYMBOLS": ",".join(self.symbols),
        }

    def newest(self) -> dict[Series, int]:
        """The newest id of each series of trades, by REST."""
        found: dict[Series, int] = {}
        for symbol in self.symbols:
            found[symbol, "trade"] = self._ask(f"trades?symbol={symbol}&limit=1")[-1]["id"]
            found[symbol, "aggregate_trade"] = self._ask(f"aggTrades?symbol={symbol}&limit=1")[-1]["a"]
        return found

    def wait_for_trades(self) -> Self:
        """Until something has happened in every symbol: there is a market only some seconds after it opened."""
        deadline = time.monotonic() + 30
        while True:
            try:
                self.newest()
            except IndexError:
                assert time.monotonic() < deadline
                time.sleep(0.2)
            else:
                return self

    def _ask(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.ready['rest_url']}/api/v3/{path}", timeout=10) as answer:
            return json.load(answer)


class Proof:
    """A market, a service that may die, and the record of it.

    Args:
        directory: of logs.
        bootstrap_servers: of the brokers.
        prefix: of the topics.
        mode: ``exactly_once`` or ``at_least_once``.
        market: where the service's data come from.
        replication: of the topics.
        environ: more settings of the service.

    Attributes:
        follower: reads the trades while all this happens.
        caught_up_s: of each start that lived so long, seconds until all that had been published before could be read.
    """

    def __init__(
        self,
        directory: Path,
        bootstrap_servers: str,
        prefix: str,
        mode: str,
        market: Market,
        *,
        replication: int = 1,
        **environ: str,
    ) -> None:
        self.mode = mode
        self.market = market
        self.topics = Topics(
            bootstrap_servers, prefix, {"state": {"cleanup.policy": "compact"}}, replication=replication
        )
        self.caught_up_s: list[float] = []
        self._directory = directory
        self._bootstrap_servers = bootstrap_servers
        self._isolation = "read_committed" if mode == "exactly_once" else "read_uncommitted"
        self.follower = Follower(bootstrap_servers, self.topics.names["trades"], isolation=self._isolation)
        self._environ = self.topics.settings | market.settings | {
            "KAFKA_DELIVERY": mode, "BINANCE_STREAM_TYPES": "trade,aggTrade,depth@100ms", "INSTANCE_NAME": prefix,
            "RECONNECT_INTERVAL": "0.3", "MAX_RETRIES": "0",
            # A slow machine, or weight used up, is no reason to be late; nor is what waits meanwhile.
            "GAP_HOLD_SECONDS": "120", "BUFFER_MAX_BYTES": "512MiB",
        } | environ  # fmt: skip
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._open.enter_context(self.follower)
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()

    def start(self, **environ: str) -> Service:
        """The service, not ready yet."""
        return self._open.enter_context(Service(self._directory, **(self._environ | environ)))

    def catch_up(self, marks: dict[Series, int], since_s: float) -> None:
        """Until everything up to these ids can be read; notes how long it took since then, monotonic."""
        self.follower.wait_for(marks, CATCH_UP_S)
        self.caught_up_s.append(time.monotonic() - since_s)

    def end(self, service: Service) -> dict[str, Any]:
        """Wait until all that has been published by now can be read, and no gap is open; stop; the log's last line.

        A stop waits for no repair: what is open then would be brought late by the next start.
        """
        self.follower.wait_for(self.market.newest(), CATCH_UP_S)
        deadline = time.monotonic() + CATCH_UP_S
        while service.metrics()["gaps_open"][""]:
            assert time.monotonic() < deadline, service.log("gap_opened")[-3:]
            time.sleep(0.05)
        last = service.stop()
        self.follower.wait_until_still()
        return last

    def assert_whole(self, *, repeats: bool = False) -> None:
        """Everything once and in order, as a consumer counts; with `repeats` some may have come again.

        Then the audit is asked, which has to find the same.
        """
        raw = tally_of(self._bootstrap_servers, self.topics.names["raw"], isolation=self._isolation)
        for tally in (self.follower.tally, raw):
            log.info("%s: %s", self.mode, tally)
            assert len(tally.last) == 2 * len(self.market.symbols)
            assert (tally.absent, tally.unordered) == (0, []), str(tally)
            assert repeats or tally.repeated == [], str(tally)
            assert (tally.skipped, tally.late) == ([], 0), str(tally)
        assert (raw.first, raw.last) == (self.follower.tally.first, self.follower.tally.last)
        books = read_all(self._bootstrap_servers, self.topics.names["depth"], isolation=self._isolation)
        assert any(b'"depth_snapshot"' in value for _, value in books)
        assert untold_holes(books, chain.from_iterable(self.journal().values())) == []
        code, report = self.audit()
        for one in report["series"]:
            assert one["missing"] == [], one
            assert one["duplicates"] == [] or repeats, one
            if one["event_type"] in ("trade", "aggregate_trade"):
                assert (one["missing_explained"], one["out_of_order"]) == ([], []), one
                assert one["last_id"] == raw.last[one["symbol"], one["event_type"]]
        if not any(one["duplicates"] for one in report["series"]):
            assert (code, report["ok"]) == (0, True), report

    def audit(self) -> tuple[int, dict[str, Any]]:
        """The exit code, and the report."""
        with Command(self._directory, "audit", "--format", "json", **self.topics.settings) as command:
            report = command.answer()
            return command.end(), report

    def journal(self) -> dict[str, list[dict[str, Any]]]:
        """By name of the gap, what the journal says of it, in order."""
        return journal_of(self._bootstrap_servers, self.topics.names["gaps"])

    def tell_times(self, what: str) -> None:
        """Log the times from start to caught-up."""
        times = sorted(self.caught_up_s)
        log.info(
            "%s, %s: %d starts, caught up after %.2f / %.2f / %.2f s (least, median, most)",
            self.mode, what, len(times), times[0], statistics.median(times), times[-1],
        )  # fmt: skip


def kill(service: Service) -> None:
    """SIGKILL, and its end."""
    service.signal(signal.SIGKILL)
    service.end()
