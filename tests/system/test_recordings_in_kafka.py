"""What was recorded of an exchange is played through the service into a real Kafka, and all of it is there."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from kafka_topics import Topics
from market_recording import STREAM_TYPES, SYMBOLS, ExpectedRecord, MarketRecording
from service_process import Command, Service
from whole_record import assert_whole, java_partition

pytestmark = pytest.mark.broker

CAPTURES = {
    "two files of 2024": (["spot_btcusdt_20240808.gz", "spot_btcusdt_20240809.gz"], 99_573),
    "three symbols of 2021": (["spot_2021-04-04_3symbols.txt.gz"], 4_716),
}


def play(
    directory: Path,
    topics: Topics,
    recording: Sequence[Path],
    events: Sequence[ExpectedRecord],
    *options: str,
    **settings: str,
) -> None:
    """Play it, stop the service when all is delivered, and compare every topic."""
    began_ms = time.time_ns() // 1_000_000
    files = [argument for path in recording for argument in ("--recording", str(path))]
    with Command(directory, "simulate", "--speed", "0", *files, *options) as exchange:
        ready = exchange.answer()
        at = {"BINANCE_WS_URL": ready["ws_url"], "BINANCE_REST_URL": ready["rest_url"]}
        at |= {"SSL_CERT_FILE": ready["ca_file"]} if ready["ca_file"] else {}
        with Service(directory, **topics.settings, **at, **settings) as service:
            service.wait_ready().wait_until_settled(len(events))
            ledger = service.stop()["ledger"]
            assert service.looks
    received_ms = range(began_ms, time.time_ns() // 1_000_000)
    assert (ledger["received"], ledger["delivered"]) == (len(events), len(events) + ledger["backfilled"])
    for role in ("raw", "trades", "depth"):
        assert_whole(role, topics.read(role), events, received_ms)
    assert topics.count("dead_letters") == 0


@pytest.fixture(scope="session")
def market() -> MarketRecording:
    return MarketRecording(seed=20240808, rounds=60)


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        pytest.param([], {}, id="plain"),
        pytest.param(["--tls"], {}, id="TLS"),
        pytest.param([], {"WEBSOCKET_FAST_PATH": "false"}, id="trio-websocket alone"),
        pytest.param([], {"BATCH_EAGER": "false", "BATCH_SIZE": "7", "BATCH_TIMEOUT_SECONDS": "0.2"}, id="batches"),
    ],
)
def test_every_kind_of_event_is_in_kafka_once_in_order_and_byte_for_byte(tmp_path, topics, market, options, settings):
    of_market = {"BINANCE_SYMBOLS": ",".join(SYMBOLS), "BINANCE_STREAM_TYPES": ",".join(STREAM_TYPES)}
    play(tmp_path, topics, market.write(tmp_path), market.records, *options, **of_market, **settings)


@pytest.mark.parametrize("name", CAPTURES)
def test_every_event_of_a_real_recording_is_in_kafka_once_in_order_and_byte_for_byte(tmp_path, captures, topics, name):
    from recordings import COPIES, expected_events, read_recording  # noqa: PLC0415 - see conftest

    files, count = CAPTURES[name]
    paths = [captures / file for file in files]
    frames = [(stream, frame) for path in paths for stream, frame in read_recording(path)]
    streams = {stream for stream, _ in frames}
    events = [
        ExpectedRecord(
            event.series[1],
            event.series[0].encode(),
            event.payload[:-1] + event.appended,
            event.time_ms,
            ("raw", COPIES[event.series[1]]) if event.series[1] in COPIES else ("raw",),
        )
        for stream, frame in frames
        for event in expected_events(stream, frame)
    ]
    assert len(events) == count
    symbols = {stream.partition("@")[0] for stream in streams}
    types = {stream.partition("@")[2] for stream in streams}
    play(
        tmp_path, topics, paths, events, BINANCE_SYMBOLS=",".join(symbols), BINANCE_STREAM_TYPES=",".join(types)
    )  # fmt: skip


def test_the_partitioner_of_these_tests_is_that_of_java():
    """The vectors of Kafka's own `UtilsTest.testMurmur2`, as non-negative numbers."""
    hashes = {
        "21": -973932308,
        "foobar": -790332482,
        "a-little-bit-long-string": -985981536,
        "a-little-bit-longer-string": -1486304829,
        "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
        "abc": 479470107,
    }
    for text, signed in hashes.items():
        assert java_partition(text.encode(), 2**31) == signed & 0x7FFFFFFF
