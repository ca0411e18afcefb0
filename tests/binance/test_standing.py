"""How the exchange takes this address: refusals are of an endpoint, bans are of the address."""

from itertools import islice

import pytest
import trio

from ingest_actors.binance.attempts import AttemptBudget
from ingest_actors.binance.standing import (
    PASSED_OVER_S,
    REFUSED_DELAY_S,
    RETRY_AFTER_MAX_S,
    Standing,
    asked_wait_s,
)
from ingest_actors.errors import ExchangeUnreachable

A, B, C = "ws://a", "ws://b", "ws://c"


def failure(url, status=None, retry_after_s=None):
    return ExchangeUnreachable(url, f"HTTP {status}", status=status, retry_after_s=retry_after_s)


@pytest.mark.parametrize(
    ("status", "asked", "least"),
    [
        (None, None, 0),
        (502, None, 0),
        (503, 30.0, 30),
        (451, None, 0),
        (429, None, 60),
        (418, None, 120),
        (429, 7.0, 7),
        (418, 0.0, 1),
        (418, 3600.0, 3600),
        (418, 1e9, RETRY_AFTER_MAX_S),
        (503, 1e9, RETRY_AFTER_MAX_S),
    ],
)
def test_what_an_answer_asks_for_is_waited_within_bounds_and_a_ban_without_a_word_has_a_floor(status, asked, least):
    assert asked_wait_s(failure(A, status, asked)) == least


async def test_endpoints_are_used_in_turn_and_different_connections_begin_with_different_ones():
    standing = Standing([A, B, C])
    assert list(islice(standing.turns(0), 4)) == [A, B, C, A]
    assert list(islice(standing.turns(4), 4)) == [B, C, A, B]


@pytest.mark.parametrize("status", [403, 451])
async def test_an_endpoint_that_refuses_is_passed_over_for_a_while_by_all_connections(status, autojump_clock):
    standing = Standing([A, B, C])
    mine, other = standing.turns(0), standing.turns(2)
    assert standing.heed(failure(next(mine), status)) == 0, "the next endpoint is tried at the normal pace"
    assert [next(mine) for _ in range(3)] == [B, C, B]
    assert [next(other) for _ in range(3)] == [C, B, C]
    await trio.sleep(PASSED_OVER_S + 1)
    assert {next(mine) for _ in range(3)} == {A, B, C}


async def test_when_all_refuse_the_delay_is_the_longest_at_once_and_all_go_on_being_tried(autojump_clock):
    standing = Standing([A, B])
    turns = standing.turns(0)
    assert standing.heed(failure(next(turns), 451)) == 0
    assert standing.heed(failure(next(turns), 403)) == REFUSED_DELAY_S
    assert [next(turns), next(turns)] == [A, B]
    standing.welcomed(A)
    assert [next(turns), next(turns)] == [A, A]
    standing.welcomed("ws://never heard of")


async def test_one_endpoint_alone_that_refuses_is_tried_at_the_longest_delay():
    assert Standing([A]).heed(failure(A, 403)) == REFUSED_DELAY_S


async def test_a_dead_endpoint_is_none_that_refuses():
    standing = Standing([A, B])
    assert standing.heed(failure(A)) == 0
    assert list(islice(standing.turns(0), 3)) == [A, B, A]


@pytest.mark.parametrize(("status", "wait_s"), [(429, 60), (418, 120)])
async def test_a_ban_holds_the_attempts_of_all_connections(status, wait_s, autojump_clock):
    budget = AttemptBudget(interval_s=1)
    standing = Standing([A, B], hold=budget.hold)
    began = trio.current_time()
    times = []

    async def attempt():
        await budget.spend()
        times.append(trio.current_time() - began)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(attempt)
        await trio.sleep(0.5)  # one was made, one sleeps until its turn, one waits for that
        assert standing.heed(failure(A, status)) == wait_s
        standing.heed(failure(B, status, retry_after_s=5))
    assert times == pytest.approx([0, wait_s + 0.5, wait_s + 1.5])
