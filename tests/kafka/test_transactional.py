"""The transactional sink on a real broker: each event once, together with the state that says so."""

import pytest
import trio
from exactly_once import CountingProgress, exactly_once_on, read_committed
from kafka_support import deliver, expected_by_key, in_batches, numbered, numbers_by_key, route_for

from ingest_actors.kafka.transactional import TransactionalSink
from ingest_actors.protocols import Sink

pytestmark = pytest.mark.broker


async def committed(broker, topic):
    return numbers_by_key(await trio.to_thread.run_sync(read_committed, broker.bootstrap_servers, topic))


async def test_it_fits_the_seam(broker, topic_prefix):
    async with exactly_once_on(broker.bootstrap_servers, topic_prefix) as sink:
        assert isinstance(sink, Sink)
        assert isinstance(sink, TransactionalSink)


async def test_every_event_is_committed_once_in_every_topic_and_the_state_says_so(broker, topic_prefix):
    route = route_for(topic_prefix)
    events = numbered(route, range(5_000))
    progress = CountingProgress()
    async with exactly_once_on(broker.bootstrap_servers, topic_prefix, progress=progress) as sink:
        assert sink.away_s is None
        assert sink.progress is progress
        acknowledgements = await deliver(sink, in_batches(events, 70))
        assert [done.batch for done in acknowledgements] == progress.applied
        assert progress.settled == progress.marks
        assert sink.status().records == {topic_prefix + "raw_events": 5_000, topic_prefix + "trades": 5_000}
    for name in ("raw_events", "trades"):
        assert await committed(broker, topic_prefix + name) == expected_by_key(events)

    again = CountingProgress()
    async with exactly_once_on(broker.bootstrap_servers, topic_prefix, progress=again) as sink:
        assert again.marks == progress.marks
        assert 0 <= sink.away_s < 10
