"""librdkafka's own error codes under names without the underscore that it puts before them.

Source: ``rd_kafka_resp_err_t`` in librdkafka's ``rdkafka.h``; negative values never come from a broker.
"""
# ruff: noqa: SLF001 - the underscore belongs to librdkafka's public names

from __future__ import annotations

from confluent_kafka import KafkaError

ALL_BROKERS_DOWN: int = KafkaError._ALL_BROKERS_DOWN
AUTHENTICATION: int = KafkaError._AUTHENTICATION
AUTO_OFFSET_RESET: int = KafkaError._AUTO_OFFSET_RESET
FATAL: int = KafkaError._FATAL
FENCED: int = KafkaError._FENCED
INVALID_ARG: int = KafkaError._INVALID_ARG
INVALID_DIFFERENT_RECORD: int = KafkaError._INVALID_DIFFERENT_RECORD
PARTITION_EOF: int = KafkaError._PARTITION_EOF
PURGE_INFLIGHT: int = KafkaError._PURGE_INFLIGHT
PURGE_QUEUE: int = KafkaError._PURGE_QUEUE
RESOLVE: int = KafkaError._RESOLVE
SSL: int = KafkaError._SSL
TRANSPORT: int = KafkaError._TRANSPORT

CONSEQUENCES = frozenset({PURGE_QUEUE, PURGE_INFLIGHT, FATAL, INVALID_DIFFERENT_RECORD})
"""What is said of records that came back because of others."""
