"""The law of conservation: what came in is accounted for, per event type, at every instant."""

from hypothesis import given
from hypothesis import strategies as st

from ingest_actors.ledger import Ledger, LedgerEntry, in_all
from ingest_actors.messages import Route

TRADE = Route("trade", ("raw", "trades"))
DEPTH = Route("depth_update", ("raw", "depth"))
LETTER = Route("trade", ("dead",), dead_letter=True)


def test_what_is_received_is_in_flight_until_it_is_settled_and_the_law_holds_throughout():
    held = []
    ledger = Ledger()
    ledger.add_holder(lambda: held)
    held += [TRADE, TRADE, DEPTH]
    ledger.receive({TRADE: 2, DEPTH: 1})
    assert ledger.entries() == {
        "depth_update": LedgerEntry(received=1, in_flight=1),
        "trade": LedgerEntry(received=2, in_flight=2),
    }
    held[:] = [DEPTH]
    ledger.settle({TRADE: 1, LETTER: 1})
    assert ledger.entries()["trade"] == LedgerEntry(received=2, delivered=1, dead_lettered=1)
    assert ledger.total() == LedgerEntry(received=3, delivered=1, dead_lettered=1, in_flight=1)
    assert not ledger.unbalanced()


def test_what_vanishes_or_comes_from_nowhere_is_named_with_its_number():
    ledger = Ledger()
    ledger.receive({TRADE: 3})
    ledger.settle({DEPTH: 1})
    assert ledger.unbalanced() == {"trade": 3, "depth_update": -1}


def test_several_holders_are_counted_together():
    ledger = Ledger()
    ledger.add_holder(lambda: [TRADE])
    ledger.add_holder(lambda: (route for route in (TRADE, DEPTH)))
    assert dict(ledger.in_flight()) == {"trade": 2, "depth_update": 1}


def test_every_way_in_and_out_has_its_place_in_the_law():
    entry = LedgerEntry(
        received=100, backfilled=20, recovered=3, delivered=60, dead_lettered=10, duplicates=30, spooled=16, in_flight=7
    )
    assert entry.difference == 0
    for name in LedgerEntry.__dataclass_fields__:
        more = LedgerEntry(
            **({field: getattr(entry, field) for field in LedgerEntry.__dataclass_fields__} | {name: 999})
        )
        assert more.difference != 0


def test_a_total_of_nothing_is_nothing():
    assert Ledger().total() == in_all([]) == LedgerEntry()
    assert Ledger().entries() == {}


@given(st.lists(st.tuples(st.sampled_from([TRADE, DEPTH, LETTER]), st.sampled_from("rs"))))
def test_the_total_is_the_sum_of_the_entries_and_differs_by_what_they_differ_by(steps):
    ledger = Ledger()
    for route, step in steps:
        (ledger.receive if step == "r" else ledger.settle)({route: 1})
    total = ledger.total()
    assert total.difference == sum(ledger.unbalanced().values())
    assert total.received == sum(step == "r" for _, step in steps)
