"""Which librdkafka options users may not set through ``KAFKA_PRODUCER_*`` and ``KAFKA_CLIENT_*``, and why.

An option is refused when setting it would break a promise of the product, or when a setting of the product's own says
the same thing: two places to say one thing would sooner or later say two things.
"""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import KafkaException, Producer

_REFUSED = {
    "acks": "use KAFKA_ACKS",
    "auto.offset.reset": "the product decides where it reads from",
    "bootstrap.servers": "use KAFKA_BOOTSTRAP_SERVERS",
    "compression.codec": "use KAFKA_COMPRESSION",
    "compression.type": "use KAFKA_COMPRESSION",
    "delivery.timeout.ms": "records would expire in silence during an outage of the brokers",
    "enable.auto.commit": "the product decides what it has read",
    "enable.gapless.guarantee": "without it records overtake those of a refused request",
    "enable.idempotence": "without it a retry doubles and reorders records; it follows KAFKA_ACKS",
    "isolation.level": "only committed records are read, or an aborted one would count",
    "log.queue": "librdkafka's log lines go where the others go",
    "log_level": "use LOG_LEVEL",
    "max.in.flight": "the order of the records in a partition hangs on it",
    "max.in.flight.requests.per.connection": "the order of the records in a partition hangs on it",
    "message.max.bytes": "it follows max.message.bytes of the topics",
    "message.send.max.retries": "a finite number of retries loses, doubles and reorders records; see KAFKA_RETRIES",
    "message.timeout.ms": "records would expire in silence during an outage of the brokers",
    "metadata.broker.list": "use KAFKA_BOOTSTRAP_SERVERS",
    "opaque": "it is not for configuration",
    "partitioner": "records would not lie where Java's default partitioner puts their key",
    "plugin.library.paths": "foreign code would run inside the client",
    "queue.buffering.max.kbytes": "use BUFFER_MAX_BYTES",
    "queue.buffering.max.messages": "use BUFFER_MAX_BYTES",
    "queuing.strategy": "last in, first out, would turn the order around",
    "request.required.acks": "use KAFKA_ACKS",
    "retries": "a finite number of retries loses, doubles and reorders records; see KAFKA_RETRIES",
    "sasl.mechanism": "use KAFKA_SASL_MECHANISM",
    "sasl.mechanisms": "use KAFKA_SASL_MECHANISM",
    "sasl.password": "use KAFKA_SASL_PASSWORD or KAFKA_SASL_PASSWORD_FILE",
    "sasl.username": "use KAFKA_SASL_USERNAME",
    "security.protocol": "use KAFKA_SECURITY_PROTOCOL",
    "ssl.ca.location": "use KAFKA_SSL_CA_LOCATION",
    "ssl.certificate.location": "use KAFKA_SSL_CERTIFICATE_LOCATION",
    "ssl.key.location": "use KAFKA_SSL_KEY_LOCATION",
}

_REFUSED_PREFIXES = {
    "delivery.report.": "every record is accounted for by what is reported of it",
    "group.": "the product decides how it reads",
    "test.mock.": "use KAFKA_BOOTSTRAP_SERVERS=embedded",
    "transaction.": "use KAFKA_DELIVERY",
    "transactional.": "use KAFKA_DELIVERY and INSTANCE_NAME",
}

_NOT_DOTTED = frozenset({"log_level"})
_SECRET_WORDS = ("pass", "pw", "secret", "token", "cred", "jaas", "sasl", "key", "pem", "oauth")
_MASK = "***"


def option_name(name: str) -> str:
    """Librdkafka's own name of an option written as in the environment: ``LINGER_MS`` is ``linger.ms``."""
    lower = name.strip().lower()
    return lower if lower in _NOT_DOTTED else lower.replace("_", ".")


def is_secret_option(name: str) -> bool:
    """Whether the value of this option must never be shown."""
    return any(word in option_name(name) for word in _SECRET_WORDS)


def option_problems(producer_options: Mapping[str, str], client_options: Mapping[str, str]) -> list[str]:
    """What is wrong with the options that users pass through to librdkafka.

    Args:
        producer_options: from ``KAFKA_PRODUCER_<OPTION>``; names as in the environment or librdkafka's own.
        client_options: from ``KAFKA_CLIENT_<OPTION>``.

    Returns:
        One text for each problem, naming the variable, the value (secrets masked) and the reason; empty when all is
        well. Connects to nobody.
    """
    return [
        problem
        for prefix, options in (("KAFKA_PRODUCER_", producer_options), ("KAFKA_CLIENT_", client_options))
        for name, value in sorted(options.items())
        if (problem := _problem(prefix, option_name(name), value))
    ]


def _problem(prefix: str, name: str, value: str) -> str:
    variable = prefix + name.upper().replace(".", "_")
    secret = is_secret_option(name)
    given = f"{variable}={_MASK if secret else value}"
    reason = _refusal(name)
    if reason:
        return f"{given}: refused, {reason}"
    try:
        # librdkafka checks names and ranges as soon as a client is made; without brokers it connects to nobody.
        Producer({name: value, "log_level": 0})
    except KafkaException as error:
        detail = "" if secret else f": {error.args[0].str()}"
        return f"{given}: librdkafka does not accept it{detail}"
    except (AttributeError, TypeError, ValueError) as error:
        return f"{given}: it is no option that a text can set ({type(error).__name__})"
    return ""


def _refusal(name: str) -> str:
    if name in _REFUSED:
        return _REFUSED[name]
    if name.endswith((".cb", "_cb")) or name == "logger":
        return "it is not for configuration"
    return next((reason for start, reason in _REFUSED_PREFIXES.items() if name.startswith(start)), "")
