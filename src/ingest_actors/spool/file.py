"""The file of a spool: batches by number, in SQLite. Blocks; used from one thread at a time.

A batch is there once its transaction is committed, whatever becomes of the process or of the machine (write-ahead log,
``synchronous=FULL``). Each has a checksum, for SQLite has none.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from ingest_actors.errors import JournalTooNew, SpoolCorrupt, SpoolUnusable

SPOOL_VERSION = 1
"""``PRAGMA user_version`` of the file."""

APPLICATION_ID = 0x49535031
"""``PRAGMA application_id``: tells our files from other people's."""

PAGE_BYTES = 16 * 1024
"""Some ten thousand bytes a batch are the rule: a page of 4 KiB makes chains of them and halves the speed."""

LOG_BYTES = 4 * 1024 * 1024
"""SQLite's log is put into the file when it has this much; a transaction may take it further, by its own size."""

CACHE_KIB = 1024
"""Pages that SQLite keeps in memory: everything is written once and read once."""

ROW_BYTES = 100
"""What a batch takes in the file beside its content; one that is too large to share a page, up to a page more."""

TREE_PAGES = 4
"""What a transaction may take beside its batches, for the tree above them."""

_CORRUPT = {"SQLITE_CORRUPT", "SQLITE_NOTADB"}
_OTHER_KIND = "its values are of another kind than those that were written"

_SCHEMA = (
    """CREATE TABLE batch (
    number INTEGER PRIMARY KEY, received_at_ms INTEGER NOT NULL, events INTEGER NOT NULL, size_bytes INTEGER NOT NULL,
    tries INTEGER NOT NULL, checksum INTEGER NOT NULL, content BLOB NOT NULL
)""",
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL)",
    "CREATE TABLE state (key BLOB PRIMARY KEY, value BLOB NOT NULL)",
)

_GONE = """
SELECT count(*), coalesce(sum(events), 0), coalesce(sum(size_bytes), 0) FROM batch
WHERE number <= ? AND number NOT BETWEEN ? AND ?
"""
_DELETE = "DELETE FROM batch WHERE number <= ? AND number NOT BETWEEN ? AND ?"
_THERE = """
SELECT count(*), coalesce(sum(events), 0), coalesce(sum(size_bytes), 0) FROM batch WHERE number NOT BETWEEN ? AND ?
"""
_READ = """
SELECT number, received_at_ms, events, size_bytes, tries, checksum, content FROM batch
WHERE number > ? AND number NOT BETWEEN ? AND ? ORDER BY number
"""


class Entry(NamedTuple):
    """One batch as it lies on the disk."""

    number: int
    received_at_ms: int
    events: int
    size_bytes: int
    """What the batch is counted as in memory."""
    tries: int
    """How often these events were refused as dead letters."""
    content: bytes


class Known(NamedTuple):
    """The resume state as it is after a batch, kept here because that in Kafka comes later (without transactions)."""

    number: int
    """Of that batch."""
    records: list[tuple[bytes, bytes]]


class SpoolFull(SpoolUnusable):
    """What is to be written would take the spool beyond its bound."""


class SpoolFile:
    """The open file; made if it is not there.

    Args:
        path: of the database; its log lies beside it.
        bytes_max: most that it may grow to, its log apart.

    Raises:
        SpoolCorrupt: it is no database, or a damaged one.
        JournalTooNew: a newer release wrote it.
        SpoolUnusable: it is somebody else's database, or the system does not let us.

    Attributes:
        last: the highest number that it ever had.
        batches, events, size_bytes: what is there to be drained; in memory it would be `size_bytes`.
        used_bytes: what it takes on the disk, pages that wait to be used again left out.
        bytes_max: as given.
        aside: numbers of batches that are damaged, or lie behind such a one, first and last; kept, and not read.
    """

    def __init__(self, path: Path, *, bytes_max: int) -> None:
        self.path = path
        self.last = 0
        self.batches = self.events = self.size_bytes = self.used_bytes = 0
        self.aside: tuple[int, int] | None = None
        self.bytes_max = bytes_max
        self._db: sqlite3.Connection | None = None
        self._open()

    def write(self, entries: Sequence[Entry], *, drained: int = 0, known: Known | None = None) -> None:
        """Append batches, take out those up to a number, keep a state; all of it or, with an error, nothing.

        Raises:
            SpoolFull: they would take the file beyond its bound.
            SpoolUnusable: the disk is full or does not work.
            SpoolCorrupt: the file is damaged.
        """
        if entries:
            self._check_room(entries)
        rows = [(*entry[:5], crc32(entry.content), entry.content) for entry in entries]
        db = self._connection()
        first, last = self.aside or (0, -1)
        kept = (drained, first, last)
        try:
            db.execute("BEGIN IMMEDIATE")
            if drained:
                gone = db.execute(_GONE, kept).fetchone()
                db.execute(_DELETE, kept)
            else:
                gone = (0, 0, 0)
            db.executemany("INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            if known is not None:
                db.execute("INSERT OR REPLACE INTO meta VALUES ('known', ?)", (known.number,))
                db.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", known.records)
            db.execute("COMMIT")
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise self._translated(error) from error
        self.batches += len(entries) - gone[0]
        self.events += sum(entry.events for entry in entries) - gone[1]
        self.size_bytes += sum(entry.size_bytes for entry in entries) - gone[2]
        if entries:
            self.last = max(self.last, entries[-1].number)
        self._measure()

    def read(self, after: int, *, size_bytes: int) -> list[Entry]:
        """The next batches behind a number, at least one if there is any, about so many bytes as counted in memory.

        Raises:
            SpoolCorrupt: the next batch is not what was written; `number` tells which.
            SpoolUnusable: the disk does not work.
        """
        first, last = self.aside or (0, -1)
        entries: list[Entry] = []
        taken = 0
        try:
            with closing(self._connection().execute(_READ, (after, first, last))) as rows:
                for row in rows:
                    number, received_at_ms, events, size, tries, checksum, content = self._checked(row)
                    if entries and (taken + size > size_bytes or crc32(content) != checksum):
                        break
                    if crc32(content) != checksum:
                        raise SpoolCorrupt(str(self.path), f"batch {number} is not what was written", number=number)
                    entries.append(Entry(number, received_at_ms, events, size, tries, content))
                    taken += size
        except sqlite3.Error as error:
            raise self._translated(error) from error
        return entries

    def known(self) -> Known:
        """The state that was kept last; number 0: none was."""
        try:
            db = self._connection()
            found = db.execute("SELECT value FROM meta WHERE name = 'known'").fetchone()
            number, records = found[0] if found else 0, db.execute("SELECT key, value FROM state").fetchall()
        except sqlite3.Error as error:
            raise self._translated(error) from error
        if not isinstance(number, int) or not all(isinstance(part, bytes) for record in records for part in record):
            raise SpoolCorrupt(str(self.path), _OTHER_KIND)
        return Known(number, records)

    def set_aside(self, number: int, before: tuple[int, int, int]) -> int:
        """Read this batch and all behind it that are there now no more; they are kept.

        Args:
            number: of the first that is damaged.
            before: batches, events and size of those before it.

        Returns:
            How many events are set aside.
        """
        self.aside = (number, self.last)
        with suppress(sqlite3.Error):  # a file that takes nothing any more is found damaged by the next start as well
            db = self._connection()
            db.execute("BEGIN IMMEDIATE")
            db.executemany(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)", [("aside_first", number), ("aside_last", self.last)]
            )
            db.execute("COMMIT")
        lost = self.events - before[1]
        self.batches, self.events, self.size_bytes = before
        return lost

    def renew(self) -> None:
        """Begin a new file, once this one is drained: it gives its room back. Numbers go on."""
        last, aside = self.last, self.aside
        self.close()
        if aside is not None:
            set_aside_file(self.path, last)
        for suffix in ("", "-wal"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        self.last = last
        self._open()

    def close(self) -> None:
        """Let go of the file."""
        db, self._db = self._db, None
        if db is not None:
            with suppress(sqlite3.Error):  # a full disk: the log stays beside the file, and is read with it again
                db.close()

    def _open(self) -> None:
        before = self.last
        try:
            db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=0)
            self._db = db
            db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            db.execute("PRAGMA trusted_schema = OFF")  # nothing that a file brings along is run
            db.execute("PRAGMA cell_size_check = ON")  # what is damaged is found before it does any harm
            self._identify()
            db.execute("PRAGMA journal_mode = WAL").fetchone()
            db.execute("PRAGMA synchronous = FULL")
            db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            db.execute(f"PRAGMA wal_autocheckpoint = {LOG_BYTES // PAGE_BYTES}")
            db.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
            if not self._pragma("user_version"):
                self._make(db)
            self._look()
        except sqlite3.Error as error:
            self.close()
            raise self._translated(error) from error
        except BaseException:
            self.close()
            raise
        self.last = max(self.last, before)

    def _make(self, db: sqlite3.Connection) -> None:
        db.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            db.execute(statement)
        db.execute("INSERT INTO meta VALUES ('last', ?)", (self.last,))
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {SPOOL_VERSION}")
        db.execute("COMMIT")

    def _identify(self) -> None:
        version, application = self._pragma("user_version"), self._pragma("application_id")
        tables = self._connection().execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if application != APPLICATION_ID and (tables or version or application):
            raise SpoolUnusable(str(self.path), "it is a database of another program", hint="use another SPOOL_DIR")
        if version > SPOOL_VERSION:
            raise JournalTooNew(f"spool {self.path}", version, SPOOL_VERSION)

    def _look(self) -> None:
        """What is there."""
        db = self._connection()
        meta = dict(db.execute("SELECT name, value FROM meta").fetchall())
        if not all(isinstance(value, int) for value in meta.values()):
            raise SpoolCorrupt(str(self.path), _OTHER_KIND)
        if "aside_first" in meta and "aside_last" in meta:
            self.aside = (meta["aside_first"], meta["aside_last"])
        else:
            self.aside = None
        first, last = self.aside or (0, -1)
        there = db.execute(_THERE, (first, last)).fetchone()
        if not all(isinstance(value, int) for value in there):
            raise SpoolCorrupt(str(self.path), _OTHER_KIND)
        self.batches, self.events, self.size_bytes = there
        highest = db.execute("SELECT max(number) FROM batch").fetchone()[0]
        self.last = max(highest or 0, meta.get("last", 0))
        self._measure()

    def _measure(self) -> None:
        self.used_bytes = (self._pragma("page_count") - self._pragma("freelist_count")) * PAGE_BYTES

    def _check_room(self, entries: Sequence[Entry]) -> None:
        sizes = [len(entry.content) + ROW_BYTES for entry in entries]
        need = TREE_PAGES * PAGE_BYTES + sum(size if 4 * size < PAGE_BYTES else size + PAGE_BYTES for size in sizes)
        if self.used_bytes + need > self.bytes_max:
            raise SpoolFull(
                str(self.path),
                f"it holds {self.used_bytes} of {self.bytes_max} bytes",
                hint="SPOOL_MAX_BYTES bounds it",
            )

    def _checked(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        """A row, once it is known to hold what belongs there: SQLite keeps any kind of value in any column."""
        *figures, content = row
        if all(isinstance(figure, int) for figure in figures) and isinstance(content, bytes):
            return row
        number = row[0] if isinstance(row[0], int) else None
        raise SpoolCorrupt(str(self.path), _OTHER_KIND, number=number)

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            self._open()
        assert self._db is not None
        return self._db

    def _pragma(self, name: str) -> int:
        value: int = self._connection().execute(f"PRAGMA {name}").fetchone()[0]
        return value

    def _translated(self, error: sqlite3.Error) -> Exception:
        name = getattr(error, "sqlite_errorname", "") or ""
        if any(name.startswith(corrupt) for corrupt in _CORRUPT):
            return SpoolCorrupt(str(self.path), str(error))
        return SpoolUnusable(str(self.path), f"{error} ({name})" if name else str(error))


def set_aside_file(path: Path, mark: int) -> Path:
    """Rename a file that cannot be read, with its log, so that nobody overwrites it; its new name."""
    aside = path.with_name(f"{path.name}.corrupt-{mark}")
    for suffix in ("-wal", ""):
        beside = Path(f"{path}{suffix}")
        if beside.exists():
            beside.rename(Path(f"{aside}{suffix}"))
    return aside
