"""Stopped while the exchange sends as fast as it can: what was received is written, or the last line says what not."""

from __future__ import annotations

import logging
import signal
import time

import pytest
from kafka_topics import Topics
from numbered_trades import SYMBOLS, Trades, numbers_of

pytestmark = pytest.mark.broker
log = logging.getLogger(__name__)

SHUTDOWN_S = 10
"""The default of SHUTDOWN_TIMEOUT_SECONDS."""


@pytest.fixture
def loaded(exchange, serve):
    """Starts a service that is fed without end, and waits until much has arrived."""

    def loaded(topics, **settings):
        trades = Trades(SYMBOLS)

        def script(client):
            for chunk in trades.chunks():
                client.send(chunk)

        service = serve(exchange(script).settings, topics.settings, **settings)
        while service.total("delivered") < 20_000:
            time.sleep(0.05)
        return service

    return loaded


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_under_full_load_everything_received_is_written_in_time(loaded, topics, number):
    service = loaded(topics)
    asked_s = time.monotonic()
    service.signal(number)
    assert service.end(SHUTDOWN_S) == 0
    took_s = time.monotonic() - asked_s
    last = service.log()[-1]
    assert (last["event"], last["reason"], last["exit_code"]) == ("service_stopped", "stopped", 0)
    assert (last["unfinished"], last["left"], last["ledger"]["in_flight"]) == ([], {}, 0)
    assert last["ledger"]["received"] == last["ledger"]["delivered"] == topics.count("raw") == topics.count("trades")
    log.info("stopped in %.2f s with %d events delivered", took_s, last["ledger"]["delivered"])
    for role in ("raw", "trades"):
        for numbers in numbers_of(topics.read(role)).values():
            assert numbers == list(range(1, len(numbers) + 1))


def test_stopped_while_kafka_is_away_it_ends_by_the_deadline_and_says_what_is_in_flight(loaded, pausable, topic_prefix):
    topics = Topics(pausable.bootstrap_servers, topic_prefix)
    service = loaded(topics, SHUTDOWN_TIMEOUT_SECONDS="3")
    pausable.pause()
    time.sleep(2)
    asked_s = time.monotonic()
    service.signal(signal.SIGTERM)
    assert service.end(30) == 1
    took_s = time.monotonic() - asked_s
    assert 2.5 < took_s < 3 + 4
    last = service.log()[-1]
    assert (last["event"], last["exit_code"], last["error_type"]) == ("service_stopped", 1, "DrainTimedOut")
    assert "producer" in last["unfinished"]
    ledger = last["ledger"]
    assert ledger["in_flight"] == ledger["received"] - ledger["delivered"] > 0
    assert f"{ledger['in_flight']} events in flight" in last["error"]
    pausable.resume()
    assert ledger["delivered"] <= topics.count("raw") <= ledger["received"]
    for numbers in numbers_of(topics.read("raw")).values():
        assert numbers == list(range(1, len(numbers) + 1))


def test_a_second_signal_under_load_stops_at_once(loaded, pausable, topic_prefix):
    service = loaded(Topics(pausable.bootstrap_servers, topic_prefix), SHUTDOWN_TIMEOUT_SECONDS="600")
    pausable.pause()
    time.sleep(1)
    service.signal(signal.SIGTERM)
    service.wait_for("stop_asked")
    time.sleep(0.5)
    assert service.running
    asked_s = time.monotonic()
    service.signal(signal.SIGTERM)
    assert service.end(30) == 1
    assert time.monotonic() - asked_s < 5
    last = service.log()[-1]
    assert (last["event"], last["reason"], last["exit_code"]) == ("service_stopped", "cancelled", 1)
    assert last["ledger"]["in_flight"] == last["ledger"]["received"] - last["ledger"]["delivered"] > 0
