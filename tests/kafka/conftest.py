"""A sink on a broker, with topics of its own."""

import pytest
from kafka_support import sink_on


@pytest.fixture
async def sink(broker, topic_prefix):
    async with sink_on(broker.bootstrap_servers, topic_prefix) as opened:
        yield opened
