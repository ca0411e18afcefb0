"""A sink on a broker, with topics of its own."""

import pytest
from guarded_broker import guarded_broker
from kafka_support import sink_on


@pytest.fixture
async def sink(broker, topic_prefix):
    async with sink_on(broker.bootstrap_servers, topic_prefix) as opened:
        yield opened


@pytest.fixture(scope="session")
def guarded():
    """One broker with a door for each way of getting in; see `guarded_broker.DOORS`."""
    with guarded_broker() as cluster:
        yield cluster
