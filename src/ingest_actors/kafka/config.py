"""From the product's settings to librdkafka's options, for every client that the product opens."""

from __future__ import annotations

from collections.abc import Mapping

from ingest_actors.kafka.credentials import read_password
from ingest_actors.kafka.option_rules import is_secret_option, option_name, option_problems
from ingest_actors.settings import Settings

__all__ = ["client_options", "is_secret_option", "option_problems", "producer_options", "transactional_options"]

Options = dict[str, str | int | float | bool]

LINGER_MS = 5
"""How long a record waits for company. Measured at 10,000 messages/s, two records each: without any wait the broker
takes 62 % of a core and the client 36 %; with 5 ms they take 33 % and 26 %, and acknowledgements come 5 ms later."""

RECORD_OVERHEAD_BYTES = 250
"""What a queued record costs beside its value: 217 to 243 bytes measured, by the growth of the process."""

MESSAGE_MAX_BYTES_DEFAULT = 1_048_588
"""Kafka's default of the topics' ``max.message.bytes``."""

_BATCH_BYTES_MAX = 1_000_000
_BATCH_HEADROOM_BYTES = 2_048
_LIBRDKAFKA_MESSAGE_BYTES = (1_000, 1_000_000_000)
_LIBRDKAFKA_QUEUE_RECORDS_MAX = 10_000_000


def client_options(settings: Settings, *, bootstrap_servers: str | None = None) -> Options:
    """Options of any client: where the brokers are, and how to be let in. They hold secrets: never print them.

    Args:
        settings: how to connect, and as whom.
        bootstrap_servers: instead of the setting's; for the embedded cluster.

    Raises:
        SettingsError: the password file cannot be read.
    """
    options: Options = {option_name(name): value for name, value in settings.kafka_client_options.items()}
    options.setdefault("client.id", settings.instance_name)
    options.setdefault("socket.keepalive.enable", True)
    options.setdefault("socket.nagle.disable", True)
    # librdkafka's default of 10 s would keep us away from a broker that has long come back.
    options.setdefault("reconnect.backoff.max.ms", 2_000)
    options.setdefault("log.connection.close", False)
    options["bootstrap.servers"] = bootstrap_servers or settings.kafka_bootstrap_servers
    own = {
        "security.protocol": settings.kafka_security_protocol,
        "sasl.mechanism": settings.kafka_sasl_mechanism,
        "sasl.username": settings.kafka_sasl_username,
        "sasl.password": read_password(settings),
        "ssl.ca.location": settings.kafka_ssl_ca_location,
        "ssl.certificate.location": settings.kafka_ssl_certificate_location,
        "ssl.key.location": settings.kafka_ssl_key_location,
    }
    options.update({name: str(value) for name, value in own.items() if value is not None})
    return options


def producer_options(
    settings: Settings,
    *,
    queue_bytes: int,
    message_bytes: tuple[int, int] = (MESSAGE_MAX_BYTES_DEFAULT, MESSAGE_MAX_BYTES_DEFAULT),
    bootstrap_servers: str | None = None,
) -> Options:
    """Options of the producer.

    Args:
        settings: how to connect, and as whom.
        queue_bytes: bound on the memory of records that wait inside librdkafka.
        message_bytes: smallest and largest ``max.message.bytes`` of the topics written to.
        bootstrap_servers: instead of the setting's; for the embedded cluster.
    """
    smallest, largest = message_bytes
    least, most = _LIBRDKAFKA_MESSAGE_BYTES
    options = client_options(settings, bootstrap_servers=bootstrap_servers)
    options["linger.ms"] = LINGER_MS
    options["batch.size"] = _BATCH_BYTES_MAX
    options.update({option_name(name): value for name, value in settings.kafka_producer_options.items()})
    options |= {
        "acks": settings.kafka_acks,
        "compression.type": settings.kafka_compression,
        # As Java's default partitioner for records with a key; those without one are spread.
        "partitioner": "murmur2_random",
        # Nothing expires: what was accepted is kept until it is acknowledged or refused for good.
        "message.timeout.ms": 0,
        # What is written is known without: see `accepted`. Those who want to be told ask for it.
        "delivery.report.only.error": True,
        "retries": 2_147_483_647,
        "message.max.bytes": min(max(largest, least), most),
        # The broker's bound is on a whole batch, so the smallest topic's rules: the batch is one refused request.
        "batch.size": max(min(int(options["batch.size"]), smallest - _BATCH_HEADROOM_BYTES), 1),
        # librdkafka counts payload here and records there; half for each, since each costs memory beside the other.
        "queue.buffering.max.kbytes": max(queue_bytes // 2 // 1024, 1),
        "queue.buffering.max.messages": min(
            max(queue_bytes // 2 // RECORD_OVERHEAD_BYTES, 1), _LIBRDKAFKA_QUEUE_RECORDS_MAX
        ),
    }
    if settings.kafka_acks in ("all", "-1"):
        # Gapless: when a request is refused for good, none that follows may be written before it is dealt with.
        options |= {"enable.idempotence": True, "enable.gapless.guarantee": True}
    else:
        # Without idempotence only one request at a time keeps the order over a retry.
        options |= {"enable.idempotence": False, "max.in.flight.requests.per.connection": 1}
    return options


def transactional_options(
    options: Mapping[str, str | int | float | bool], *, instance: str, timeout_ms: int
) -> Options:
    """Options of a producer that writes in transactions.

    Args:
        options: see `producer_options`.
        instance: `INSTANCE_NAME`; of two producers with the same the later one goes on.
        timeout_ms: how long a transaction may stay open before the broker ends it.
    """
    return {
        **options,
        "transactional.id": transactional_id(instance),
        "transaction.timeout.ms": timeout_ms,
        "enable.gapless.guarantee": False,  # the transaction is aborted instead
    }


def transactional_id(instance: str) -> str:
    """The transactional id of an instance; rights can be given for the prefix, which is its name."""
    return f"{instance}-writer"
