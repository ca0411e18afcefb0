"""Whatever dies, and whenever: what a restart finds in Kafka and in the spool together has no hole.

``INGEST_SPOOL_SEEDS`` runs more of them, ``INGEST_SPOOL_FROM`` others. Each test says which delivery mode it is for.
"""

import os

import pytest
from crash_world import run

SEEDS = int(os.environ.get("INGEST_SPOOL_SEEDS", "20"))
FROM = int(os.environ.get("INGEST_SPOOL_FROM", "0"))


@pytest.mark.parametrize("seed", range(FROM, FROM + SEEDS))
def test_with_exactly_once_every_trade_is_there_once_and_in_order(quick_path, seed):
    world = run(seed, quick_path, exactly_once=True)
    assert world.kafka.written == list(range(1, world.made + 1))


@pytest.mark.parametrize("seed", range(FROM, FROM + SEEDS))
def test_with_at_least_once_no_trade_is_missing_and_repeats_begin_anew(quick_path, seed):
    world = run(seed, quick_path, exactly_once=False)
    assert set(world.kafka.written) == set(range(1, world.made + 1))
    assert list(dict.fromkeys(world.kafka.written)) == list(range(1, world.made + 1))
