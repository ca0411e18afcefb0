"""The opinion that the proofs lean on: a tally of ids finds what is not once and in order."""

from __future__ import annotations

import json

import pytest
from once_in_order import Defect, Tally, untold_holes

BTC = ("BTCUSDT", "trade")


def tally_of(*numbers, late=()):
    tally = Tally()
    for place, number in enumerate(numbers):
        mark = b',"late":true' if place in late else b""
        tally.take(b"BTCUSDT", b'{"e":"trade","t":%d,"T":5,"event_type":"trade"%b}' % (number, mark))
        tally.take(b"BTCUSDT", b'{"e":"depthUpdate","u":%d,"event_type":"depth_update"}' % number)
    return tally


def found(tally):
    """How many are missing, repeated, out of order, late, and how many skips there were."""
    return tally.absent, len(tally.repeated), len(tally.unordered), tally.late, len(tally.skipped)


@pytest.mark.parametrize(
    ("numbers", "late", "wanted"),
    [
        ((5, 6, 7, 8), (), (0, 0, 0, 0, 0)),
        ((5, 6, 8, 9), (), (1, 0, 0, 0, 1)),
        ((5, 9), (), (3, 0, 0, 0, 1)),
        ((5, 6, 6, 7), (), (0, 1, 0, 0, 0)),
        ((5, 6, 5, 6, 7), (), (0, 2, 0, 0, 0)),
        ((5, 7, 6, 8), (), (0, 0, 1, 0, 1)),
        ((5, 8, 6, 7, 9), (2, 3), (0, 0, 0, 2, 1)),
        ((5, 8, 6, 6, 7), (2, 3, 4), (0, 1, 0, 2, 1)),
        ((5, 4), (), (0, 1, 0, 0, 0)),
    ],
)
def test_what_is_missing_doubled_out_of_order_or_late_is_found(numbers, late, wanted):
    assert found(tally_of(*numbers, late=late)) == wanted


def test_first_last_and_places_are_told():
    tally = tally_of(5, 7, 5)
    assert (tally.first, tally.last, tally.records) == ({BTC: 5}, {BTC: 7}, 6)
    assert tally.missing == {BTC: [(6, 6)]}
    assert (tally.skipped, tally.repeated) == ([Defect(BTC, 7, 6)], [Defect(BTC, 5, 8)])


def update(first, last):
    return b"BTCUSDT", json.dumps({"event_type": "depth_update", "U": first, "u": last}).encode()


def snapshot(number):
    return b"BTCUSDT", json.dumps({"event_type": "depth_snapshot", "lastUpdateId": number}).encode()


def lost(first, last):
    return {"event_type": "depth_update", "symbol": "BTCUSDT", "state": "lost", "first_id": first, "last_id": last}


@pytest.mark.parametrize(
    ("records", "journal", "untold"),
    [
        ([update(1, 3), update(4, 6), update(6, 7)], [], []),
        ([update(1, 3), update(5, 6)], [], [5]),
        ([update(1, 3), update(5, 6)], [lost(4, 4)], []),
        ([update(1, 3), update(6, 6)], [lost(5, 5)], [6]),
        ([update(1, 3), snapshot(9), update(8, 12), update(13, 14)], [], []),
        ([update(1, 3), snapshot(9), update(11, 12)], [], [11]),
    ],
)
def test_a_hole_of_a_book_that_the_journal_does_not_tell_is_found(records, journal, untold):
    assert [defect.number for defect in untold_holes(records, journal)] == untold
