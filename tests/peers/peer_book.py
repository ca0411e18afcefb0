"""A local order book by the exchange's documented steps, for clients that keep none. Stdlib only."""

from collections import OrderedDict

REMEMBERED = 200
"""Books of so many last events are kept, to be compared with snapshots that come later."""


class BookGap(Exception):
    """An event is missing: the book would have to be built anew."""


class LocalBook:
    """Build it from buffered events and a snapshot, then apply what comes; prices and quantities stay texts."""

    def __init__(self):
        self.update_id = None
        self.past = OrderedDict()
        self._buffered = []
        self._bids = {}
        self._asks = {}

    def event(self, first_id, last_id, bids, asks):
        """One `depthUpdate`: its `U`, `u`, `b` and `a`."""
        if self.update_id is None:
            self._buffered.append((first_id, last_id, bids, asks))
            return
        if last_id <= self.update_id:
            return
        if first_id > self.update_id + 1:
            raise BookGap(f"have {self.update_id}, next event begins with {first_id}")
        for side, levels in ((self._bids, bids), (self._asks, asks)):
            for price, quantity in levels:
                if float(quantity):
                    side[price] = quantity
                else:
                    side.pop(price, None)
        self.update_id = last_id
        self._remember()

    def snapshot(self, update_id, bids, asks):
        """REST's answer; False when it is older than the first event that was buffered."""
        if not self._buffered or update_id < self._buffered[0][0] - 1:
            return False
        self.update_id = update_id
        self._bids, self._asks = dict(map(tuple, bids)), dict(map(tuple, asks))
        buffered, self._buffered = self._buffered, []
        for event in buffered:
            self.event(*event)
        return True

    def sides(self):
        """Bids and asks, best first."""
        return (
            sorted(map(list, self._bids.items()), key=lambda level: -float(level[0])),
            sorted(map(list, self._asks.items()), key=lambda level: float(level[0])),
        )

    def differences(self, update_id, bids, asks):
        """What this book has otherwise than a snapshot of the same id; None when it never stood at that id."""
        if update_id not in self.past:
            return None
        ours = self.past[update_id]
        return [
            f"{name}: {set(map(tuple, mine)) ^ set(map(tuple, theirs))}"
            for name, mine, theirs in zip(("bids", "asks"), ours, (bids, asks), strict=True)
            if [list(level) for level in mine] != [list(level) for level in theirs]
        ]

    def _remember(self):
        self.past[self.update_id] = self.sides()
        if len(self.past) > REMEMBERED:
            self.past.popitem(last=False)
