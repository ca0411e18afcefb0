"""Spans against the plain sets that they stand for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingest_actors.audit.spans import Spans

_NUMBERS = st.integers(-5, 40)
_SPANS = st.lists(st.tuples(_NUMBERS, st.integers(-1, 8)).map(lambda pair: (pair[0], pair[0] + pair[1])), max_size=12)


def plain(spans):
    return {number for first, last in spans for number in range(first, last + 1)}


def of(numbers):
    return Spans((number, number) for number in numbers)


@given(_SPANS, _SPANS)
def test_they_are_sets(one, other):
    a, b = Spans(one), Spans(other)
    assert plain(a) == plain(one)
    assert plain(a.minus(b)) == plain(one) - plain(other)
    assert plain(a.plus(b)) == plain(one) | plain(other)
    assert plain(a.common(b)) == plain(one) & plain(other)
    assert a.numbers == len(plain(one))
    assert plain(a) == plain(one), "the operands are left alone"


@given(_SPANS, _NUMBERS, st.integers(0, 9))
def test_they_answer_as_sets_do(given_spans, first, more):
    spans, numbers, asked = Spans(given_spans), plain(given_spans), set(range(first, first + more + 1))
    assert spans.overlaps(first, first + more) == bool(numbers & asked)
    assert plain(spans.within(first, first + more)) == numbers & asked
    assert (first in spans) == (first in numbers)


@given(_SPANS)
def test_equal_sets_are_equal_and_neighbours_are_one(given_spans):
    spans = Spans(given_spans)
    assert spans == of(plain(given_spans))
    assert all(one[1] + 1 < other[0] for one, other in zip(list(spans), list(spans)[1:], strict=False))
    assert repr(spans) == f"Spans({list(spans)})"
    assert spans != list(spans)
