"""What a consumer of the depth topic does: a book from snapshots and updates, and nothing else; see "How to read".

It knows nothing of the code under test. Values are JSON as they stand in the record, in the order of one series.
"""

import json
from bisect import bisect_left, insort
from decimal import Decimal


class Side:
    """Price levels of one side; `sign` is 1 for bids and -1 for asks, so that the best is always the last."""

    def __init__(self, sign, levels):
        self._sign = sign
        self._levels = {self._key(price): quantity for price, quantity, *_ in levels}
        self._keys = sorted(self._levels)

    def set(self, price, quantity):
        key = self._key(price)
        if Decimal(quantity) == 0:
            if self._levels.pop(key, None) is not None:
                del self._keys[bisect_left(self._keys, key)]
        else:
            if key not in self._levels:
                insort(self._keys, key)
            self._levels[key] = quantity

    def best(self):
        return (abs(self._keys[-1]), Decimal(self._levels[self._keys[-1]])) if self._keys else None

    def levels(self):
        return [(abs(key), Decimal(self._levels[key])) for key in reversed(self._keys)]

    def _key(self, price):
        return self._sign * Decimal(price)


class BookReader:
    """One symbol's book.

    Attributes:
        id: of the last update in it; None while there is no book that can be used.
        span: the ids of the update that was applied last.
        snapshots: how many there were.
        began_anew: how often a hole made the book useless until the next snapshot.
        applied: updates that were applied.
        unread: updates that came while there was no book, or that it had already.
    """

    def __init__(self):
        self.id = None
        self.span = (0, 0)
        self.snapshots = self.began_anew = self.applied = self.unread = 0
        self._bids = self._asks = None

    def read(self, value):
        """The next record. Returns whether an update was applied."""
        event = json.loads(value)
        if event["event_type"] == "depth_snapshot":
            self._begin(event)
            return False
        if self.id is None or event["u"] <= self.id:
            self.unread += 1
            return False
        if not event["U"] <= self.id + 1 <= event["u"]:
            self.id = None
            self.began_anew += 1
            self.unread += 1
            return False
        for side, levels in ((self._bids, event["b"]), (self._asks, event["a"])):
            for price, quantity in levels:
                side.set(price, quantity)
        self.id = event["u"]
        self.span = event["U"], event["u"]
        self.applied += 1
        return True

    def best(self):
        """Best bid and best ask, price and quantity each."""
        return self._bids.best(), self._asks.best()

    def sides(self):
        """All levels, best first."""
        return self._bids.levels(), self._asks.levels()

    def _begin(self, event):
        self.snapshots += 1
        if self.id == event["lastUpdateId"]:
            for side, levels in ((self._bids, event["bids"]), (self._asks, event["asks"])):
                wanted = [(Decimal(price), Decimal(quantity)) for price, quantity, *_ in levels]
                assert side.levels()[: len(wanted)] == wanted, "another book at the same id"
        self._bids, self._asks = Side(1, event["bids"]), Side(-1, event["asks"])
        self.id = event["lastUpdateId"]


class TickerCheck:
    """Compares one symbol's book with the best prices that were published: a ticker within an update is its end's, if
    none follows within it."""

    def __init__(self):
        self.compared = 0
        self.differing = []
        self._tickers = []
        self._tops = []

    def ticker(self, event):
        self._tickers.append((event["u"], event))

    def book(self, reader):
        self._tops.append((reader.span, reader.best()))

    def finish(self):
        """Once all of both is there."""
        ids = [number for number, _ in self._tickers]
        assert ids == sorted(ids)
        for (first, last), top in self._tops:
            place = bisect_left(ids, last + 1) - 1
            if place >= 0 and ids[place] >= first:
                ticker = self._tickers[place][1]
                published = tuple(
                    (Decimal(ticker[price]), Decimal(ticker[quantity])) for price, quantity in (("b", "B"), ("a", "A"))
                )
                self.compared += 1
                if published != top:
                    self.differing.append((first, last, published, top))


def snapshots_out_of_place(values):
    """Ids of snapshots behind an update beyond them, in the records of one series."""
    found, reached = [], -1
    for event in map(json.loads, values):
        if event["event_type"] == "depth_update":
            reached = max(reached, event["u"])
        elif event["lastUpdateId"] < reached:
            found.append(event["lastUpdateId"])
    return found
