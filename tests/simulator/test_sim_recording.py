"""Recordings: what is read from the formats of others' recorders, and what is refused."""

import gzip
import json

import pytest
from simulator_support import CAPTURES, STREAMS, answer_line, record, record_market, write_numbered, write_with_urls

import ingest_actors.simulator.recording as recording_module
from ingest_actors.recordings.lines import raw_payload, time_ns
from ingest_actors.simulator.recording import Recording, RecordingError

NAMES = sorted(f"{symbol}@{stream}" for symbol in ("btcusdt", "ethusdt") for stream in STREAMS)


@pytest.fixture(scope="module")
def market():
    return record()


def frames_of(recording):
    return [frame for _, block in recording.blocks() for _, frame, _ in block.frames]


@pytest.mark.parametrize("name", ["plain.txt", "packed.gz"])
@pytest.mark.parametrize("unit_ns", [1, 1000])
async def test_numbered_lines_are_read_byte_for_byte(tmp_path, market, name, unit_ns):
    frames, _ = market
    recording = Recording([write_numbered(tmp_path / name, frames, unit_ns=unit_ns)])
    assert frames_of(recording) == [frame for _, frame in frames]
    assert (recording.frames, recording.frames_bytes) == (len(frames), sum(len(frame) for _, frame in frames))
    assert list(recording.streams) == NAMES
    assert recording.symbols == ("BTCUSDT", "ETHUSDT")
    times = [time_ns(time) for _, block in recording.blocks() for time, _, _ in block.frames]
    assert times == [time // unit_ns * unit_ns for time, _ in frames]


async def test_lines_with_urls_and_answers_are_read(tmp_path, market):
    frames, snapshots = market
    subscribed = [*NAMES, "ethusdt@never"]
    recording = Recording([write_with_urls(tmp_path / "r.txt", frames, snapshots, streams=subscribed)])
    assert frames_of(recording) == [frame for _, frame in frames]
    assert list(recording.streams) == sorted(subscribed)
    assert {answer.symbol: answer.body for answer in recording.answers} == {
        s: body for s, (_, body) in snapshots.items()
    }
    assert [answer.time_ns for answer in recording.answers] == sorted(time for time, _ in snapshots.values())


async def test_a_bare_snapshot_belongs_to_the_only_symbol_of_its_file(tmp_path):
    frames, snapshots = record_market(symbols=("BTCUSDT",))
    recording = Recording([write_numbered(tmp_path / "r.gz", frames, snapshot=snapshots["BTCUSDT"])])
    (answer,) = recording.answers
    assert (answer.endpoint, answer.symbol, answer.body) == ("depth", "BTCUSDT", snapshots["BTCUSDT"][1])
    assert frames_of(recording) == [frame for _, frame in frames]


async def test_a_bare_snapshot_among_several_symbols_is_left_out(tmp_path, market):
    frames, snapshots = market
    recording = Recording([write_numbered(tmp_path / "r.gz", frames, snapshot=snapshots["BTCUSDT"])])
    assert recording.answers == []


async def test_frames_and_answers_may_lie_in_files_of_their_own(tmp_path, market):
    frames, snapshots = market
    answers = tmp_path / "http.txt"
    answers.write_bytes(b"\n".join(answer_line(symbol, *snapshot) for symbol, snapshot in snapshots.items()) + b"\n\n")
    recording = Recording([write_numbered(tmp_path / "r.gz", frames), answers])
    assert len(recording.answers) == 2
    assert recording.frames == len(frames)
    assert Recording([answers]).symbols == ("BTCUSDT", "ETHUSDT")


async def test_several_files_are_one_recording(tmp_path, market):
    frames, _ = market
    half = len(frames) // 2
    parts = [write_numbered(tmp_path / "1.gz", frames[:half]), write_numbered(tmp_path / "2.txt", frames[half:])]
    assert frames_of(Recording(parts)) == [frame for _, frame in frames]


async def test_a_large_recording_is_not_kept_in_memory_and_reads_the_same(tmp_path, market, monkeypatch):
    frames, _ = market
    monkeypatch.setattr(recording_module, "_KEPT_BYTES_MAX", 100_000)
    recording = Recording([write_numbered(tmp_path / "r.gz", frames)])
    blocks = recording.blocks()
    before = [block for _, block in blocks]
    after = [block for _, block in recording.blocks()]
    assert not any(block in after for block in before)
    assert max(sum(len(frame) for _, frame, _ in block.frames) for block in before) < 1_000_000
    assert frames_of(recording) == [frame for _, frame in frames]


async def test_a_missing_gzip_trailer_is_no_error(tmp_path, market):
    frames, _ = market
    recording = Recording([write_numbered(tmp_path / "r.gz", frames, cut_trailer=True)])
    assert frames_of(recording) == [frame for _, frame in frames]
    assert recording.incomplete == []


@pytest.mark.parametrize("share", [0.3, 0.9])
async def test_a_compressed_file_that_ends_too_early_loses_only_its_last_line(tmp_path, market, share):
    frames, _ = market
    path = write_numbered(tmp_path / "r.gz", frames)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    recording = Recording([path])
    read = frames_of(recording)
    assert read == [frame for _, frame in frames][: len(read)]
    assert len(read) > 100
    assert recording.incomplete == [path]


async def test_several_gzip_members_are_read_on(tmp_path, market):
    frames, _ = market
    path = tmp_path / "r.gz"
    half = len(frames) // 2
    write_numbered(tmp_path / "a.gz", frames[:half])
    write_numbered(tmp_path / "b.gz", frames[half:])
    path.write_bytes((tmp_path / "a.gz").read_bytes() + (tmp_path / "b.gz").read_bytes())
    assert frames_of(Recording([path])) == [frame for _, frame in frames]


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense", b'1790000000000000 {"e":"trade"}', b'{"stream":"a@trade","data":{}}', b"1790000000000000 {", b"17 5",  # noqa: E501
        b"TimestampOfReceive,Stream,EventType", b"https://example.com/api/v3/depth -> 17.5: {oops}", b'1.2.3 {"x":1}',
    ],
)  # fmt: skip
async def test_a_bad_line_is_named_with_its_file_and_number(tmp_path, market, line):
    frames, _ = market
    path = write_numbered(tmp_path / "r.txt", frames[:9000])
    with path.open("ab") as file:
        file.write(line + b"\n")
    path.write_bytes(path.read_bytes() + b"1790000000000000 {}\n")
    number = min(len(frames), 9000) + 1
    with pytest.raises(RecordingError) as refused:
        Recording([path])
    assert (refused.value.path, refused.value.line, refused.value.exit_code) == (path, number, 2)
    assert str(refused.value).startswith(f"recording {path}, line {number}: is neither a frame nor an answer of REST: ")


async def test_a_plain_file_must_be_whole(tmp_path, market):
    frames, _ = market
    path = write_numbered(tmp_path / "r.txt", frames[:100])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(RecordingError, match="line 100: "):
        Recording([path])


async def test_files_that_cannot_be_used_are_named(tmp_path, market):
    frames, _ = market
    damaged = write_numbered(tmp_path / "damaged.gz", frames)
    data = bytearray(damaged.read_bytes())
    data[10:40] = b"\xff" * 30
    damaged.write_bytes(data)
    empty = tmp_path / "empty.gz"
    empty.write_bytes(gzip.compress(b"configuration: {}\n\n"))
    for path, problem in (
        (damaged, "is damaged: "),
        (empty, "holds no frame and no answer of REST"),
        (tmp_path / "nosuch", "cannot be read: No such file or directory"),
        (tmp_path, "cannot be read: Is a directory"),
    ):
        with pytest.raises(RecordingError, match=f"recording {path}.*: {problem}"):
            Recording([path])


async def test_replies_settings_and_windows_line_ends_are_passed_over(tmp_path):
    path = tmp_path / "r.txt"
    frame = b'{"stream":"a@trade","data":{"e":"trade"}}'
    path.write_bytes(
        b'configuration: {"x":1}\r\n1790000000000000 {"result":null,"id":1}\r\n1790000000000000 ' + frame + b"\r\n"
        b'1790000000000001 {"error":{"code":2},"id":1}\n1790000000000002 ' + frame
    )
    assert frames_of(Recording([path])) == [frame, frame]


async def test_another_order_of_keys_is_understood(tmp_path):
    path = tmp_path / "r.txt"
    frame = '{ "data": {"e":"trade", "x":"}"}, "stream": "币usdt@trade" }'.encode()
    path.write_bytes(b"1790000000000 " + frame + b"\n")
    recording = Recording([path])
    assert frames_of(recording) == [frame]
    assert recording.streams == ("币usdt@trade",)
    assert raw_payload(frame, "币usdt@trade".encode()) == b'{"e":"trade", "x":"}"}'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"1723161253937085768", 1723161253937085768), (b"1680652800004107", 1680652800004107000),
        (b"1680652800004", 1680652800004000000), (b"1680652800", 1680652800000000000),
        (b"1617566591.326123", 1617566591326123000), (b"1617566592.1065369", 1617566592106536900), (b"5.", 5 * 10**9),
    ],
)  # fmt: skip
def test_times_are_told_apart_by_their_size(text, expected):
    assert time_ns(text) == expected


@pytest.mark.skipif(not CAPTURES.is_dir(), reason="recordings of the real exchange are not here")
@pytest.mark.parametrize(
    ("names", "frames", "symbols", "answers", "incomplete"),
    [
        (["spot_btcusdt_20240808.gz", "spot_btcusdt_20240809.gz"], 99_573, 1, 1, 0),
        (["spot_btcusdt_20230405.dat.gz"], 15_088, 1, 0, 0),
        (["spot_2021-04-04_3symbols.txt.gz"], 4_716, 3, 3, 0),
        (["spot_2021-04-17_ws.txt.gz", "spot_2021-04-17_http.txt.gz"], 1_228, 10, 10, 0),
        (["spot_2021-08-14_ws.txt.gz", "spot_2021-08-14_http.txt.gz"], 1_003, 4, 4, 0),
        (["spot_2021-10-11_ws.txt.gz", "spot_2021-10-11_http.txt.gz", "spot_2021-10-11_exchangeInfo.txt.gz"], 265, 4, 5, 0),  # noqa: E501
        (["usdm_btcusdt_20230404.dat.gz"], 13_383, 1, 1, 0),
    ],
)  # fmt: skip
def test_recordings_of_the_real_exchange_are_read(names, frames, symbols, answers, incomplete):
    recording = Recording([CAPTURES / name for name in names])
    assert (recording.frames, len(recording.symbols), len(recording.answers)) == (frames, symbols, answers)
    assert len(recording.incomplete) == incomplete
    for _, block in recording.blocks():
        for _, frame, stream in block.frames[:20]:
            assert json.loads(frame)["stream"] == stream.decode()
