"""What is due is asked about, and an exchange that does not answer is asked again."""

import random

import trio

from ingest_actors.actors.catch_up import catch_up
from ingest_actors.errors import ExchangeUnreachable
from ingest_actors.supervision import Backoff


class Ends:
    def __init__(self, *due):
        self.due = list(due)
        self.answers = {}
        self.delays = []

    async def wait_due(self):
        await trio.lowlevel.checkpoint()
        if not self.due:
            await trio.sleep_forever()
        return list(self.due)

    def answer(self, series, newest):
        self.answers[series] = newest
        self.due.remove(series)

    def put_off(self, series, seconds):
        self.delays.append((series, seconds))


async def run(ends, ask):
    told = []
    with trio.move_on_after(5):
        await catch_up(
            ends,
            ask=ask,
            backoff=Backoff(1.0, 8.0, rng=random.Random(1)),
            announce=lambda name, **fields: told.append((name, fields["cause"])),
        )
    return told


async def test_each_answer_goes_to_its_series(autojump_clock):
    ends = Ends("a", "b")

    async def ask(series):
        await trio.lowlevel.checkpoint()
        return {"a": 7}

    assert await run(ends, ask) == []
    assert ends.answers == {"a": 7, "b": None}


async def test_an_exchange_that_does_not_answer_is_asked_again_later(autojump_clock):
    ends = Ends("a")
    failures = [ExchangeUnreachable("rest", "away", retry_after_s=60.0), ExchangeUnreachable("rest", "away")]

    async def ask(series):
        await trio.lowlevel.checkpoint()
        if failures:
            raise failures.pop(0)
        return {"a": 1}

    told = await run(ends, ask)
    assert [name for name, _ in told] == ["catch_up_failed"] * 2
    assert [series for series, _ in ends.delays] == ["a", "a"]
    assert ends.delays[0][1] == 60.0
    assert 0 < ends.delays[1][1] <= 8.0
    assert ends.answers == {"a": 1}
