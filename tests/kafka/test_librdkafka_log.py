import logging

import pytest

from ingest_actors.kafka.librdkafka_log import LibrdkafkaLog

LINE = "%s [%s] [thrd:main]: %s"


@pytest.fixture
def levels(caplog):
    """The levels of what was written since."""
    caplog.set_level(logging.DEBUG, "ingest_actors.librdkafka")
    return lambda: [record.levelno for record in caplog.records]


@pytest.mark.parametrize("kind", ["FAIL", "ERROR", "REQTMOUT", "GETPID", "METADATAUPDATE"])
def test_attempts_to_reach_a_broker_do_not_fill_the_log_of_an_outage(levels, kind):
    LibrdkafkaLog().log(logging.ERROR, LINE, kind, "producer-1", "Connection refused")
    assert levels() == [logging.DEBUG]


def test_what_we_bring_about_ourselves_is_not_told(levels):
    LibrdkafkaLog().log(logging.WARNING, LINE, "CONFWARN", "producer-1", "no delivery report")
    LibrdkafkaLog().log(logging.CRITICAL, LINE, "FATAL", "producer-1", "Gap-less ordering guarantee lost")
    assert levels() == []


def test_all_else_keeps_its_level_up_to_the_highest_allowed(levels):
    LibrdkafkaLog().log(logging.WARNING, LINE, "PARTCNT", "producer-1", "partitions changed")
    LibrdkafkaLog(logging.INFO).log(logging.WARNING, LINE, "PARTCNT", "producer-1", "partitions changed")
    assert levels() == [logging.WARNING, logging.INFO]


def test_why_a_transaction_failed_is_remembered_for_whoever_has_to_tell():
    log = LibrdkafkaLog()
    assert log.transaction_error == ""
    log.log(logging.ERROR, "%s [%s] %s", "TXNERR", "writer", "Current transaction failed: Topic authorization failed")
    log.log(logging.ERROR, "%s [%s] %s", "FAIL", "writer", "Disconnected")
    assert log.transaction_error == "Current transaction failed: Topic authorization failed"
