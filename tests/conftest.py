"""Fixtures for everybody: real brokers, topics of one's own, the recordings.

A test that wants a broker and cannot have one fails; it is never skipped. Set ``INGEST_TEST_BOOTSTRAP`` to run the
tests of the shared broker against one that is already there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import hypothesis
import pytest

from ingest_actors.kafka.dev_broker import DevBroker, SaslSsl, dev_broker

REPOSITORY = Path(__file__).resolve().parent.parent

# How long an example takes says something of the machine, and nothing of what is tested.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")


@dataclass(frozen=True)
class SharedBroker:
    """A broker that tests share: they may fill it, not break it."""

    bootstrap_servers: str
    cluster: DevBroker | None
    """None when it was given by the environment."""


@pytest.fixture(scope="session")
def broker() -> Iterator[SharedBroker]:
    """One single-node Kafka for the whole run (for each worker, under pytest-xdist)."""
    given = os.environ.get("INGEST_TEST_BOOTSTRAP")
    if given:
        yield SharedBroker(given, None)
        return
    with dev_broker() as cluster:
        yield SharedBroker(cluster.bootstrap_servers, cluster)


@pytest.fixture(scope="session")
def secure_broker() -> Iterator[DevBroker]:
    """One Kafka behind SASL_SSL with an authority of its own and access rules.

    Its administrator is ``admin`` / ``admin-secret``; ``alice`` / ``alice-secret`` may do nothing until a rule says so.
    """
    with dev_broker(security=SaslSsl(users={"alice": "alice-secret"}, acls=True)) as cluster:
        yield cluster


@pytest.fixture
def private_broker() -> Iterator[Callable[..., DevBroker]]:
    """Makes clusters that a test may pause, kill and restart; takes the arguments of `dev_broker`."""
    with ExitStack() as clusters:
        yield lambda **arguments: clusters.enter_context(dev_broker(**arguments))


@pytest.fixture
def topic_prefix() -> str:
    """Begins the names of this test's topics, so that it shares them with no other."""
    return f"t{uuid4().hex[:10]}-"


@pytest.fixture(scope="session")
def captures() -> Path:
    """The directory of recordings of the exchange, which lies beside the repository where there is one."""
    directory = REPOSITORY.parent / "shared" / "captures"
    if not directory.is_dir():
        pytest.skip(f"no recordings at {directory}; tests of fixtures of our own making cover the same promises")
    return directory
