"""Everything at once, to services in both modes: the record holds each trade once, in order, none missing.

Within two minutes, beside a market that goes on: a connection cut in the middle of a frame, handshakes refused, 429 and
then 418 from REST, whose data lag two seconds behind the streams all the time, a close with 1008, `serverShutdown`,
REST down (``INGEST_REST_DOWN_SECONDS``), the clock set back an hour, connections whose packets vanish, a broker killed,
and the services killed. ``--log-cli-level=INFO`` shows figures.
"""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest
from proof_world import MODES, Market, Proof, kill, number_of
from settable_clock import SettableClock
from swallowing_proxy import SwallowingProxy

pytestmark = pytest.mark.broker

REST_DOWN_S = number_of("INGEST_REST_DOWN_SECONDS", 6)
ACTIVITY = number_of("INGEST_PROOF_ACTIVITY", 5)
SCRIPT = f"""
[[fault]]
do = "rest_lag"
lag_s = 2

[[fault]]
do = "cut_mid_frame"
at_s = 10

[[fault]]
do = "refuse_handshake"
status = 503
at_s = 9.5
for_s = 2

[[fault]]
do = "rest_error"
status = 429
retry_after_s = 1
at_s = 10
for_s = 3

[[fault]]
do = "rest_error"
status = 418
retry_after_s = 2
at_s = 13
for_s = 2

[[fault]]
do = "close"
code = 1008
reason = "Pong timeout"
at_s = 19

[[fault]]
do = "server_shutdown"
lead_s = 1
at_s = 22

[[fault]]
do = "rest_error"
status = 503
at_s = 26
for_s = {REST_DOWN_S}

[[fault]]
do = "cut"
reset = true
at_s = 26
"""
QUIET_AGAIN_S = 27 + REST_DOWN_S
"""The script is over."""
READ_DEADLINE_S = 60
"""How long the service lets a connection be silent."""


def test_all_that_can_go_wrong_together_costs_no_trade_and_doubles_none(tmp_path, private_broker, topic_prefix):
    cluster = private_broker()
    clock = SettableClock(tmp_path / "clock")
    with ExitStack() as stack:
        market = stack.enter_context(Market(tmp_path, activity=ACTIVITY, faults=SCRIPT))
        opened_s = time.monotonic()
        proxy = stack.enter_context(SwallowingProxy(market.ready["ws_url"]))
        room = {"BUFFER_MAX_BYTES": "256MiB"}  # for what waits behind gaps while REST is down
        more = clock.environ | {"BINANCE_WS_URL": proxy.url} | room
        proofs = [
            stack.enter_context(
                Proof(tmp_path, cluster.bootstrap_servers, f"{topic_prefix}{mode}-", mode, market, **more)
            )
            for mode in MODES
        ]
        services = [proof.start() for proof in proofs]
        for service in services:
            service.wait_ready()
        assert time.monotonic() < opened_s + 9, "the script had begun before the services had"

        time.sleep(opened_s + QUIET_AGAIN_S - time.monotonic())
        clock.step(-3600)
        time.sleep(2)
        assert proxy.swallow() >= len(proofs)
        time.sleep(1)
        cluster.kill()
        time.sleep(2)
        cluster.restart()
        ended = [len(service.log("connection_closed")) for service in services]
        for service, count in zip(services, ended, strict=True):
            service.wait_for("connection_closed", READ_DEADLINE_S + 20, count=count + 1)
        catch_up(proofs)
        for service in services:
            kill(service)
        services = [proof.start() for proof in proofs]
        catch_up(proofs)
        for proof, service in zip(proofs, services, strict=True):
            proof.end(service)
            proof.tell_times("everything at once")
        for proof in proofs:
            proof.assert_whole(repeats=proof.mode == "at_least_once")
            trades = [told for name, told in proof.journal().items() if "@depth" not in name]
            assert {told[-1]["state"] for told in trades} == {"closed"}
            assert {told[-1]["reason"] for told in trades} == {"disconnected", "restarted"}


def catch_up(proofs):
    """Until everybody has all that had been published by now."""
    marks, began_s = proofs[0].market.newest(), time.monotonic()
    for proof in proofs:
        proof.catch_up(marks, began_s)
