"""The account of one batch, with a producer that is made up."""

import itertools

import pytest
from confluent_kafka import KafkaError, Message
from hypothesis import given
from hypothesis import strategies as st
from kafka_support import numbered, route_for

from ingest_actors.kafka.accepted import Accepted, RecordId
from ingest_actors.messages import EventBatch, Route
from ingest_actors.protocols import Refusal

ROUTES = [route_for("t-", *names) for names in (("a",), ("a", "b"), ("a", "b", "c"))]
REFUSED = KafkaError(KafkaError.INVALID_RECORD, "no")


class Queue:
    """Takes records as long as the plan says, and gives each its report when asked."""

    def __init__(self, plan=()):
        self.plan = iter(plan)
        self.taken = []

    def __call__(self, topic, value, *others):
        _, _, callback, _, timestamp, headers = *others, *[None] * (6 - len(others))
        if not next(self.plan, True):
            raise BufferError
        self.taken.append((topic, value, callback, timestamp, headers))

    def report(self, error=None):
        """As the client does when it is to report failures alone: then it lets go of the callback."""
        while self.taken:
            topic, value, callback, *_ = self.taken.pop(0)
            if error is not None:
                callback(error, Message(topic=topic, value=value, partition=1))


def mixed(count):
    return EventBatch([(b"%d" % n, None, 1000 + n, ROUTES[n % len(ROUTES)]) for n in range(count)], received_at_ms=0)


def everything(batch):
    return [(topic, value, stamp) for value, _, stamp, route in batch.events for topic in route.topics]


@given(plan=st.lists(st.booleans(), max_size=60), count=st.integers(0, 12), at_once=st.integers(1, 5))
def test_every_record_is_handed_over_once_however_often_the_queue_is_full(plan, count, at_once):
    batch = mixed(count)
    accepted = Accepted(batch, 1, [])
    queue = Queue(plan)
    while not accepted.complete:
        before = len(queue.taken)
        try:
            accepted.hand_over(queue, at_once)
        except BufferError:
            assert accepted.remaining()
        assert accepted.left == len(queue.taken)
        assert len(queue.taken) >= before
    assert [(topic, value, stamp) for topic, value, _, stamp, _ in queue.taken] == everything(batch)
    assert not accepted.remaining()
    assert accepted.settled == (not queue.taken)
    queue.report()
    assert accepted.settled
    assert sum(accepted.records_by_topic().values()) == len(everything(batch))


@given(plan=st.lists(st.booleans(), max_size=40), refused=st.sets(st.integers(0, 8)))
def test_refused_events_are_never_handed_over(plan, refused):
    batch = mixed(9)
    accepted = Accepted(batch, 1, [], refused={n: Refusal(n, "odd", "") for n in refused})
    queue = Queue(plan)
    while not accepted.complete:
        try:
            accepted.hand_over(queue, 4)
        except BufferError:
            continue
    assert [(topic, value, stamp) for topic, value, _, stamp, _ in queue.taken] == [
        record for record in everything(batch) if int(record[1]) not in refused
    ]
    assert [refusal.position for refusal in accepted.acknowledgement().refused] == sorted(refused)
    assert sum(accepted.records_by_topic().values()) == len(queue.taken)


def test_what_comes_back_is_owed_until_it_is_handed_over_again():
    failing = []
    accepted = Accepted(mixed(3), 1, failing)
    first, second = Queue(), Queue()
    accepted.hand_over(first, 10)
    first.report(REFUSED)
    assert failing == accepted.failing == [REFUSED] * 6
    failures = accepted.take_failures()
    assert [failure.record for failure in failures] == [
        RecordId(position, index) for position in range(3) for index in range(position + 1)
    ]
    assert {failure.partition for failure in failures} == {1}
    assert accepted.owed == {failure.record for failure in failures}
    assert not accepted.settled
    for failure in failures:
        accepted.produce(failure.record, second)
    assert not accepted.owed
    second.report()
    assert accepted.settled


def test_of_equal_records_the_last_one_came_back():
    route = Route("x", ("a",))
    accepted = Accepted(EventBatch([(b"same", None, 0, route)] * 3, received_at_ms=0), 1, [])
    queue = Queue()
    accepted.hand_over(queue, 10)
    queue.taken.pop(0)
    queue.report(REFUSED)
    assert [failure.record.position for failure in accepted.take_failures()] == [1, 2]


def test_an_event_refused_half_way_goes_no_further():
    batch = mixed(3)
    accepted = Accepted(batch, 1, [])
    queue = Queue([True, True, True, True, False])
    with pytest.raises(BufferError):
        accepted.hand_over(queue, 10)
    assert accepted.next_position == 2
    assert accepted.remaining() == [RecordId(2, 1), RecordId(2, 2)]
    accepted.refuse(Refusal(2, "odd", ""))
    assert accepted.remaining() == []
    accepted.hand_over(queue, 10)
    assert accepted.complete
    assert len(queue.taken) == 4


def test_headers_go_along():
    route = route_for("t-", "dead", headers=(("reason", b"odd"),))
    accepted = Accepted(EventBatch(numbered(route, range(2)), received_at_ms=0), 1, [])
    queue = Queue()
    accepted.hand_over(queue, 10)
    accepted.produce(RecordId(0, 0), queue)
    assert [headers for *_, headers in queue.taken] == [[("reason", b"odd")]] * 3


def test_only_what_is_wanted_of_a_batch_is_handed_over():
    batch = mixed(4)
    todo = [RecordId(1, 1), RecordId(2, 0), RecordId(2, 2)]
    accepted = Accepted(batch, 1, [], todo=list(todo))
    queue = Queue()
    for done in itertools.count(1):
        accepted.hand_over(queue, 1)
        if accepted.complete:
            break
        assert accepted.next_position == todo[done].position
    assert [(topic, value) for topic, value, *_ in queue.taken] == [("t-b", b"1"), ("t-a", b"2"), ("t-c", b"2")]
