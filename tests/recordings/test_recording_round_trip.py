"""What is written is what is read: whole, cut off anywhere, damaged anywhere."""

import gzip
import json
import subprocess
import tempfile
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_actors.messages import FrameBatch
from ingest_actors.recordings import reader as reader_module
from ingest_actors.recordings.own import VERSION, Foot, answer_line, mark_line
from ingest_actors.recordings.reader import RecordingError, RecordingReader
from ingest_actors.simulator.recording import Recording
from recorded_files import START_NS, batch_lists, make_batches, marks, read, told, write


@contextmanager
def new_file():
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory) / "r.gz"


def block(count, *, start=0, connection="ws-1"):
    return [
        FrameBatch(
            [b'{"stream":"btcusdt@trade","data":{"e":"trade","t":%d}}' % number],
            received_at_ms=(START_NS + number * 1000) // 10**6,
            received_at_ns=START_NS + number * 1000,
            connection=connection,
        )
        for number in range(start, start + count)
    ]


def members(data):
    """Where each gzip member of a file ends."""
    ends, rest = [], data
    while rest:
        inflate = reader_module.zlib.decompressobj(wbits=31)
        inflate.decompress(rest)
        rest = inflate.unused_data
        ends.append(len(data) - len(rest))
    return ends


@given(st.lists(batch_lists, max_size=4))
def test_every_message_is_read_as_it_was_kept_whatever_its_bytes(drawn):
    blocks = [make_batches(each) for each in drawn]
    with new_file() as path:
        write(path, blocks)
        messages, reader = read(path)
    assert messages == [message for each in blocks for message in told(each)]
    assert (reader.version, reader.foot, reader.incomplete, reader.left_bytes) == (VERSION, "stopped", False, 0)


@given(st.lists(batch_lists, min_size=1, max_size=4), st.data())
def test_a_file_that_is_cut_off_is_read_up_to_its_last_whole_block(drawn, data):
    blocks = [make_batches(each) for each in drawn]
    with new_file() as path:
        write(path, blocks)
        whole = path.read_bytes()
        ends = members(whole)
        size_bytes = data.draw(st.integers(ends[0], len(whole)))
        path.write_bytes(whole[:size_bytes])
        messages, reader = read(path)
    counts = [0, *accumulate(len(told(each)) for each in blocks)]
    there = sum(end <= size_bytes for end in ends) - 1  # without the head
    assert messages == [message for each in blocks for message in told(each)][: counts[min(there, len(blocks))]]
    assert reader.incomplete == (size_bytes not in ends)
    assert reader.left_bytes == size_bytes - max(end for end in ends if end <= size_bytes)
    assert reader.foot == ("stopped" if size_bytes == len(whole) else "")


@given(st.lists(batch_lists, min_size=1, max_size=3), st.data())
def test_damage_is_told_and_never_played(drawn, data):
    blocks = [make_batches(each) for each in drawn]
    with new_file() as path:
        write(path, blocks)
        whole = bytearray(path.read_bytes())
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place] ^= data.draw(st.integers(1, 255))
        path.write_bytes(whole)
        expected = [message for each in blocks for message in told(each)]
        try:
            messages, _ = read(path)
        except RecordingError as error:
            assert str(path) in str(error)  # noqa: PT017 - most bytes matter, those of gzip's own header do not all
        else:
            assert messages == expected[: len(messages)]


def test_a_damaged_block_in_the_middle_is_named_with_its_place_and_what_stands_before_it_is_read(tmp_path):
    path = tmp_path / "r.gz"
    write(path, [block(10, start=start) for start in range(0, 50, 10)])
    data = bytearray(path.read_bytes())
    ends = members(bytes(data))
    data[ends[2] + 30] ^= 0xFF
    path.write_bytes(data)
    entries = iter(RecordingReader(path))
    with pytest.raises(RecordingError) as refused:
        list(entries)
    assert str(refused.value).startswith(f"recording {path}: is damaged: ")
    assert f"begins at byte {ends[2]:,} of {len(data):,}" in str(refused.value)


def test_room_that_the_system_made_and_never_filled_is_an_end_not_damage(tmp_path):
    path = tmp_path / "r.gz"
    write(path, [block(10)])
    path.write_bytes(path.read_bytes() + bytes(5000))
    messages, reader = read(path)
    assert len(messages) == 10
    assert (reader.incomplete, reader.left_bytes) == (True, 5000)


def test_everybody_can_read_it(tmp_path):
    path = tmp_path / "r.gz"
    write(path, [block(3), block(3, start=3)])
    text = subprocess.run(["zcat", path], capture_output=True, check=True).stdout
    assert text == gzip.decompress(path.read_bytes())
    lines = [line.split(b" ", 1) for line in text.splitlines()]
    assert all(time.isdigit() for time, _ in lines)
    assert [json.loads(said).get("stream") for _, said in lines].count("btcusdt@trade") == 6


def test_an_unpacked_recording_and_one_packed_again_by_others_are_read_too(tmp_path, monkeypatch):
    path = tmp_path / "r.gz"
    write(path, [block(2000), block(2000, start=2000)])
    expected, _ = read(path)
    assert len(expected) == 4000
    plain, packed = tmp_path / "r.txt", tmp_path / "again.gz"
    text = gzip.decompress(path.read_bytes())
    plain.write_bytes(text)
    packed.write_bytes(gzip.compress(text))
    monkeypatch.setattr(reader_module, "CHECKED_BYTES_MAX", 50_000)
    assert read(plain)[0] == read(packed)[0] == expected
    for whole in (plain, packed):  # ... and when they are cut off
        whole.write_bytes(whole.read_bytes()[:-100])
        messages, reader = read(whole)
        assert messages == expected[: len(messages)]
        assert len(messages) > 3000
        assert reader.foot == ""


def test_files_that_were_put_together_are_read_on(tmp_path):
    first, second, both = tmp_path / "1.gz", tmp_path / "2.gz", tmp_path / "both.gz"
    write(first, [block(5)])
    write(second, [block(5, start=5, connection="ws-2")])
    both.write_bytes(first.read_bytes() + second.read_bytes())
    messages, reader = read(both)
    assert messages == told([*block(5), *block(5, start=5, connection="ws-2")])
    assert reader.foot == "stopped"


def test_marks_are_kept_and_answers_are_kept_byte_for_byte(tmp_path):
    path = tmp_path / "r.gz"
    body = b'{"lastUpdateId":7, "bids":[["1.0","2.0"]],"asks":[]}'
    opened = mark_line(START_NS, "ws-1", "opened", {"url": "wss://x", "streams": ["btcusdt@trade", "ethusdt@depth"]})
    answered = answer_line(START_NS + 5, "https://x/api/v3/depth?symbol=BTCUSDT&limit=1000", body)
    write(path, [[opened, *block(2), answered]])
    mark, foot = marks(path)
    assert (mark.connection, mark.event, mark.facts["url"]) == ("ws-1", "opened", "wss://x")
    assert foot == Foot("stopped")
    recording = Recording([path])
    (answer,) = recording.answers
    assert (answer.time_ns, answer.endpoint, answer.symbol, answer.body) == (START_NS + 5, "depth", "BTCUSDT", body)
    assert recording.streams == ("btcusdt@trade", "ethusdt@depth")
    assert recording.frames == 2


@pytest.mark.parametrize("body", [b"{\n}", b"a\nb"])
def test_an_answer_that_is_not_in_one_line_is_refused_not_changed(body):
    with pytest.raises(ValueError, match="more than one line"):
        answer_line(START_NS, "https://x/y", body)


@pytest.mark.parametrize("version", [VERSION + 1, 99])
@pytest.mark.parametrize("pack", [gzip.compress, bytes])
def test_a_newer_version_is_refused_by_name(tmp_path, version, pack):
    path = tmp_path / "r.gz"
    path.write_bytes(pack(b'%d {"recording":%d,"program":"ingest-actors 9.9"}\n' % (START_NS, version)))
    with pytest.raises(RecordingError) as refused:
        read(path)
    assert refused.value.exit_code == 2
    assert str(refused.value) == (
        f"recording {path}, line 1: is of version {version} of the format, written by ingest-actors 9.9;"
        f" this release reads up to version {VERSION}: use a newer one"
    )


@pytest.mark.parametrize("version", ["0", "true", '"1"', "null", "1.5"])
def test_a_version_that_is_none_is_refused(tmp_path, version):
    path = tmp_path / "r.gz"
    path.write_bytes(b'%d {"recording":%b}\n' % (START_NS, version.encode()))
    with pytest.raises(RecordingError, match="has no usable version"):
        read(path)


@pytest.mark.parametrize("line", [b'{"binary":"?"}', b'{"text":5}', b'{"new":"thing"}', b'{"connection":null}'])
def test_a_line_that_this_version_does_not_know_is_refused_with_its_number(tmp_path, line):
    path = tmp_path / "r.gz"
    head = b'%d {"recording":1}\n' % START_NS
    path.write_bytes(gzip.compress(head + b"%d %b\n" % (START_NS, line) + head))
    with pytest.raises(RecordingError, match="line 2: is neither"):
        read(path)
