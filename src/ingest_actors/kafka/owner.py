"""Who writes under an `INSTANCE_NAME`: one record of the state topic, which each writer renews as it goes.

It lets an older process see that a newer one has taken over, a restart see how long nobody wrote, and a writer whose
commit was never answered see whether it counted.
"""

from __future__ import annotations

import secrets
from typing import Annotated, NamedTuple, TypeAlias

import msgspec
from msgspec import Meta

from ingest_actors.errors import JournalTooNew, StateUnreadable

OWNER_VERSION = 1

HEARTBEAT_S = 10.0
"""How often the record is renewed while nothing else is written: short beside any age that anybody would set for
``RESUME_MAX_AGE_SECONDS``, and nothing beside what a broker does anyway."""


_Number: TypeAlias = Annotated[int, Meta(ge=0, le=2**62)]
"""Far beyond what time and commits come to, with room to count on."""

_Token: TypeAlias = Annotated[str, Meta(max_length=64)]


class Owner(msgspec.Struct, frozen=True):
    """One writer at one moment.

    Attributes:
        token: random; tells two lives of one instance apart.
        generation: one more than the highest that the writer found when it started.
        started: when it started, ms since the epoch; of two that started at once, each with the same generation, the
            later one goes on.
        at: when this was written, ms since the epoch.
        commits: transactions that the writer has begun to commit, this one included.
        v: version of the form that it is written in.
    """

    token: _Token
    generation: _Number
    started: _Number
    at: _Number
    commits: _Number = 0
    v: int = OWNER_VERSION

    @property
    def rank(self) -> tuple[int, int, str]:
        """Of two writers the one with the higher rank goes on."""
        return self.generation, self.started, self.token

    def __str__(self) -> str:
        return f"generation {self.generation}, started at {self.started} ms"


class _Version(msgspec.Struct):
    v: int


class Seen(NamedTuple):
    """What the state topic tells of the writers of one instance."""

    owner: Owner | None
    """The last record of the one with the highest rank; None: nobody ever wrote."""
    at: int | None
    """When anybody last wrote, ms since the epoch."""


def owner_key(instance: str) -> bytes:
    """The key of the record."""
    return f"{instance}/owner".encode()


def new_owner(found: Owner | None, *, clock_ms: int) -> Owner:
    """A writer that starts now, after the one that was found."""
    generation = 1 if found is None else found.generation + 1
    return Owner(secrets.token_hex(8), generation, started=clock_ms, at=clock_ms)


def encode(owner: Owner) -> bytes:
    """The value of the record."""
    return msgspec.json.encode(owner)


def decode(key: bytes, value: bytes) -> Owner:
    """What a value says.

    Raises:
        JournalTooNew: a newer release wrote it.
        StateUnreadable: it is none of what this release or an earlier one writes.
    """
    where = f"record {key.decode('utf-8', 'replace')} of the state topic"
    try:
        version = msgspec.json.decode(value, type=_Version).v
        if version > OWNER_VERSION:
            raise JournalTooNew(where, version, OWNER_VERSION)
        return msgspec.json.decode(value, type=Owner)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StateUnreadable(where, str(error)) from error


def newest(seen: Seen, owner: Owner) -> Seen:
    """The same after one more record; `owner` came after all that was seen."""
    best = owner if seen.owner is None or owner.rank >= seen.owner.rank else seen.owner
    return Seen(best, owner.at if seen.at is None else max(seen.at, owner.at))
