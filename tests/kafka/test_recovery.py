"""Recovery, where a real broker cannot be made to misbehave as wanted."""

import pytest
import trio
from confluent_kafka import KafkaError, Message
from kafka_support import numbered, route_for

from ingest_actors.errors import SinkBroken
from ingest_actors.kafka import codes, recovery
from ingest_actors.kafka.accepted import Accepted
from ingest_actors.kafka.limits import Limits
from ingest_actors.kafka.recovery import Recovery
from ingest_actors.messages import EventBatch

ROUTE = route_for("t-", "a")


class MadeUp:
    """A producer whose broker answers as a function of the record says; None = not at all."""

    def __init__(self, answer, room=1_000):
        self.answer = answer
        self.room = room
        self.fatal = None
        self.waiting = []
        self.written = []
        self.closed = False

    def produce(self, topic, value, key, partition, callback, *others):
        if len(self.waiting) >= self.room:
            raise BufferError
        self.waiting.append((callback, Message(topic=topic, value=value, partition=0)))

    def poll(self):
        waiting, self.waiting = self.waiting, []
        for callback, message in waiting:
            answer = self.answer(message.value())
            if answer is None:
                self.waiting.append((callback, message))
                continue
            if answer == 0:
                self.written.append(int(message.value()[:9]))
            callback(KafkaError(answer) if answer else None, message)

    send_now = poll

    def purge(self, *, in_flight):
        if in_flight:
            self.answer = lambda value: codes.PURGE_INFLIGHT

    def fail(self, error):
        self.fatal = error

    async def aclose(self):
        await trio.lowlevel.checkpoint()
        self.closed = True


async def recover(broken, careful, count=10):
    """Ten records given to a broken producer, and what recovery makes of them."""

    async def no_limits():
        await trio.lowlevel.checkpoint()
        return Limits({}, clock_ms=lambda: 0)

    batch = Accepted(EventBatch(numbered(ROUTE, range(count), timestamp_ms=1), received_at_ms=0), 1, [])
    batch.hand_over(broken.produce, 1_000)
    fresh = MadeUp(lambda value: 0)
    it = Recovery(
        [batch],
        broken,
        make_handle=lambda wanted: careful if wanted else fresh,
        read_limits=no_limits,
        pause=trio.lowlevel.checkpoint,
        answered=lambda: None,
        request_bytes_max=lambda: 1_000_000,
    )
    with trio.fail_after(5):
        assert await it.run() is fresh
    assert broken.closed
    assert careful.closed
    assert batch.settled
    return batch


def refuse_all(value):
    return KafkaError.INVALID_RECORD


def refuse_3(value):
    return KafkaError.INVALID_RECORD if value.startswith(b"000000003") else codes.INVALID_DIFFERENT_RECORD


async def test_the_offender_that_the_broker_names_is_refused_and_nothing_else():
    careful = MadeUp(lambda value: 0)
    batch = await recover(MadeUp(refuse_3), careful)
    assert list(batch.refused) == [3]
    assert careful.written == [n for n in range(10) if n != 3]


async def test_where_no_offender_is_named_halving_finds_it_in_order():
    careful = MadeUp(None)

    def as_a_whole(value):
        bad = any(message.value().startswith(b"000000003") for _, message in careful.taken)
        return KafkaError.INVALID_RECORD if bad else 0

    def poll():
        careful.taken = list(careful.waiting)
        MadeUp.poll(careful)

    careful.answer, careful.send_now = as_a_whole, poll
    batch = await recover(MadeUp(refuse_all), careful)
    assert list(batch.refused) == [3]
    assert careful.written == [n for n in range(10) if n != 3]


async def test_what_does_not_fit_into_the_queue_follows_in_order():
    careful = MadeUp(lambda value: 0, room=3)
    await recover(MadeUp(refuse_3), careful)
    assert careful.written == [n for n in range(10) if n != 3]


async def test_what_is_never_answered_is_given_up_and_sent_again(monkeypatch, caplog):
    monkeypatch.setattr(recovery, "UNANSWERED_S_MAX", 0.01)
    careful = MadeUp(lambda value: 0)
    broken = MadeUp(lambda value: KafkaError.INVALID_RECORD if value.startswith(b"000000000") else None)
    batch = await recover(broken, careful)
    assert list(batch.refused) == [0]
    assert careful.written == list(range(1, 10))
    assert "kafka_outcome_unknown" in caplog.text


async def test_an_error_that_is_no_records_fault_breaks_the_sink():
    with pytest.raises(SinkBroken, match="authorization"):
        await recover(MadeUp(lambda value: KafkaError.TOPIC_AUTHORIZATION_FAILED), MadeUp(None))
    with pytest.raises(SinkBroken, match="authorization"):
        await recover(MadeUp(refuse_3), MadeUp(lambda value: KafkaError.TOPIC_AUTHORIZATION_FAILED))


async def test_records_that_come_back_without_a_reason_break_the_sink_too():
    with pytest.raises(SinkBroken, match="given back"):
        await recover(MadeUp(lambda value: codes.PURGE_QUEUE), MadeUp(None))
