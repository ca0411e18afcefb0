"""librdkafka options given by name: `KAFKA_PRODUCER_LINGER_MS=20` is ``linger.ms``.

Options that would break a promise, or that a setting of its own governs, are refused here with the reason. Names and
meanings: librdkafka's CONFIGURATION.md. Whether a name exists at all only librdkafka can say, when a client is made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ingest_actors.settings.field import MASK, shown
from ingest_actors.settings.values import Kind

PREFIXES = {"KAFKA_PRODUCER_": "kafka_producer_options", "KAFKA_CLIENT_": "kafka_client_options"}
"""What the names of such variables begin with, and the field that collects them."""

_SECRET = re.compile(r"pass|pw|secret|token|cred|jaas|sasl|key|pem|oauth", re.IGNORECASE)

_ORDER = "order and once-only delivery rest on it"
_ACCOUNT = "each event is accounted for by its delivery report"
_BOUND = "BUFFER_MAX_BYTES bounds what is held in memory"
_REFUSED = {
    "enable.idempotence": f"{_ORDER}; it follows from KAFKA_ACKS",
    "acks": "use KAFKA_ACKS",
    "request.required.acks": "use KAFKA_ACKS",
    "retries": f"{_ORDER}: librdkafka retries without end; KAFKA_RETRIES counts fresh producers",
    "message.send.max.retries": f"{_ORDER}: librdkafka retries without end; KAFKA_RETRIES counts fresh producers",
    "message.timeout.ms": "a record that is held must never expire: that would lose it in silence",
    "delivery.timeout.ms": "a record that is held must never expire: that would lose it in silence",
    "max.in.flight": _ORDER,
    "max.in.flight.requests.per.connection": _ORDER,
    "queuing.strategy": "records must leave in the order in which they came",
    "partitioner": "a key must lie where Java clients, Spark and Flink look for it",
    "transactional.id": "it follows from INSTANCE_NAME",
    "transaction.timeout.ms": "it follows from KAFKA_DELIVERY",
    "delivery.report.only.error": _ACCOUNT,
    "produce.offset.report": _ACCOUNT,
    "queue.buffering.max.kbytes": _BOUND,
    "queue.buffering.max.messages": _BOUND,
    "queue.buffering.backpressure.threshold": _BOUND,
    "compression.codec": "use KAFKA_COMPRESSION",
    "compression.type": "use KAFKA_COMPRESSION",
    "bootstrap.servers": "use KAFKA_BOOTSTRAP_SERVERS",
    "metadata.broker.list": "use KAFKA_BOOTSTRAP_SERVERS",
    "allow.auto.create.topics": "use KAFKA_CREATE_TOPICS",
    "test.mock.num.brokers": "use KAFKA_BOOTSTRAP_SERVERS=embedded",
    "security.protocol": "use KAFKA_SECURITY_PROTOCOL",
    "sasl.mechanism": "use KAFKA_SASL_MECHANISM",
    "sasl.mechanisms": "use KAFKA_SASL_MECHANISM",
    "sasl.username": "use KAFKA_SASL_USERNAME",
    "sasl.password": "use KAFKA_SASL_PASSWORD or KAFKA_SASL_PASSWORD_FILE",
    "ssl.ca.location": "use KAFKA_SSL_CA_LOCATION",
    "ssl.certificate.location": "use KAFKA_SSL_CERTIFICATE_LOCATION",
    "ssl.key.location": "use KAFKA_SSL_KEY_LOCATION",
    "isolation.level": "only committed records are read",
    "group.id": "the program chooses its own",
    "enable.auto.commit": "the program keeps its own place",
}
_REFUSED_PREFIXES = {"transactional.": "transactions follow from KAFKA_DELIVERY", "delivery.report.": _ACCOUNT}
_CALLBACKS = re.compile(r".*[._]cb|opaque|.*\.opaque")


def option_name(variable: str, prefix: str) -> str:
    """``KAFKA_PRODUCER_LINGER_MS`` → ``linger.ms``."""
    return variable.removeprefix(prefix).lower().replace("_", ".")


def options(prefix: str) -> Kind:
    """A mapping of librdkafka options; `prefix` names them in error texts."""

    def read(value: Any) -> dict[str, str]:
        if not isinstance(value, Mapping):
            raise ValueError("a mapping is wanted")  # noqa: TRY004 - pydantic collects ValueErrors
        return {str(name).lower().replace("_", "."): _text(option) for name, option in value.items()}

    return Kind(read, f"options of librdkafka, as {prefix}<OPTION>")


def option_problems(prefix: str, given: Mapping[str, str]) -> list[str]:
    """What cannot be granted of some options."""
    problems = []
    for name, value in given.items():
        reason = _reason_to_refuse(name)
        if reason is not None:
            variable = prefix + name.upper().replace(".", "_")
            problems.append(f"{variable}={shown(value, secret=is_secret_option(name))}: {name!r} is refused: {reason}")
    return problems


def is_secret_option(name: str) -> bool:
    """Whether an option's value may be a secret; better one too many than one too few."""
    return _SECRET.search(name) is not None


def masked(given: Mapping[str, str]) -> dict[str, str]:
    """Options for showing."""
    return {name: MASK if is_secret_option(name) else value for name, value in given.items()}


def _reason_to_refuse(name: str) -> str | None:
    if _CALLBACKS.fullmatch(name):
        return "the program's own callbacks stand there"
    for prefix, reason in _REFUSED_PREFIXES.items():
        if name.startswith(prefix) and name not in _REFUSED:
            return reason
    return _REFUSED.get(name)


def _text(option: object) -> str:
    return str(option).lower() if isinstance(option, bool) else str(option)
