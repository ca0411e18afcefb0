"""The script that proves the record, on recordings of our own making, on real ones, and on records that are wrong."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
NOW_MS = 1_700_000_000_000
INGESTED_MS = range(NOW_MS, NOW_MS + 1000)


@pytest.fixture(autouse=True)
def _scripts(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)


@pytest.fixture
def verify_recording():
    import verify_recording  # noqa: PLC0415 - the path is there only now

    return verify_recording


@pytest.fixture
def make_payloads():
    from blaster import make_payloads  # noqa: PLC0415

    return make_payloads


def test_nothing_of_the_package_is_used_to_judge_it(verify_recording):
    import recordings  # noqa: PLC0415

    assert "ingest_actors" not in Path(recordings.__file__).read_text()
    assert "recordings" in sys.modules


@pytest.mark.parametrize(
    ("key", "murmur2"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"abc", 479470107),
    ],
)
def test_partitions_are_those_of_java(key, murmur2):
    """The hashes are those that Kafka's own tests (UtilsTest) expect."""
    from recordings import java_partition  # noqa: PLC0415

    assert java_partition(key, 2**31) == murmur2 & 0x7FFFFFFF
    assert java_partition(key, 6) == (murmur2 & 0x7FFFFFFF) % 6


# -- a wrong record is found


TRADE = b'{"e":"trade","E":1650000000001,"s":"BTCUSDT","t":%d,"p":"1.5","q":"2","T":1650000000000,"m":true,"M":true}'


class Record:
    """What a consumer hands out."""

    def __init__(self, payload, *, ingested_ms=NOW_MS + 5, key=b"BTCUSDT", partition=None, timestamp=1650000000001):
        from recordings import java_partition  # noqa: PLC0415

        tail = b',"ingestion_timestamp":%d,"source":"binance_websocket","event_type":"trade"}' % ingested_ms
        self._value = payload[:-1] + tail
        self._key = key
        self._partition = java_partition(b"BTCUSDT", 6) if partition is None else partition
        self._timestamp = timestamp

    def value(self):
        return self._value

    def key(self):
        return self._key

    def partition(self):
        return self._partition

    def timestamp(self):
        return 1, self._timestamp


@pytest.fixture
def check(verify_recording):
    """`check(*records)`: the defects of a topic that should hold trades 1, 2 and 3."""

    def run(*records):
        expected = [verify_recording.expected_event("btcusdt@trade", TRADE % number) for number in (1, 2, 3)]
        book = verify_recording.Book(expected, INGESTED_MS)
        for record in records:
            book.check(record)
        book.finish()
        return {name: count for row in book.rows.values() for name, count in row.defects.items() if count}

    return run


def trades(*numbers):
    return [Record(TRADE % number) for number in numbers]


def test_a_whole_topic_has_no_defect(check):
    assert check(*trades(1, 2, 3)) == {}


@pytest.mark.parametrize(
    ("numbers", "defects"),
    [
        ((1, 3), {"missing": 1}),
        ((), {"missing": 3}),
        ((1, 2, 2, 3), {"doubled": 1}),
        ((1, 3, 2), {"order": 1}),
        ((1, 2, 3, 4), {"unexpected": 1}),
    ],
)
def test_what_is_missing_doubled_misplaced_or_too_much_is_counted(check, numbers, defects):
    assert check(*trades(*numbers)) == defects


@pytest.mark.parametrize(
    ("changes", "defect"),
    [
        ({"key": b"ETHUSDT"}, "key"),
        ({"key": None}, "key"),
        ({"partition": 0}, "partition"),
        ({"timestamp": 1650000000000}, "timestamp"),
        ({"ingested_ms": NOW_MS - 1}, "ingested"),
    ],
)
def test_a_wrong_key_partition_or_time_is_counted(check, changes, defect):
    assert check(*trades(1, 2), Record(TRADE % 3, **changes)) == {defect: 1}


def test_one_altered_byte_is_found(check):
    assert check(*trades(1, 2), Record((TRADE % 3).replace(b'"1.5"', b'"1.6"'))) == {"bytes": 1}


def test_one_added_space_is_found(check):
    assert check(*trades(1, 2), Record((TRADE % 3).replace(b'"q":', b'"q": '))) == {"bytes": 1}


def test_a_record_without_our_fields_is_unexpected(check):
    record = Record(TRADE % 3)
    record.value = lambda: TRADE % 3
    assert check(*trades(1, 2), record) == {"missing": 1, "unexpected": 1}


# -- the whole road, on a real broker


def frame(stream, payload):
    return b'{"stream":"%b","data":%b}' % (stream.encode(), payload)


def other_frames():
    """One of each kind that is treated in its own way."""
    for number in range(20):
        at_ms = 1_650_000_000_000 + number * 250
        yield frame("btcusdt@bookTicker", b'{"u":%d,"s":"BTCUSDT","b":"1","B":"2","a":"3","A":"4"}' % (100 + number))
        yield frame("btcusdt@depth5", b'{"lastUpdateId":%d,"bids":[["1.0","2.0"]],"asks":[]}' % (7 + number))
        kline = b'{"t":1650000000000,"T":1650000059999,"s":"BTCUSDT","i":"1m","f":1,"L":%d,"o":"1","n":%d,"x":false}'
        yield frame(
            "btcusdt@kline_1m",
            b'{"e":"kline","E":%d,"s":"BTCUSDT","k":%b}' % (at_ms, kline % (number, number)),
        )
        tickers = [
            b'{"e":"24hrMiniTicker","E":%d,"s":"%b","c":"1"}' % (at_ms, symbol) for symbol in (b"BTCUSDT", b"ETHUSDT")
        ]
        yield frame("!miniTicker@arr", b"[" + b",".join(tickers) + b"]")


@pytest.mark.broker
def test_every_event_of_a_recording_of_our_own_making_is_in_kafka_once(
    verify_recording, make_payloads, broker, tmp_path, capsys
):
    frames = [*make_payloads(4000), *other_frames()]
    path = tmp_path / "own.txt.gz"
    lines = [b"%d %b\n" % (1_650_000_000_000_000_000 + number, each) for number, each in enumerate(frames)]
    path.write_bytes(gzip.compress(b"".join(lines)))
    defects = verify_recording.verify([path], broker.bootstrap_servers)
    output = capsys.readouterr().out
    assert defects == 0, output
    assert output.startswith("4,080 frames, 4,100 events, 24 streams")
    assert "'delivered': 4100, 'dead_lettered': 0, 'duplicates': 0, 'spooled': 0, 'in_flight': 0" in output
    assert "whole: every event once, in order, byte for byte" in output


@pytest.mark.broker
@pytest.mark.parametrize(
    "names",
    [
        ("spot_2021-04-04_3symbols.txt.gz",),
        ("spot_btcusdt_20240808.gz", "spot_btcusdt_20240809.gz"),
    ],
)
def test_every_event_of_a_real_recording_is_in_kafka_once(verify_recording, captures, names, broker, capsys):
    defects = verify_recording.verify([captures / name for name in names], broker.bootstrap_servers)
    assert defects == 0, capsys.readouterr().out
