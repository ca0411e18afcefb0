import json
from contextlib import aclosing

import pytest
import trio

from ingest_actors.binance.session import Session
from ingest_actors.binance.subscriber import PROTOCOL_ERROR, StreamSubscriber
from ingest_actors.errors import FeedClosed
from ingest_actors.protocols import Subscriber

MANY = [f"symbol{number:04}usdt@depth@100ms" for number in range(300)]


class Exchange:
    """Answers each message after a while; fits what a subscriber needs of a feed."""

    def __init__(self, nursery, subscriber, reply=None, delay_s=0.1):
        self.nursery, self.subscriber, self.reply, self.delay_s = nursery, subscriber, reply or acknowledge, delay_s
        self.sent = []

    async def send(self, text):
        self.sent.append((trio.current_time(), json.loads(text)))
        self.nursery.start_soon(self.answer, json.loads(text))

    async def answer(self, message):
        await trio.sleep(self.delay_s)
        if (reply := self.reply(message)) is not None:
            assert self.subscriber.intercept([json.dumps(reply).encode()]) == []


def acknowledge(message):
    """What the exchange answers; it lists what it was asked to list."""
    return {"result": None, "id": message["id"]}


async def run(streams, *, seconds=9.0, **behaviour):
    subscriber = StreamSubscriber(streams)
    counts, failure = [], None
    async with trio.open_nursery() as nursery:
        exchange = Exchange(nursery, subscriber, **behaviour)
        try:
            with trio.move_on_after(seconds):
                async for acknowledged in subscriber.subscribe(exchange):
                    counts += [acknowledged]
        except FeedClosed as closed:
            failure = closed
    if failure is not None:
        raise failure
    return exchange, counts


async def test_it_fits_the_protocol(autojump_clock):
    assert isinstance(StreamSubscriber, type)
    subscriber: Subscriber = StreamSubscriber([])
    async with aclosing(subscriber.subscribe(None)) as counts:
        assert await anext(counts) == 0


async def test_all_streams_are_subscribed_paced_and_counted_as_they_are_acknowledged(autojump_clock):
    started = trio.current_time()
    exchange, counts = await run(MANY)
    assert [stream for _, message in exchange.sent[:3] for stream in message["params"]] == MANY
    assert [time - started for time, _ in exchange.sent] == pytest.approx([0.0, 0.3, 0.6, 0.9])
    assert exchange.sent[3][1]["method"] == "LIST_SUBSCRIPTIONS"
    assert counts == [0, 135, 270, 300]


async def test_messages_do_not_wait_for_each_others_answers(autojump_clock):
    exchange, counts = await run(MANY, delay_s=2.0)
    assert [time - exchange.sent[0][0] for time, _ in exchange.sent] == pytest.approx([0.0, 0.3, 0.6, 2.6])
    assert counts[-1] == 300


async def test_a_refusal_ends_the_connection_and_says_why(autojump_clock):
    def reply(message):
        return {"error": {"code": 2, "msg": "Invalid request: invalid stream"}, "id": message["id"]}

    with pytest.raises(FeedClosed) as caught:
        await run(["a", "b", "c", "d", "e"], reply=reply)
    assert caught.value.code == PROTOCOL_ERROR
    assert caught.value.reason == (
        "the exchange refused a subscription of a, b, c and 2 more: Invalid request: invalid stream (code 2)"
    )


async def test_a_refusal_that_names_no_message_is_one_too(autojump_clock):
    with pytest.raises(FeedClosed, match="refused a subscription: Too many"):
        await run(["a@trade"], reply=lambda _: {"error": {"code": 4, "msg": "Too many subscriptions"}, "id": 99})


async def test_an_answer_that_does_not_come_ends_the_connection(autojump_clock):
    started = trio.current_time()
    with pytest.raises(FeedClosed, match="did not answer a subscription of a@trade"):
        await run(["a@trade"], reply=lambda _: None, seconds=60)
    assert trio.current_time() - started == pytest.approx(10.0)


async def test_what_was_not_sent_for_cancellation_is_sent_by_the_next_to_ask(autojump_clock):
    session = Session(MANY)
    subscriber = StreamSubscriber(MANY, session=session)
    async with trio.open_nursery() as nursery:
        exchange = Exchange(nursery, subscriber)
        with trio.move_on_after(0.2):
            async for _ in subscriber.subscribe(exchange):
                pass
        counts = []
        with trio.move_on_after(5):
            async for count in subscriber.subscribe(exchange):
                counts += [count]
        assert counts == [135, 270, 300]
    assert len(exchange.sent) == 4


async def test_streams_come_go_and_are_subscribed_again_while_it_runs(autojump_clock, nursery):
    subscriber = StreamSubscriber(["a@trade", "b@trade"])
    exchange = Exchange(nursery, subscriber)
    counts = []

    async def run():
        async for count in subscriber.subscribe(exchange):
            counts.append((count, subscriber.acknowledged))  # noqa: PERF401 - it never ends

    nursery.start_soon(run)
    await trio.sleep(5)
    exchange.sent.clear()
    subscriber.carry(["b@trade", "c@trade"])
    await trio.sleep(2)
    subscriber.renew(["b@trade", "z@trade"])
    await trio.sleep(2)
    assert [(message["method"], message["params"]) for _, message in exchange.sent] == [
        ("UNSUBSCRIBE", ["a@trade"]),
        ("SUBSCRIBE", ["c@trade"]),
        ("UNSUBSCRIBE", ["b@trade"]),
        ("SUBSCRIBE", ["b@trade"]),
    ]
    assert [sorted(streams) for _, streams in counts] == [
        [],
        ["a@trade", "b@trade"],
        ["b@trade"],
        ["b@trade", "c@trade"],
        ["c@trade"],
        ["b@trade", "c@trade"],
    ]
    assert subscriber.missing == frozenset()
    nursery.cancel_scope.cancel()
