"""A reader of the depth topic as anybody would write one: it builds books from snapshots and updates."""

import msgspec


class _Update(msgspec.Struct, gc=False):
    event_ms: int = msgspec.field(name="E")
    first: int = msgspec.field(name="U")
    last: int = msgspec.field(name="u")
    bids: list[tuple[str, str]] = msgspec.field(name="b")
    asks: list[tuple[str, str]] = msgspec.field(name="a")


class _Snapshot(msgspec.Struct, gc=False):
    last: int = msgspec.field(name="lastUpdateId")
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class _Reset(msgspec.Struct, gc=False):
    event_type: str
    reason: str
    state: str


_update = msgspec.json.Decoder(_Update).decode
_snapshot = msgspec.json.Decoder(_Snapshot).decode
_reset = msgspec.json.Decoder(_Reset).decode


class BookReader:
    """One symbol's book.

    Attributes:
        last: the id that the book is as of; None: out of step, until the next snapshot.
        sides: bids and asks, quantities by price.
        unread: updates that could not be applied, as there was no book.
        useless: snapshots that were older than the book.
    """

    def __init__(self):
        self.last = None
        self.sides = {}, {}
        self.unread = 0
        self.useless = 0

    def read(self, event):
        """The next record of the depth topic, or of the journal."""
        value, _, _, route = event
        if route.event_type == "depth_update":
            self._update(_update(value))
        elif route.event_type == "depth_snapshot":
            self._snapshot(_snapshot(value))
        elif route.event_type == "gap" and b'"exchange_reset"' in value:
            line = _reset(value)
            if line.event_type == "depth_update":
                self.last = None

    def _update(self, update):
        if self.last is None:
            self.unread += 1
        elif update.last <= self.last:
            pass
        elif update.first > self.last + 1:
            self.last = None
            self.unread += 1
        else:
            for side, changes in zip(self.sides, (update.bids, update.asks), strict=True):
                for price, quantity in changes:
                    if float(quantity):
                        side[price] = quantity
                    else:
                        side.pop(price, None)
            self.last = update.last

    def _snapshot(self, snapshot):
        if self.last is not None and snapshot.last < self.last:
            self.useless += 1
            return
        self.sides = dict(snapshot.bids), dict(snapshot.asks)
        self.last = snapshot.last
