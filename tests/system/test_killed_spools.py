"""The service is killed while it spools and while it drains, with a real broker: nothing is missing from the record,
and with exactly_once nothing comes twice.

``INGEST_SPOOL_KILLS`` says how often; ``--log-cli-level=INFO`` shows figures.
"""

from __future__ import annotations

import logging
import random
import time

import pytest
from proof_world import MODES, Market, Proof, kill, number_of
from service_process import wait_until

pytestmark = pytest.mark.broker
log = logging.getLogger(__name__)

KILLS = number_of("INGEST_SPOOL_KILLS", 2)
SEED = number_of("INGEST_PROOF_SEED", 1)


@pytest.fixture
def market(tmp_path):
    with Market(tmp_path, activity=5) as market:
        yield market.wait_for_trades()


@pytest.mark.parametrize("mode", MODES)
def test_killed_while_it_spools_and_while_it_drains(tmp_path, private_broker, topic_prefix, market, mode):
    chance = random.Random(SEED)
    cluster = private_broker()
    # Room for all that waits until REST has brought what was missed: on a slow machine that is much.
    own = {"SPOOL_DIR": str(tmp_path / "spool"), "BUFFER_MAX_BYTES": "1GiB"}
    with Proof(tmp_path, cluster.bootstrap_servers, topic_prefix, mode, market, **own) as proof:
        service = proof.start().wait_ready()
        proof.catch_up(market.newest(), time.monotonic())
        for _ in range(KILLS):
            spooled = service.total("spooled")
            cluster.pause()
            try:
                wait_until(lambda service=service, spooled=spooled: service.total("spooled") > spooled + 200)
                time.sleep(chance.uniform(0.5, 4))
                kill(service)
            finally:
                cluster.resume()
            began_s = time.monotonic()
            service = proof.start()
            found = service.wait_for("spool_found")
            log.info("%d events were left, %d of them written", found["events"], found["already_written"])
            if chance.random() < 0.5:
                time.sleep(chance.uniform(0, 0.5))
                kill(service)
                service = proof.start()
            service.wait_ready()
            proof.catch_up(market.newest(), began_s)
        if any(found["events"] for found in service.log("spool_found")):  # else the life before has written it all
            service.wait_for("spool_drained")
        proof.end(service)
        proof.tell_times(f"killed {KILLS} times with a spool")
        proof.assert_whole(repeats=mode == "at_least_once")
