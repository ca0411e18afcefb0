"""`record` and `replay` as people run them: processes, signals, a real Kafka."""

from __future__ import annotations

import gzip
import itertools
import json
import resource
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from kafka_topics import Topics
from market_recording import STREAM_TYPES, SYMBOLS, MarketRecording
from service_process import Command, wait_until

from ingest_actors.kafka.opening import open_sink
from ingest_actors.messages import FrameBatch
from ingest_actors.network import real_network
from ingest_actors.recordings.tape import Tape
from ingest_actors.recordings.writer import RecordingWriter
from ingest_actors.service import Service, wall_clock_ms
from ingest_actors.settings import Settings
from ingest_actors.simulator.recording import Recording
from recorded_files import marks, read, write

SECOND_NS = 10**9
OF_TRADES = {"BINANCE_SYMBOLS": "BTCUSDT", "BINANCE_STREAM_TYPES": "trade"}
EMBEDDED = {"KAFKA_BOOTSTRAP_SERVERS": "embedded"}


def trade(number: int, at_ms: int) -> bytes:
    return (
        b'{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"s":"BTCUSDT","t":%d,"p":"%d.00000000","q":"0.10000000",'
        b'"T":%d,"m":true,"M":true}}' % (at_ms, number, number % 977, at_ms)
    )


def trades(path: Path, count: int, *, every_ns: int, start_ns: int = 1_790_000_000 * SECOND_NS) -> list[bytes]:
    """Write a recording of others; its frames."""
    times = [start_ns + number * every_ns for number in range(count)]
    frames = [trade(number, at_ns // 10**6) for number, at_ns in enumerate(times)]
    text = b"".join(b"%d %b\n" % line for line in zip(times, frames, strict=True))
    path.write_bytes(gzip.compress(text, 1))
    return frames


def frames_of(path: Path) -> list[bytes]:
    return [frame for *_, frame in read(path)[0]]


def addresses(exchange: Command) -> dict[str, str]:
    ready = exchange.answer()
    return {"BINANCE_WS_URL": ready["ws_url"], "BINANCE_REST_URL": ready["rest_url"]}


@pytest.mark.parametrize("attempt", range(3))
def test_after_a_sigkill_under_load_everything_up_to_the_last_second_is_there_byte_for_byte(tmp_path, attempt):
    sent = trades(tmp_path / "sent.gz", 120_000, every_ns=200_000)  # 5,000 a second
    output = tmp_path / "kept.gz"
    with Command(tmp_path, "simulate", "--recording", "sent.gz", "--start-when", "first") as exchange:  # noqa: SIM117
        with Command(tmp_path, "record", "--output", str(output), **addresses(exchange), **OF_TRADES) as recorder:
            assert recorder.answer() == {"recording": str(output)}
            time.sleep(2.5 + attempt * 0.37)
            killed_ns = time.time_ns()
            recorder.signal(signal.SIGKILL)
            recorder.end()
    messages, reader = read(output)
    kept = [frame for *_, frame in messages]
    assert len(kept) > 5_000
    start = sent.index(kept[0])
    assert kept == sent[start : start + len(kept)]
    assert killed_ns - messages[-1][0] < SECOND_NS
    assert reader.foot == ""
    with Command(tmp_path, "replay", str(output), "--yes", **EMBEDDED) as replay:
        assert replay.end() == 0
        assert replay.answer()["delivered"] == len(kept)
        assert "has no end: its recorder was killed" in replay.text()


def test_a_recording_is_served_again_byte_for_byte_and_recorded_again(tmp_path):
    market = MarketRecording(seed=3, rounds=20)
    of_market = {"BINANCE_SYMBOLS": ",".join(SYMBOLS), "BINANCE_STREAM_TYPES": ",".join(STREAM_TYPES)}
    source = [argument for path in market.write(tmp_path) for argument in ("--recording", str(path))]
    sent = [recorded.frame for recorded in market.frames]
    for output in (tmp_path / "kept.gz", tmp_path / "again.gz"):
        with Command(tmp_path, "simulate", "--speed", "0", *source) as exchange:
            arguments = ("--output", str(output), "--duration", "4", "--no-answers")
            with Command(tmp_path, "record", *arguments, **addresses(exchange), **of_market) as recorder:
                assert recorder.answer() == {"recording": str(output)}
                assert recorder.end() == 0, recorder.text()
                answer = recorder.answer()
        assert answer == {
            "files": [str(output)], "messages": len(sent), "answers": 0, "bytes": output.stat().st_size,
        }  # fmt: skip
        assert frames_of(output) == sent
        assert Recording([output]).streams == Recording([Path(path) for path in source[1::2]]).streams
        source = ["--recording", str(output)]


def test_a_recorder_that_is_stopped_ends_its_file_and_has_the_books(tmp_path):
    output = tmp_path / "kept.gz"
    of_book = {"BINANCE_SYMBOLS": "BTCUSDT,ETHUSDT", "BINANCE_STREAM_TYPES": "depth@100ms,trade"}
    with Command(tmp_path, "simulate", "--activity", "5") as exchange:  # noqa: SIM117 - the one asks the other
        with Command(tmp_path, "record", "--output", str(output), **addresses(exchange), **of_book) as recorder:
            recorder.answer()
            time.sleep(1.5)
            recorder.signal(signal.SIGTERM)
            assert recorder.end() == 0, recorder.text()
            answer = recorder.answer()
    assert answer["answers"] == 3
    assert [mark.event for mark in marks(output)[:-1]] == ["opened", "closed"]
    assert read(output)[1].foot == "stopped"
    recording = Recording([output])
    assert recording.frames == answer["messages"] > 10
    assert sorted((each.endpoint, each.symbol) for each in recording.answers) == [
        ("depth", "BTCUSDT"), ("depth", "ETHUSDT"), ("exchangeInfo", ""),
    ]  # fmt: skip
    for each in recording.answers[:2]:  # the updates that were recorded join on to the book
        stream = f"{each.symbol.lower()}@depth@100ms".encode()
        updates = [
            json.loads(frame)["data"]
            for _, block in recording.blocks()
            for _, frame, name in block.frames
            if name == stream
        ]
        book = json.loads(each.body)
        joining = next(update for update in updates if update["u"] > book["lastUpdateId"])
        assert joining["U"] <= book["lastUpdateId"] + 1


def test_a_file_that_may_not_grow_ends_the_recorder_with_the_reason_and_can_be_read(tmp_path):
    """The limit of a process stands for a disk that is full: both fail in the middle of a write."""
    output = tmp_path / "kept.gz"
    sent = trades(tmp_path / "sent.gz", 200_000, every_ns=100_000)
    with Command(tmp_path, "simulate", "--recording", str(tmp_path / "sent.gz"), "--speed", "0") as exchange:
        environ = addresses(exchange) | OF_TRADES | {"PATH": "/usr/bin:/bin"}
        ended = subprocess.run(
            [sys.executable, "-m", "ingest_actors", "record", "--output", str(output)],
            env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000)),
        )  # fmt: skip
    assert ended.returncode == 1, ended.stderr
    said = f"record: recording {output}: cannot be written: File too large; it holds "
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("record: ")]
    assert line.startswith(said)
    kept = frames_of(output)
    assert line == f"{said}{len(kept):,} messages, whole"
    assert kept == sent[: len(kept)]
    assert output.stat().st_size <= 300_000


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("sent.gz", "exists; accepted: the name of a new file"),
        ("nowhere/kept.gz", "No such file or directory; accepted: a new file where this user may write"),
        ("sent.gz/kept.gz", "Not a directory; accepted: a new file where this user may write"),
    ],
)
def test_a_file_that_cannot_be_made_is_refused_with_exit_code_2(tmp_path, name, told):
    (tmp_path / "sent.gz").touch()
    with Command(tmp_path, "record", "--output", name, **OF_TRADES) as recorder:
        assert recorder.end() == 2
        assert recorder.text().splitlines()[-1].strip() == f"--output {name}: {told}"


# replay


def test_a_replay_that_is_stopped_drains_and_does_not_say_that_it_finished(tmp_path):
    now_ns = time.time_ns()
    trades(tmp_path / "sent.gz", 100_000, every_ns=1_000_000, start_ns=now_ns)
    with Command(tmp_path, "replay", "sent.gz", "--speed", "1", **EMBEDDED) as replay:
        wait_until(lambda: "KAFKA_BOOTSTRAP_SERVERS=embedded" in replay.text())  # it is about to begin
        time.sleep(3)
        replay.signal(signal.SIGINT)
        assert replay.end() == 1
        answer = replay.answer()
        text = replay.text()
    assert answer["finished"] is False
    assert 0 < answer["messages"] < 100_000
    assert answer["messages"] == answer["received"] == answer["delivered"] == answer["records"]["binance-trades"]
    assert "replay: stopped before the end, at " in text


def test_damage_in_the_middle_is_told_with_its_place_when_everything_before_it_is_delivered(tmp_path):
    path = tmp_path / "r.gz"
    now_ms = wall_clock_ms()
    blocks = [
        [
            FrameBatch([trade(number, now_ms)], received_at_ms=now_ms, connection="c")
            for number in range(start, start + 500)
        ]
        for start in range(0, 5000, 500)
    ]
    write(path, blocks)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with Command(tmp_path, "replay", "r.gz", **EMBEDDED) as replay:
        assert replay.end() == 1
        *_, what, count = replay.text().splitlines()
    assert what.startswith("replay: recording r.gz: is damaged: ")
    assert f" of {len(data):,}; what stands before it" in what
    assert count.endswith("messages before that place were replayed")
    assert 0 < int(count.split()[1].replace(",", "")) < 5000


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'1790000000000000000 {"recording":2,"program":"ingest-actors 9.0"}\n', "is of version 2 of the format"),
        (b"rubbish\n", "is neither a frame nor an answer of REST: 'rubbish'"),
        (b"", "is empty"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_a_recording_that_cannot_be_used_is_refused_before_anything_is_written(tmp_path, content, told):
    trades(tmp_path / "good.gz", 10, every_ns=1)
    if content is not None:
        (tmp_path / "bad.gz").write_bytes(content)
    with Command(tmp_path, "replay", "good.gz", "bad.gz", **EMBEDDED) as replay:
        assert replay.end() == 2
        assert replay.text().splitlines()[-1].startswith("replay: recording bad.gz")
        assert told in replay.text()


# With a real Kafka


def in_topic(topics: Topics, role: str) -> dict[tuple[object, ...], list[tuple[object, ...]]]:
    """All that a reader sees of a topic, offsets aside, by event type and key; not what came from REST."""
    found: dict[tuple[object, ...], list[tuple[object, ...]]] = defaultdict(list)
    for record in topics.read(role):
        event_type = (record.value() or b"").rpartition(b'"event_type":')[2]
        if event_type != b'"depth_snapshot"}':
            found[event_type, record.key()].append(
                (record.partition(), record.value(), record.timestamp(), record.headers())
            )
    return found


async def run_and_record(settings: Settings, output: Path, seconds: float) -> int:
    """The service as it runs, with a tape: both see the same bytes at the same time. How many events came."""
    writer = RecordingWriter(output, {}, clock_ns=time.time_ns)
    writer.open()
    tape = Tape(writer)
    network = real_network(settings, clock_ms=wall_clock_ms, clock_ns=time.time_ns)
    service = Service(settings, sink=await open_sink(settings), network=network, tape=tape)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(service.run)
        assert await service.wait_ready()
        await trio.sleep(seconds)
        service.stop()
    await tape.finish("stopped")
    assert service.report is not None
    return service.report.ledger.received


@pytest.fixture
def prefixes() -> Iterator[str]:
    return (f"r{time.time_ns()}-{number}-" for number in itertools.count())


@pytest.mark.broker
def test_a_replay_writes_what_the_service_has_written_byte_for_byte(tmp_path, broker, prefixes):
    written, replayed = (Topics(broker.bootstrap_servers, next(prefixes)) for _ in range(2))
    types = "trade,aggTrade,depth@100ms,bookTicker,kline_1m,!miniTicker@arr,depth5"
    with Command(tmp_path, "simulate", "--activity", "10") as exchange:
        at = addresses(exchange)
        settings = Settings(
            binance_ws_url=at["BINANCE_WS_URL"], binance_rest_url=at["BINANCE_REST_URL"],
            binance_symbols="BTCUSDT,ETHUSDT,BNBUSDT", binance_stream_types=types,
            **{name.lower(): value for name, value in written.settings.items()},
        )  # fmt: skip
        received = trio.run(run_and_record, settings, tmp_path / "r.gz", 4.0)
    with Command(tmp_path, "replay", "r.gz", **replayed.settings) as replay:
        assert replay.end() == 0, replay.text()
        answer = replay.answer()
    assert (answer["finished"], answer["delivered"], answer["dead_lettered"]) == (True, received, 0)
    for role in ("raw", "trades", "depth"):
        records, again = in_topic(written, role), in_topic(replayed, role)
        assert sum(map(len, records.values())) > 50
        keyed = [{name: each[name] for name in each if name[1] is not None} for each in (records, again)]
        assert keyed[0] == keyed[1]
        assert {name: len(each) for name, each in records.items()} == {name: len(each) for name, each in again.items()}
        assert answer["records"][replayed.names[role]] == sum(map(len, again.values()))


@pytest.mark.broker
def test_records_that_kafka_would_delete_are_not_written_unless_somebody_says_so(tmp_path, broker, prefixes):
    old_ns = 1_600_000_000 * SECOND_NS
    trades(tmp_path / "old.gz", 1000, every_ns=1_000_000, start_ns=old_ns)
    week = {"retention.ms": str(7 * 86_400_000)}
    topics = Topics(broker.bootstrap_servers, next(prefixes), {"raw": week, "trades": week})
    with Command(tmp_path, "replay", "old.gz", **topics.settings) as replay:
        assert replay.end() == 2
        text = replay.text()
    assert "the recording begins 2020-09-13 12:26 UTC, and to Kafka a record is as old as its own timestamp:" in text
    for role in ("raw", "trades"):
        assert f"  {topics.names[role]} deletes what is older than 7 days, some minutes after it is written" in text
        assert f"--entity-name {topics.names[role]} --add-config retention.ms=-1" in text
    assert f"{topics.names['depth']} deletes" not in text
    assert "--topic-prefix" in text
    assert "replay: nothing was written; --yes replays all the same" in text
    assert [topics.count(role) for role in ("raw", "trades", "dead_letters")] == [0, 0, 0]
    with Command(tmp_path, "replay", "old.gz", "--yes", **topics.settings) as replay:
        assert replay.end() == 0, replay.text()
        assert "deletes what is older than 7 days" in replay.text()
    assert [topics.count(role) for role in ("raw", "trades")] == [1000, 1000]


@pytest.mark.broker
def test_topics_of_its_own_keep_what_is_old_and_need_no_yes(tmp_path, broker, prefixes):
    trades(tmp_path / "old.gz", 1000, every_ns=1_000_000, start_ns=1_600_000_000 * SECOND_NS)
    prefix = next(prefixes)
    topics = Topics(broker.bootstrap_servers, prefix, create=False)
    settings = {name: value.removeprefix(prefix) for name, value in topics.settings.items()}
    with Command(tmp_path, "replay", "old.gz", "--topic-prefix", prefix, **settings) as replay:
        assert replay.end() == 0, replay.text()
        text = replay.text()
    assert "deletes" not in text
    assert f"created {topics.names['raw']}, which keeps its records for ever" in text
    assert [topics.count(role) for role in ("raw", "trades", "depth")] == [1000, 1000, 0]
    with Command(tmp_path, "replay", "old.gz", "--topic-prefix", prefix, **settings) as replay:
        assert replay.end() == 0, replay.text()  # again: nothing is created, and nothing is in the way
        assert "created" not in replay.text()


@pytest.mark.broker
def test_a_topic_that_refuses_old_records_is_told_too(tmp_path, broker, prefixes):
    trades(tmp_path / "old.gz", 10, every_ns=1, start_ns=1_600_000_000 * SECOND_NS)
    topics = Topics(broker.bootstrap_servers, next(prefixes), {"raw": {"message.timestamp.before.max.ms": "86400000"}})
    with Command(tmp_path, "replay", "old.gz", **topics.settings) as replay:
        assert replay.end() == 2
        told = f"{topics.names['raw']} refuses what is older than 1 days (message.timestamp.before.max.ms)"
        assert told in replay.text()
