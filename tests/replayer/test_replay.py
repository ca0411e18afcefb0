"""`replay` in a program: what is played, when, and what becomes of it."""

import gzip
import itertools
from functools import partial

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from ingest_actors.binance.parser import EventParser
from ingest_actors.binance.stream_table import StreamTable, TopicNames
from ingest_actors.messages import FrameBatch
from ingest_actors.recordings.own import foot_line
from ingest_actors.recordings.reader import RecordingError
from ingest_actors.replayer import Player, run_replay
from ingest_actors.replayer.looking import look_into
from ingest_actors.replayer.pace import SEAM_NS, Pace
from ingest_actors.replayer.player import BATCH_FRAMES_MAX, batches_of
from ingest_actors.settings import Settings
from ingest_actors.supervision import Mailbox
from recorded_files import START_NS, batch_lists, make_batches, records_of, told, write
from sinks import MemorySink

START_MS = START_NS // 10**6
SECOND_NS = 10**9


def frame(number):
    return b'{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"s":"BTCUSDT","t":%d}}' % (START_MS + number, number)


def write_others(path, times_ns, *, first=0):
    """A file in the format of others' recorders, one trade at each time."""
    lines = [b"%d %b\n" % (at_ns, frame(number)) for number, at_ns in enumerate(times_ns, first)]
    path.write_bytes(gzip.compress(b"".join(lines)))
    return path


def mailbox():
    return Mailbox("frames", events_max=10**6, bytes_max=10**9)


def taken(outbox):
    return [outbox.take_nowait() for _ in range(outbox.waiting)]


async def play_all(player):
    outbox = mailbox()
    await player(outbox)
    batches = []
    while outbox.waiting:
        batches.append(outbox.take_nowait())
    return batches


@given(st.lists(batch_lists, min_size=1, max_size=3))
def test_what_was_kept_is_played_with_its_times_and_connections(tmp_path_factory, drawn):
    path = tmp_path_factory.mktemp("r") / "r.gz"
    blocks = [make_batches(each) for each in drawn]
    write(path, blocks)
    player = Player([path])
    batches = trio.run(play_all, player)
    kept = [message for each in blocks for message in told(each)]
    played = told(batches)
    assert [(at_ns // 10**6, *rest) for at_ns, *rest in played] == [(at_ns // 10**6, *rest) for at_ns, *rest in kept]
    assert (player.messages, player.finished, player.unended) == (len(kept), True, [])
    assert player.position_bytes == player.total_bytes == path.stat().st_size


def test_messages_of_one_millisecond_are_played_together_and_no_others():
    times = [0, 10, 999_999, 1_000_000, 1_000_001, 1_000_001, 5_000_000]
    entry = [(b"%d" % (START_NS + after), frame(number), b"btcusdt@trade") for number, after in enumerate(times)]
    batches = list(batches_of(entry, "c"))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert [batch.received_at_ns - START_NS for batch in batches] == [0, 1_000_000, 5_000_000]
    assert [batch.received_at_ms for batch in batches] == [START_MS, START_MS + 1, START_MS + 5]


def test_a_batch_is_never_larger_than_the_smallest_mailbox_likes():
    entry = [(b"%d" % START_NS, b"x", b"s")] * (BATCH_FRAMES_MAX * 2 + 1)
    assert [len(batch) for batch in batches_of(entry, "c")] == [BATCH_FRAMES_MAX, BATCH_FRAMES_MAX, 1]


# When


async def test_at_speed_1_it_takes_as_long_as_it_took(autojump_clock, no_threads, tmp_path):
    times = [START_NS + second * SECOND_NS for second in (0, 1, 3, 7.5)]
    path = write_others(tmp_path / "r.gz", [int(time) for time in times])
    outbox = mailbox()
    arrived = []

    async def take():
        while True:
            batch = await outbox.take()
            arrived.append((trio.current_time() - began_s, batch.received_at_ns))
            outbox.settle(len(batch))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        began_s = trio.current_time()
        await Player([path], speed=2)(outbox)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert [at_s for at_s, _ in arrived] == pytest.approx([0, 0.5, 1.5, 3.75])
    assert [at_ns for _, at_ns in arrived] == times


async def test_a_seam_between_two_recordings_is_not_waited_for(autojump_clock, no_threads, tmp_path):
    day_ns = 86_400 * SECOND_NS
    first = write_others(tmp_path / "1.gz", [START_NS, START_NS + SECOND_NS])
    later = write_others(tmp_path / "2.gz", [START_NS + day_ns, START_NS + day_ns + SECOND_NS], first=2)
    earlier = write_others(tmp_path / "3.gz", [START_NS - day_ns, START_NS - day_ns + SECOND_NS], first=4)
    began_s = trio.current_time()
    player = Player([first, later, earlier], speed=1)
    batches = await play_all(player)
    assert trio.current_time() - began_s == pytest.approx(3)
    assert [batch.frames[0] for batch in batches] == [frame(number) for number in range(6)]


@given(st.lists(st.integers(-SEAM_NS, SEAM_NS), min_size=1), st.floats(0.01, 1000))
def test_nothing_is_due_earlier_than_its_distance_from_the_first(steps, speed):
    pace = Pace(speed)
    at_ns = START_NS
    assert pace.due_s(at_ns, 5.0) == 5.0
    for step in steps:
        at_ns += step
        assert pace.due_s(at_ns, 7.0) == 5.0 + (at_ns - START_NS) / 1e9 / speed


def test_as_fast_as_may_be_is_now():
    pace = Pace(0)
    assert [pace.due_s(at_ns, 3.0) for at_ns in (5, 10**18, 0)] == [3.0] * 3


# What


SETTINGS = partial(Settings, binance_symbols="BTCUSDT", binance_stream_types="trade")


async def test_everything_is_delivered_in_order_with_the_recorded_time_of_receipt(tmp_path):
    first = write_others(tmp_path / "1.gz", [START_NS + number * 300_000 for number in range(3000)])
    second = write_others(tmp_path / "2.gz", [START_NS + SECOND_NS + number for number in range(500)], first=3000)
    sink = MemorySink()
    shown = []
    replayed = await run_replay(
        SETTINGS(), Player([first, second]), sink=sink, show=lambda player, status: shown.append(player.messages)
    )
    received_ms = [START_MS + number * 3 // 10 for number in range(3000)] + [START_MS + 1000] * 500
    assert [(value, timestamp_ms) for value, _, timestamp_ms, *_ in records_of(sink)] == [
        (
            frame(number)[33:-2]
            + b',"ingestion_timestamp":%d,"source":"binance_websocket","event_type":"trade"}' % at_ms,
            START_MS + number,
        )
        for number, at_ms in enumerate(received_ms)
    ]
    assert replayed.finished
    assert (replayed.messages, replayed.ledger.delivered, replayed.unbalanced) == (3500, 3500, {})
    assert shown[-1] == 3500
    assert sink.closed


async def test_it_is_another_writer_than_the_service(tmp_path, monkeypatch):
    """A replay under the service's own name would fence it."""
    made = []

    class Fake:
        def __init__(self, settings, **_):
            made.append(settings)
            raise ZeroDivisionError

    monkeypatch.setattr("ingest_actors.replayer.run.Service", Fake)
    path = write_others(tmp_path / "r.gz", [START_NS])
    for name in ("me", "x" * 100):
        with pytest.raises(ZeroDivisionError):
            await run_replay(SETTINGS(instance_name=name), Player([path]), sink=MemorySink())
    assert [settings.instance_name for settings in made] == ["me-replay", "x" * 93 + "-replay"]
    assert made[0].backfill == ()


async def test_a_full_sink_is_waited_for_and_no_more_is_read_than_fits(autojump_clock, no_threads, tmp_path):
    path = write_others(tmp_path / "r.gz", [START_NS + number * 10**6 for number in range(20_000)])
    sink = MemorySink(room=100)
    sink.pause()
    player = Player([path])
    replayed = []

    async def replay():
        replayed.append(
            await run_replay(SETTINGS(buffer_max_bytes="1MiB", ws_message_max_bytes="1MiB"), player, sink=sink)
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(replay)
        await trio.sleep(60)
        assert 100 < player.messages < 6000
        sink.resume()
    assert len(sink.written) == 20_000
    assert replayed[0].finished


async def test_a_stop_drains_and_is_not_called_finished(autojump_clock, no_threads, tmp_path):
    path = write_others(tmp_path / "r.gz", [START_NS + number * SECOND_NS for number in range(1000)])
    sink = MemorySink()

    async def obey(*, stop, cancel, task_status=trio.TASK_STATUS_IGNORED):
        task_status.started()
        await trio.sleep(10.5)
        stop()

    replayed = await run_replay(SETTINGS(), Player([path], speed=1), sink=sink, obey_signals=obey)
    assert not replayed.finished
    assert replayed.messages == len(sink.written) == replayed.ledger.delivered == 11


async def test_what_is_read_and_thrown_away_by_a_second_signal_is_not_called_finished(
    autojump_clock, no_threads, tmp_path
):
    path = write_others(tmp_path / "r.gz", [START_NS + number * 10**6 for number in range(2000)])
    sink = MemorySink(room=10)
    sink.pause()
    player = Player([path])

    async def obey(*, stop, cancel, task_status=trio.TASK_STATUS_IGNORED):
        task_status.started()
        await trio.sleep(5)
        stop()
        await trio.sleep(1)
        cancel()

    replayed = await run_replay(SETTINGS(), player, sink=sink, obey_signals=obey)
    assert player.finished
    assert not replayed.finished
    assert replayed.unbalanced == {}
    assert sink.written == []


async def test_a_recording_that_breaks_off_in_damage_is_delivered_up_to_there_and_then_refused(tmp_path):
    path = tmp_path / "r.gz"
    blocks = [
        [FrameBatch([frame(number)], received_at_ms=START_MS, connection="c") for number in range(start, start + 500)]
        for start in range(0, 5000, 500)
    ]
    write(path, blocks)
    data = bytearray(path.read_bytes())
    data[len(data) * 2 // 3] ^= 0xFF
    path.write_bytes(data)
    sink = MemorySink()
    player = Player([path])
    with pytest.raises(RecordingError, match=r"is damaged: .* begins at byte"):
        await run_replay(SETTINGS(), player, sink=sink)
    assert len(sink.written) == player.messages
    assert 0 < player.messages < 5000


async def test_a_recording_without_an_end_is_told_with_what_was_cut_off(tmp_path):
    whole, cut = tmp_path / "1.gz", tmp_path / "2.gz"
    for path in (whole, cut):
        write(path, [[FrameBatch([frame(1)], received_at_ms=START_MS, connection="c")]])
    cut.write_bytes(cut.read_bytes()[:-10])
    player = Player([whole, cut])
    await play_all(player)
    ((path, left_bytes),) = player.unended
    assert (path, left_bytes > 20) == (cut, True)


async def test_what_cannot_be_parsed_goes_to_the_dead_letters_as_it_would_have(tmp_path):
    path = tmp_path / "r.gz"
    odd = [FrameBatch([b"\x00\xff"], received_at_ms=START_MS, connection="c", binary=True)]
    odd += [FrameBatch([b"rubbish", frame(1)], received_at_ms=START_MS + 1, connection="c")]
    write(path, [odd])
    sink = MemorySink()
    replayed = await run_replay(SETTINGS(), Player([path]), sink=sink)
    assert [value for value, *_ in records_of(sink)][:2] == [b"\x00\xff", b"rubbish"]
    assert (replayed.ledger.dead_lettered, replayed.ledger.delivered, replayed.finished) == (2, 1, True)


# Before


PARSE = EventParser(StreamTable(TopicNames("raw", "trades", "depth", "dead"))).parse


def test_the_beginnings_of_all_files_are_looked_into_first(tmp_path):
    late = write_others(tmp_path / "1.gz", [START_NS + 5 * SECOND_NS], first=7)
    early = tmp_path / "2.gz"
    odd = FrameBatch([b"odd"], received_at_ms=START_MS - 5, connection="c")
    write(early, [[foot_line(START_NS, "x" * 300_000), odd]])
    nothing = tmp_path / "3.gz"
    write(nothing, [])
    assert look_into([late], PARSE) == START_MS + 7  # the exchange's time, which Kafka goes by
    assert look_into([late, early, nothing], PARSE) == START_MS - 5
    assert look_into([nothing], PARSE) is None
    bad = tmp_path / "bad.gz"
    for content, problem in ((b"", "is empty"), (b"rubbish\n", "line 1: is neither"), (gzip.compress(b""), "is empty")):
        bad.write_bytes(content)
        with pytest.raises(RecordingError, match=problem):
            look_into([late, bad], PARSE)
    with pytest.raises(RecordingError, match="No such file"):
        look_into([tmp_path / "nowhere"], PARSE)


@pytest.mark.parametrize(
    ("files", "frames"),
    [
        (["spot_btcusdt_20230405.dat.gz"], 15_088),
        (["spot_2021-04-04_3symbols.txt.gz"], 4_716),
        (["spot_2021-04-17_ws.txt.gz", "spot_2021-04-17_http.txt.gz"], 1_228),
        (["usdm_btcusdt_20230404.dat.gz"], 13_383),
    ],
)
async def test_recordings_of_the_real_exchange_are_replayed_whole(captures, files, frames):
    sink = MemorySink()
    replayed = await run_replay(SETTINGS(), Player([captures / name for name in files]), sink=sink)
    assert replayed.finished
    assert (replayed.messages, replayed.ledger.delivered, replayed.ledger.dead_lettered) == (frames, frames, 0)
    ids = {}
    for value, key, _, event_type, *_ in records_of(sink):
        if event_type == "trade":
            number = int(value.split(b'"t":', 1)[1].split(b",", 1)[0])
            assert number == ids.get(key, number - 1) + 1
            ids[key] = number
    assert list(itertools.chain(ids)) == list(ids)
