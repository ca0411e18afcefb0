"""Books of the real exchange, played back: rebuilt from the depth topic they agree with the bookTicker beside them."""

import json
import random

import httpx
import pytest
import trio
from trio.testing import MockClock

from book_reader import BookReader, TickerCheck, snapshots_out_of_place
from ingest_actors.network import real_network
from ingest_actors.service import Service
from ingest_actors.settings import Settings
from ingest_actors.simulator import SimulatorConfig, open_exchange
from ingest_actors.simulator.faults import Drop, Fault
from sinks import MemorySink

PAIR = ("spot_btcusdt_20240808.gz", "spot_btcusdt_20240809.gz")
"""Two files, the second of which goes on where the first ends; one snapshot, in the first."""


async def played(paths, symbols, types, faults=(), *, lasting_s, start_ms=1_790_000_000_000):
    """What the service delivers of a recording that is played in its own time."""
    config = SimulatorConfig(
        ws_port=None, rest_port=None, recording=tuple(paths), start_ms=start_ms, tick_s=0.1, faults=list(faults)
    )
    settings = Settings(
        binance_symbols=",".join(symbols), binance_stream_types=types, reconnect_interval=0.5, max_retries=0,
        shutdown_timeout_seconds=3600.0,
    )  # fmt: skip
    async with open_exchange(config) as exchange:
        sink = MemorySink()
        network = real_network(
            settings, clock_ms=exchange.now_ms, connect=exchange.connect,
            rest_transport=httpx.ASGITransport(exchange.rest_app),
        )  # fmt: skip
        service = Service(settings, sink=sink, network=network, clock_ms=exchange.now_ms, rng=random.Random(1))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.run)
            await trio.sleep(lasting_s)
            service.stop()
    assert service.report.ledger.difference == 0
    return sink


def compare(sink, symbol):
    reader, check = BookReader(), TickerCheck()
    records = []
    for value, key, _, route in sink.written:
        if key == symbol.encode():
            if route.event_type == "book_ticker":
                check.ticker(json.loads(value))
            elif "binance-depth" in route.topics:
                records.append(value)
                if reader.read(value):
                    check.book(reader)
    check.finish()
    assert snapshots_out_of_place(records) == []
    return reader, check


def run(*arguments, **options):
    async def main():
        return await played(*arguments, **options)

    return trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.long
def test_the_book_of_eleven_minutes_agrees_with_the_best_prices(captures):
    """In 5,735 of 5,737 cases, as those who recorded it found, by other means."""
    sink = run([captures / name for name in PAIR], ["BTCUSDT"], "depth@100ms,bookTicker", lasting_s=700.0)
    reader, check = compare(sink, "BTCUSDT")
    assert (reader.snapshots, reader.began_anew) == (1, 0)
    assert (check.compared, len(check.differing)) == (5737, 2)


@pytest.mark.long
@pytest.mark.parametrize(
    ("day", "symbols", "compared_min"),
    [
        ("2021-08-14", "XMRBTC,FTMUSDT,SXPBTC,BADGERBTC", 50),
        ("2021-10-11", "NKNUSDT,BLZETH,LRCBTC,RUNEEUR", 50),
    ],
)
def test_books_of_quieter_symbols_agree_too(captures, day, symbols, compared_min):
    files = [captures / f"spot_{day}_ws.txt.gz", captures / f"spot_{day}_http.txt.gz"]
    sink = run(files, symbols.split(","), "depth@100ms,bookTicker", lasting_s=60.0)
    found = {symbol: compare(sink, symbol) for symbol in symbols.split(",")}
    for symbol, (reader, check) in found.items():
        assert reader.snapshots == 1
        assert (reader.began_anew, check.differing) == (0, []), symbol
    assert sum(check.compared for _, check in found.values()) >= compared_min


@pytest.mark.long
def test_after_a_hole_for_which_no_snapshot_can_be_had_the_book_is_useless_and_not_wrong(captures):
    """The recording has one snapshot alone, of its beginning."""
    faults = [Fault(Drop(2), at_s=100.0, in_all=1, streams="btcusdt@depth*")]
    sink = run([captures / PAIR[0]], ["BTCUSDT"], "depth@100ms,bookTicker", faults, lasting_s=200.0)
    reader, check = compare(sink, "BTCUSDT")
    assert (reader.snapshots, reader.began_anew, reader.id) == (1, 1, None)
    assert check.differing == []
    assert 500 < check.compared < 1500
