"""Where a recording cannot be written: told, and what is there stays readable."""

import errno
import os

import pytest
from test_recording_round_trip import block

from ingest_actors.errors import SettingsError
from ingest_actors.recordings import writer as writer_module
from ingest_actors.recordings.writer import RecordingFailed, RecordingWriter
from recorded_files import START_NS, read, told, write


def open_writer(path, **options):
    writer = RecordingWriter(path, {}, clock_ns=lambda: START_NS, **options)
    writer.open()
    return writer


class Disk:
    """`os.write`, on a disk with so much room."""

    def __init__(self, room_bytes):
        self.room_bytes = room_bytes
        self.write = os.write

    def __call__(self, file, data):
        if not self.room_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self.write(file, data[: self.room_bytes])
        self.room_bytes -= written
        return written


@pytest.mark.parametrize("room_bytes", [0, 1, 40, 100])
def test_a_full_disk_is_told_and_the_file_ends_with_the_block_before(tmp_path, monkeypatch, room_bytes):
    path = tmp_path / "r.gz"
    writer = open_writer(path)
    writer.write(block(10))
    size_bytes = path.stat().st_size
    monkeypatch.setattr(writer_module.os, "write", Disk(room_bytes))
    with pytest.raises(RecordingFailed) as failure:
        writer.write(block(1000, start=10))
    monkeypatch.undo()
    writer.abandon()
    assert str(failure.value) == (
        f"recording {path}: cannot be written: No space left on device; it holds 10 messages, whole"
    )
    assert failure.value.exit_code == 1
    assert path.stat().st_size == size_bytes == writer.size_bytes
    messages, reader = read(path)
    assert messages == told(block(10))
    assert (reader.incomplete, reader.foot) == (False, "")


def test_when_not_even_that_can_be_done_it_is_told_and_the_file_can_be_read(tmp_path, monkeypatch):
    path = tmp_path / "r.gz"
    writer = open_writer(path)
    writer.write(block(10))

    def fail(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(writer_module.os, "write", Disk(50))
    monkeypatch.setattr(writer_module.os, "ftruncate", fail)
    with pytest.raises(RecordingFailed, match=r"its last block may be cut off \(Input/output error\)"):
        writer.write(block(1000, start=10))
    monkeypatch.undo()
    writer.abandon()
    messages, reader = read(path)
    assert messages == told(block(10))
    assert (reader.incomplete, reader.left_bytes) == (True, 50)


def test_a_disk_that_fails_at_the_very_end_is_told_and_the_file_is_let_go(tmp_path, monkeypatch):
    writer = open_writer(tmp_path / "r.gz")

    def fail(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(writer_module.os, "fsync", fail)
    with pytest.raises(RecordingFailed, match="Input/output error"):
        writer.close("stopped")
    writer.close("stopped")


def test_a_file_that_is_there_is_never_overwritten(tmp_path):
    path = tmp_path / "r.gz"
    path.write_bytes(b"precious")
    with pytest.raises(SettingsError) as refused:
        open_writer(path)
    assert refused.value.problems == [f"--output {path}: exists; accepted: the name of a new file"]
    assert path.read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("name", "why"), [("nowhere/r.gz", "No such file or directory"), ("file/r.gz", "Not a directory")]
)
def test_a_place_where_no_file_can_be_made_is_told(tmp_path, name, why):
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError) as refused:
        open_writer(tmp_path / name)
    assert refused.value.problems == [
        f"--output {tmp_path / name}: {why}; accepted: a new file where this user may write"
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_the_right_to_write_is_told(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(SettingsError, match="Permission denied; accepted: a new file where this user may write"):
        open_writer(tmp_path / "r.gz")


def test_another_file_is_begun_when_one_is_large_and_each_stands_for_itself(tmp_path):
    blocks = [block(50, start=start) for start in range(0, 500, 50)]
    writer = write(tmp_path / "r.txt.gz", blocks, part_bytes_max=1000)
    assert len(writer.paths) > 2
    assert [path.name for path in writer.paths[:3]] == ["r.txt.gz", "r-002.txt.gz", "r-003.txt.gz"]
    parts = [read(path) for path in writer.paths]
    assert [message for messages, _ in parts for message in messages] == told(
        batch for each in blocks for batch in each
    )
    assert [reader.foot for _, reader in parts] == ["continued"] * (len(parts) - 1) + ["stopped"]
    assert writer.size_bytes == sum(path.stat().st_size for path in writer.paths)
    assert writer.frames == 500


def test_a_later_file_that_cannot_be_made_ends_the_recording(tmp_path):
    writer = open_writer(tmp_path / "r.gz", part_bytes_max=1)
    (tmp_path / "r-002.gz").touch()
    with pytest.raises(RecordingFailed, match=r"r-002.gz: cannot be written: File exists"):
        writer.write(block(10))
    assert read(tmp_path / "r.gz")[0] == told(block(10))
