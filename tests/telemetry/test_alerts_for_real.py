"""Every fault made for real, every alert seen to fire and to clear.

Three services, a real Kafka, the simulated exchange, and a real Prometheus with the shipped rules. So that this takes
minutes instead of hours, the rules are shortened as `prometheus_process.shortened` says: ``for:`` of seconds, ranges of
some ten seconds, and the three thresholds of `SHORTER_THRESHOLDS`; the expressions are otherwise those shipped.
``--log-cli-level=INFO`` shows what fired when.

What crashes the actor is put into the service from outside, for no input is known that would.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from contextlib import ExitStack

import pytest
from kafka_topics import Topics
from prometheus_process import Prometheus, free_port
from service_process import Service
from settable_clock import SettableClock
from test_alert_rules import NAMES

from ingest_actors.testing import (
    Drop,
    Fault,
    Garbage,
    Mute,
    RestError,
    Slow,
    exchange_in_thread,
)

pytestmark = [pytest.mark.long, pytest.mark.broker]
log = logging.getLogger(__name__)

UNIT_TESTED_ALONE = {"IngestLedgerUnbalanced": "no fault is known that makes it; it would be a bug"}
FIRES_S_MAX = 45.0
CLEARS_S_MAX = 75.0
_CRASH = """
import os
from ingest_actors.binance.parser import EventParser
parse = EventParser.parse
def crash(self, batch):
    if os.path.exists(os.environ["CRASH_FILE"]):
        os.unlink(os.environ["CRASH_FILE"])
        raise RuntimeError("made to crash")
    return parse(self, batch)
EventParser.parse = crash
"""


class Proof:
    """What was seen of each alert."""

    def __init__(self, prometheus):
        self.prometheus = prometheus
        self.fired = set()
        self.cleared = set()
        self._began = time.monotonic()

    def fires(self, *names, port=None):
        """Wait until these have fired, each at some time from now on."""
        missing = set(names)
        deadline = time.monotonic() + FIRES_S_MAX
        while missing:
            firing = self._firing(port)
            for name in missing & firing:
                log.info("%5.1f s: %s fires", time.monotonic() - self._began, name)
            self.fired |= missing & firing
            missing -= firing
            assert time.monotonic() < deadline, f"{sorted(missing)} did not fire: {sorted(firing)} do"
            time.sleep(0.2)

    def clears(self, *names, port=None, within_s=CLEARS_S_MAX):
        """Wait until none of these fires."""
        deadline = time.monotonic() + within_s
        while still := self._firing(port) & set(names):
            assert time.monotonic() < deadline, f"{sorted(still)} did not clear"
            time.sleep(0.2)
        cleared = set(names) & self.fired
        log.info("%5.1f s: %s clear", time.monotonic() - self._began, ", ".join(sorted(cleared)))
        self.cleared |= cleared

    def all_quiet(self, ports):
        """Wait until nothing fires for these."""
        for port in ports:
            self.clears(*NAMES, port=port)

    def _firing(self, port):
        return {
            name for name, instance in self.prometheus.firing() if port is None or instance in ("", f"127.0.0.1:{port}")
        }


@pytest.fixture
def stack():
    with ExitStack() as stack:
        yield stack


@pytest.mark.skipif(
    "INGEST_ALERTS" not in os.environ, reason="six minutes of faults on a machine that does nothing else: make prove"
)
@pytest.mark.usefixtures("prometheus_installed")
def test_every_alert_fires_when_its_fault_is_made_and_clears_after(  # noqa: PLR0915 - one story, told in order
    stack, private_broker, topic_prefix, tmp_path
):
    kafka = private_broker()
    exchange = stack.enter_context(exchange_in_thread(symbols=("BTCUSDT", "ETHUSDT", "BNBUSDT"), activity=2))
    clock = SettableClock(tmp_path / "clock")
    (tmp_path / "clock" / "sitecustomize.py").write_text((tmp_path / "clock" / "sitecustomize.py").read_text() + _CRASH)
    crash = tmp_path / "crash"
    plain, spooling, third = free_port(), free_port(), free_port()
    common = {
        "BINANCE_WS_URL": exchange.ws_url, "BINANCE_REST_URL": exchange.rest_url, "RECONNECT_INTERVAL": "0.2",
        "BINANCE_SYMBOLS": "BTCUSDT,ETHUSDT,BNBUSDT", "STREAM_SILENCE_SECONDS": "2",
        "BINANCE_STREAM_TYPES": "aggTrade,trade,depth@100ms,bookTicker", "MAX_RETRIES": "0",
    }  # fmt: skip

    def serve(name, port, prefix, **more):
        directory = tmp_path / f"{name}-{time.monotonic_ns()}"
        directory.mkdir()
        topics = Topics(kafka.bootstrap_servers, f"{topic_prefix}{prefix}{time.monotonic_ns()}-").settings
        given = common | topics | {"INSTANCE_NAME": name, "HTTP_PORT": str(port)} | more
        return stack.enter_context(Service(directory, **given))

    def serve_plain():
        more = {"BUFFER_MAX_BYTES": "1MiB", "WS_MESSAGE_MAX_BYTES": "256KiB", "CRASH_FILE": str(crash)} | clock.environ
        return serve("plain", plain, "a", **more).wait_ready()

    def serve_third(**more):
        given = {"INSTANCE_NAME": "third", "KAFKA_BOOTSTRAP_SERVERS": "embedded"} | more
        return serve("third", third, "c", **given)

    prometheus = stack.enter_context(Prometheus(tmp_path / "prometheus", shorter=True))
    proof = Proof(prometheus)

    proof.fires("IngestNotScraped")
    prometheus.watch(plain)
    proof.fires("IngestDown", port=plain)
    one = serve_plain()
    two = serve("spooling", spooling, "b", SPOOL_DIR=str(tmp_path / "spool"), SPOOL_MAX_BYTES="1MiB").wait_ready()
    prometheus.watch(plain, spooling)
    proof.all_quiet((plain, spooling))

    # One service too many, which knows no time, wants too much of REST, and a symbol that nobody knows.
    exchange.inflict(Fault(RestError(503), endpoints="time", for_s=12))
    sick = tmp_path / "sick"
    sick.mkdir()
    (sick / ".env").write_text("BINANCE_SYMBOLS=BTCUSDT,ETHUSDT,NOPEUSDT\n")
    reloadable = {name: text for name, text in common.items() if name != "BINANCE_SYMBOLS"}
    three = stack.enter_context(
        Service(
            sick, **reloadable, INSTANCE_NAME="plain", HTTP_PORT=str(third), KAFKA_BOOTSTRAP_SERVERS="embedded",
            REST_WEIGHT_PER_MINUTE="42", BACKFILL="off",
        )
    ).wait_ready()  # fmt: skip
    prometheus.watch(plain, spooling, third)
    proof.fires("IngestClockUnknown", "IngestRestWeightNearlyUsedUp", "IngestStreamNotListed", port=third)
    proof.fires("IngestSecondWriter")
    (sick / ".env").write_text("BINANCE_SYMBOLS=BTCUSDT,ETHUSDT\n")
    three.signal(signal.SIGHUP)
    proof.clears("IngestStreamNotListed", port=third)

    # The market is muted, a stream of it, and its way here is long.
    exchange.inflict(Fault(Mute(), for_s=9))
    proof.fires("IngestFeedStale", port=plain)
    proof.clears("IngestFeedStale", port=plain)
    exchange.inflict(Fault(Mute(), streams="btcusdt@trade", for_s=25))
    proof.fires("IngestStreamSilent", port=plain)
    exchange.inflict(Fault(Slow(latency_s=2.5), for_s=15))
    proof.fires("IngestFeedLags", port=spooling)
    proof.clears("IngestStreamSilent", "IngestFeedLags", port=plain)

    # Ids are missing while nobody can be asked for them, or for good; frames are broken; connections are cut.
    exchange.inflict(Fault(RestError(503), for_s=15))
    exchange.inflict(Fault(Drop(5), streams="ethusdt@trade"))
    exchange.inflict(Fault(Drop(3), streams="ethusdt@depth@100ms"))
    exchange.inflict(Fault(Garbage("text")))
    proof.fires("IngestGapOpenTooLong", "IngestIdsLost", "IngestDeadLetters", port=plain)
    crash.touch()
    proof.fires("IngestActorRestarting", port=plain)
    for _ in range(12):
        exchange.cut()
        time.sleep(0.7)
    proof.fires("IngestReconnectStorm", port=spooling)
    for port in (plain, spooling):  # the third repairs nothing
        proof.clears("IngestGapOpenTooLong", "IngestIdsLost", "IngestDeadLetters", port=port)
        proof.clears("IngestActorRestarting", "IngestReconnectStorm", port=port)

    # Kafka is gone, and comes back.
    kafka.kill()
    proof.fires("IngestKafkaUnreachable", "IngestNotReady", "IngestBufferNearlyFull", port=plain)
    proof.fires("IngestKafkaUnreachable", "IngestSpooling", "IngestSpoolNearlyFull", port=spooling)
    kafka.restart()
    proof.fires("IngestAckSlow", port=plain)
    proof.clears(
        "IngestKafkaUnreachable", "IngestNotReady", "IngestBufferNearlyFull", "IngestSpooling", "IngestSpoolNearlyFull",
        "IngestAckSlow",
    )  # fmt: skip

    # By now the third one has asked for the time again.
    proof.clears("IngestClockUnknown", within_s=130)
    three.stop()  # its books take all the weight there is, for long after so many cuts
    prometheus.watch(plain, spooling)
    proof.clears("IngestSecondWriter", "IngestRestWeightNearlyUsedUp")

    # A clock that is wrong, and set right while the service runs; a service that dies again and again.
    one.stop()
    clock.step(-3)
    one = serve_plain()
    proof.fires("IngestClockOff", port=plain)
    clock.step(0)
    prometheus.watch(plain, spooling, third)
    seen = set()
    for life in range(4):
        lived = serve_third()
        deadline = time.monotonic() + 30
        began = f'process_start_time_seconds{{instance="127.0.0.1:{third}"}}'
        while not (found := prometheus.query(began)) or found[0]["value"][1] in seen:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        seen.add(found[0]["value"][1])
        if life < 3:
            os.kill(lived.pid, signal.SIGKILL)
            lived.end()
    proof.fires("IngestRestartsAgainAndAgain", port=third)
    proof.clears("IngestRestartsAgainAndAgain", port=third)
    proof.clears("IngestClockOff", port=plain, within_s=130)
    proof.all_quiet((plain, spooling))
    two.stop()

    log.info("fired and cleared: %s", ", ".join(sorted(proof.cleared)))
    assert proof.fired == proof.cleared == set(NAMES) - set(UNIT_TESTED_ALONE)
