"""`record` in a program: against exchanges in memory, on virtual time."""

import gzip
import json
import os
import random

import httpx
import pytest
import trio

from exchanges import HandDriven, trade
from ingest_actors.binance.rest import RestClient
from ingest_actors.errors import ActorFailed, SettingsError
from ingest_actors.network import real_network
from ingest_actors.recorder import RecordOptions, run_recorder
from ingest_actors.recorder.answers import FAILURES_MAX, PAUSE_S, SYMBOLS_ASKED_MAX, ask_all, questions
from ingest_actors.recordings import writer as writer_module
from ingest_actors.recordings.tape import Tape
from ingest_actors.recordings.writer import RecordingFailed, RecordingWriter
from ingest_actors.replayer import Player, run_replay
from ingest_actors.service import Service
from ingest_actors.settings import Settings
from ingest_actors.simulator import SimulatorConfig, open_exchange
from recorded_files import marks, read, series_of
from sinks import MemorySink
from test_service import Simulated

START_MS = 1_790_000_000_000
QUIET = RecordOptions(answers=False)


def options(path, **changes):
    return RecordOptions(output=path, answers=False, **changes)


async def test_what_the_exchange_sent_is_in_the_file_and_the_file_is_told(autojump_clock, no_threads, tmp_path):
    async def play(line):
        for number in range(200):
            await line.send(trade(number))
            await trio.sleep(0.05)
        await trio.sleep_forever()

    told = []
    async with trio.open_nursery() as nursery:
        exchange = HandDriven(nursery, play=play)
        path = tmp_path / "r.gz"
        recorded = await run_recorder(
            Settings(binance_symbols="BTCUSDT", binance_stream_types="trade"),
            options(path, duration_s=20),
            ready=told.append,
            network=exchange.network,
        )
        nursery.cancel_scope.cancel()
    messages, reader = read(path)
    assert [frame for *_, frame in messages] == [trade(number) for number in range(200)]
    assert [at_ns // 10**6 for at_ns, *_ in messages] == list(
        range(messages[0][0] // 10**6, messages[0][0] // 10**6 + 200)
    )
    assert {connection for _, connection, *_ in messages} == {"ws-1"}
    assert (recorded.files, recorded.messages, recorded.size_bytes) == ((path,), 200, path.stat().st_size)
    assert told == [path]
    assert reader.foot == "stopped"


async def test_openings_and_ends_of_connections_are_marked(autojump_clock, no_threads, tmp_path):
    async def play(line):
        await line.send(trade(1))
        await trio.sleep(1)
        await line.cut()

    async with trio.open_nursery() as nursery:
        exchange = HandDriven(nursery, play=play)
        path = tmp_path / "r.gz"
        settings = Settings(binance_symbols="BTCUSDT", binance_stream_types="trade", max_retries=0)
        await run_recorder(settings, options(path, duration_s=6.5), ready=lambda _: None, network=exchange.network)
        nursery.cancel_scope.cancel()
    *seen, foot = marks(path)
    assert [mark.event for mark in seen] == ["opened", "closed"] * (len(seen) // 2)
    assert seen[0].facts == {"url": "ws://exchange", "streams": ["btcusdt@trade"]}
    assert seen[1].facts["code"] == 1006
    assert foot.reason == "stopped"


async def test_a_connection_that_is_open_at_the_end_is_marked_closed(autojump_clock, no_threads, tmp_path):
    async with trio.open_nursery() as nursery:
        exchange = HandDriven(nursery)
        path = tmp_path / "r.gz"
        settings = Settings(binance_symbols="BTCUSDT", binance_stream_types="trade")
        await run_recorder(settings, options(path, duration_s=1), ready=lambda _: None, network=exchange.network)
        nursery.cancel_scope.cancel()
    assert [(mark.event, mark.facts.get("reason")) for mark in marks(path)[:-1]] == [
        ("opened", None), ("closed", "the recording ended"),
    ]  # fmt: skip


async def test_a_cancelled_recording_keeps_what_it_received(tmp_path):
    path = tmp_path / "r.gz"

    async def play(line):
        for number in range(50):
            await line.send(trade(number))
        scope.cancel()

    async with trio.open_nursery() as nursery:
        exchange = HandDriven(nursery, play=play)
        with trio.CancelScope() as scope:
            await run_recorder(
                Settings(binance_symbols="BTCUSDT", binance_stream_types="trade"),
                options(path),
                ready=lambda _: None,
                network=exchange.network,
            )
        nursery.cancel_scope.cancel()
    messages, reader = read(path)
    frames = [frame for *_, frame in messages]
    assert frames == [trade(number) for number in range(len(frames))]
    assert reader.foot == "failed"


async def test_a_disk_that_is_full_ends_it_with_the_reason_and_a_file_that_can_be_read(tmp_path, monkeypatch):
    path = tmp_path / "r.gz"

    async def play(line):
        for number in range(100_000):
            await line.send(trade(number))

    write = os.write

    def full(file, data):
        if path.stat().st_size > 20_000:
            raise OSError(28, os.strerror(28))
        return write(file, data[:5000])

    monkeypatch.setattr(writer_module.os, "write", full)
    async with trio.open_nursery() as nursery:
        exchange = HandDriven(nursery, play=play)
        with pytest.raises(RecordingFailed, match=r"No space left on device; it holds [0-9,]+ messages, whole"):
            await run_recorder(
                Settings(binance_symbols="BTCUSDT", binance_stream_types="trade"),
                options(path),
                ready=lambda _: None,
                network=exchange.network,
            )
        nursery.cancel_scope.cancel()
    messages, reader = read(path)
    assert [frame for *_, frame in messages] == [trade(number) for number in range(len(messages))]
    assert (reader.incomplete, reader.foot) == (False, "")


async def test_a_file_that_cannot_be_made_is_refused_before_anything_is_asked_of_the_exchange(tmp_path):
    async with trio.open_nursery() as nursery:
        exchange = HandDriven(nursery)
        with pytest.raises(SettingsError):
            await run_recorder(
                Settings(), options(tmp_path / "no" / "r.gz"), ready=lambda _: None, network=exchange.network
            )
        assert exchange.asked == []


async def record_in_vain(path):
    async def refuse(*_address):
        raise ConnectionRefusedError(111, "Connection refused")

    settings = Settings(binance_symbols="BTCUSDT", binance_stream_types="trade", max_retries=1)
    network = real_network(
        settings,
        clock_ms=lambda: START_MS,
        clock_ns=lambda: START_MS * 10**6,
        connect=refuse,
        rest_transport=httpx.MockTransport(lambda _: httpx.Response(404)),
    )
    with pytest.raises(ActorFailed, match="Connection refused"):
        await run_recorder(settings, options(path), ready=lambda _: None, network=network)


async def test_a_recording_that_fails_before_anything_came_leaves_no_file(autojump_clock, no_threads, tmp_path):
    await record_in_vain(tmp_path / "r.gz")
    assert list(tmp_path.iterdir()) == []


async def test_an_empty_file_that_cannot_be_removed_is_told(autojump_clock, no_threads, tmp_path, monkeypatch, caplog):
    def stay(*_arguments, **_options):
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(type(tmp_path), "unlink", stay)
        await record_in_vain(tmp_path / "r.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["r.gz"]
    assert "empty_recording_left cause=Operation not permitted" in caplog.text


async def test_a_directory_gets_a_file_named_after_the_time(autojump_clock, no_threads, tmp_path):
    async with trio.open_nursery() as nursery:
        exchange = HandDriven(nursery)
        recorded = await run_recorder(
            Settings(binance_symbols="BTCUSDT", binance_stream_types="trade"),
            options(tmp_path, duration_s=1),
            ready=lambda _: None,
            network=exchange.network,
        )
        nursery.cancel_scope.cancel()
    (path,) = recorded.files
    assert path.parent == tmp_path
    assert path.name.startswith("recording-2")
    assert len(path.name) == len("recording-20240101T000000Z.gz")


async def test_a_recording_that_is_replayed_is_what_the_service_has_written(
    autojump_clock, no_threads, nursery, tmp_path
):
    """One service writes and keeps at once, so that both saw the same bytes at the same time."""
    path = tmp_path / "r.gz"
    types = "trade,aggTrade,depth@100ms,kline_1m,bookTicker,depth5,!miniTicker@arr"
    config = {
        "ws_port": None,
        "rest_port": None,
        "start_ms": START_MS,
        "tick_s": 0.1,
        "symbols": ("BTCUSDT", "ETHUSDT"),
    }
    settings = Settings(binance_symbols="BTCUSDT,ETHUSDT", binance_stream_types=types)
    async with open_exchange(SimulatorConfig(**config)) as exchange:
        world = Simulated(exchange, nursery)
        writer = RecordingWriter(path, {}, clock_ns=lambda: START_MS * 10**6)
        writer.open()
        tape = Tape(writer)
        written = MemorySink(delay_s=0.01)
        network = real_network(
            settings,
            clock_ms=exchange.now_ms,
            clock_ns=lambda: exchange.now_ms() * 10**6 + 123_456,
            connect=world.connect,
            rest_transport=httpx.ASGITransport(app=exchange.rest_app),
        )
        service = Service(
            settings, sink=written, network=network, clock_ms=exchange.now_ms, rng=random.Random(1), tape=tape
        )
        nursery.start_soon(service.run)
        assert await service.wait_ready()
        await trio.sleep(60)
        service.stop()
        await service.wait_stopped()
        await tape.finish("stopped")
    assert len(written.written) > 1000
    again = MemorySink()
    replayed = await run_replay(settings, Player([path]), sink=again)
    assert series_of(again) == series_of(written)
    assert {at_ns % 10**6 for at_ns, *_ in read(path)[0]} == {123_456}
    assert replayed.finished
    from_rest = service.report.ledger.backfilled
    assert (replayed.ledger.delivered, from_rest, replayed.unbalanced) == (len(written.written) - from_rest, 2, {})


# REST's answers


def test_books_are_asked_for_depth_streams_alone_and_rules_for_all_symbols():
    streams = ["btcusdt@trade", "btcusdt@depth@100ms", "ethusdt@depth", "bnbusdt@depth5", "!miniTicker@arr"]
    asked = list(questions(streams, depth_limit=1000))
    assert asked == [
        ("depth", {"symbol": "BTCUSDT", "limit": 1000}, 50),
        ("depth", {"symbol": "ETHUSDT", "limit": 1000}, 50),
        ("exchangeInfo", {"symbols": '["BTCUSDT","ETHUSDT","BNBUSDT"]'}, 20),
    ]


def test_rules_of_many_symbols_are_asked_for_in_several_questions():
    asked = list(questions([f"s{number}usdt@trade" for number in range(250)], depth_limit=5000))
    assert [len(json.loads(question.params["symbols"])) for question in asked] == [SYMBOLS_ASKED_MAX] * 2 + [50]


@pytest.mark.parametrize(("limit", "weight"), [(5, 5), (100, 5), (500, 25), (1000, 50), (5000, 250)])
def test_a_book_costs_what_the_exchange_says(limit, weight):
    (question, _) = questions(["a@depth"], depth_limit=limit)
    assert question.weight == weight


class Rest:
    """Answers in turn."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def client(self):
        return RestClient(["http://rest"], transport=httpx.MockTransport(self.answer))

    def answer(self, request):
        self.asked.append((trio.current_time(), request.url.params["symbol"]))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def asked_of(rest, *symbols):
    kept, warned = [], []
    async with rest.client() as client:
        await ask_all(
            client,
            questions([f"{symbol.lower()}@depth" for symbol in symbols], depth_limit=5),
            keep=lambda url, body: kept.append((url, body)),
            warn=lambda **fields: warned.append(fields),
        )
    return kept, warned


INFO = httpx.Response(400, json={"code": -1100, "msg": "no"})


async def test_answers_are_kept_byte_for_byte_with_their_url(autojump_clock):
    body = b'{"lastUpdateId": 5,"bids":[] }'
    rest = Rest(httpx.Response(200, content=body), INFO)
    rest.answer = lambda request: rest.answers.pop(0)
    kept, warned = await asked_of(rest, "BTCUSDT")
    assert kept == [("http://rest/api/v3/depth?symbol=BTCUSDT&limit=5", body)]
    assert "exchangeInfo" in warned[0]["url"]


async def test_a_question_that_fails_is_asked_again_and_one_that_is_refused_is_passed_over(autojump_clock):
    rest = Rest(
        httpx.ConnectError("gone"),
        httpx.Response(200, json={}),
        httpx.Response(400, json={"code": -1121, "msg": "Invalid symbol."}),
        httpx.Response(429, headers={"retry-after": "7"}, json={"code": -1003, "msg": "too many"}),
        httpx.Response(200, json={}),
    )
    plain = rest.answer
    rest.answer = lambda request: INFO if "exchangeInfo" in request.url.path else plain(request)
    kept, warned = await asked_of(rest, "A", "B", "C")
    assert [symbol for _, symbol in rest.asked] == ["A", "A", "B", "C", "C"]
    times = [time for time, _ in rest.asked]
    assert [times[1] - times[0], times[4] - times[3]] == pytest.approx([PAUSE_S, 7])
    assert len(kept) == 2
    assert "Invalid symbol" in warned[0]["cause"]


async def test_an_exchange_that_does_not_answer_is_left_alone(autojump_clock):
    rest = Rest(*[httpx.ConnectError("gone")] * 10)
    kept, warned = await asked_of(rest, "A", "B")
    assert (len(rest.asked), kept) == (FAILURES_MAX, [])
    assert warned[-1]["hint"] == "the recording goes on without REST's answers"


def test_the_head_says_what_was_asked_for(tmp_path):
    async def main():
        async with trio.open_nursery() as nursery:
            exchange = HandDriven(nursery)
            await run_recorder(
                Settings(binance_symbols="BTCUSDT", binance_stream_types="trade", instance_name="me"),
                options(tmp_path / "r.gz", duration_s=0, program="ingest-actors 1.2.3"),
                ready=lambda _: None,
                network=exchange.network,
            )
            nursery.cancel_scope.cancel()

    trio.run(main)
    head = gzip.decompress((tmp_path / "r.gz").read_bytes()).split(b"\n")[0].split(b" ", 1)[1]
    assert json.loads(head) == {
        "recording": 1, "program": "ingest-actors 1.2.3", "instance": "me", "symbols": ["BTCUSDT"],
        "stream_types": ["trade"], "part": 1,
    }  # fmt: skip
