"""What the settings of Kafka's side bring about."""

from __future__ import annotations

from collections.abc import Iterator

from ingest_actors.commands.plan_brokers import Brokers
from ingest_actors.kafka.config import LINGER_MS
from ingest_actors.settings import Settings
from ingest_actors.settings.addresses import EMBEDDED


def kafka_effects(settings: Settings, brokers: Brokers) -> Iterator[tuple[tuple[str, ...], str]]:
    """Names of settings that belong together, and what they bring about."""
    yield ("kafka_bootstrap_servers",), _servers(settings, brokers)
    yield (
        ("kafka_security_protocol", "kafka_sasl_mechanism", "kafka_sasl_username", "kafka_sasl_password"),
        _login(settings),
    )
    yield ("kafka_sasl_password_file",), _password_file(settings)
    yield (
        ("kafka_ssl_ca_location", "kafka_ssl_certificate_location", "kafka_ssl_key_location"),
        _certificates(settings),
    )
    yield ("kafka_delivery", "kafka_commit_interval_ms"), _delivery(settings)
    yield ("kafka_acks",), _acks(settings, brokers)
    yield (
        ("kafka_retries",),
        (
            f"{settings.kafka_retries} fatal producer errors in a row are answered by a fresh producer; one more ends"
            " the service with exit code 75. Requests themselves are tried again without end"
        ),
    )
    yield (
        ("kafka_compression",),
        (
            "batches go uncompressed"
            if settings.kafka_compression == "none"
            else "batches are compressed by the program"
        ),
    )
    yield (
        ("kafka_topic_raw_events", "kafka_topic_trades", "kafka_topic_depth"),
        "events; a trade or a book update is in two of them: see the topics",
    )
    yield (
        ("kafka_topic_dead_letters", "kafka_topic_gaps", "kafka_topic_state"),
        "what could not be written or parsed, what is missing and why, and from where a restart goes on",
    )
    yield ("kafka_create_topics", "kafka_topic_partitions", "kafka_topic_replication"), _creation(settings)
    yield ("kafka_producer_options", "kafka_client_options"), _options(settings)


def _servers(settings: Settings, brokers: Brokers) -> str:
    if settings.kafka_bootstrap_servers == EMBEDDED:
        return "a Kafka in this process: its records are gone when it ends"
    if brokers.reachable:
        return f"{brokers.count} broker{'' if brokers.count == 1 else 's'} answer{'s' if brokers.count == 1 else ''}"
    return "not asked" if not brokers.asked else "nobody answers"


def _login(settings: Settings) -> str:
    protocol = settings.kafka_security_protocol or "PLAINTEXT"
    secret = "encrypted" if protocol.endswith("SSL") else "in plain text"
    if not protocol.startswith("SASL_"):
        return f"{secret}, without a login" + ("" if protocol != "SSL" else " but perhaps a certificate")
    who = f"as {settings.kafka_sasl_username} " if settings.kafka_sasl_username else ""
    text = f"{secret}, {who}by {settings.kafka_sasl_mechanism}"
    if settings.kafka_sasl_password is not None:
        return f"{text}; another password needs a restart: KAFKA_SASL_PASSWORD_FILE does not"
    return text


def _password_file(settings: Settings) -> str:
    if settings.kafka_sasl_password_file is None:
        return "no effect: unset"
    return "read again whenever the brokers refuse the password that it held"


def _certificates(settings: Settings) -> str:
    if not (settings.kafka_security_protocol or "").endswith("SSL"):
        return "no effect: no TLS"
    authority = "the authorities in that file" if settings.kafka_ssl_ca_location else "the system's authorities"
    own = "shows a certificate of its own" if settings.kafka_ssl_certificate_location else "shows no certificate"
    return f"trusts {authority}, {own}; read at the start: renewed ones need a restart"


def _delivery(settings: Settings) -> str:
    if settings.kafka_delivery == "exactly_once":
        return (
            f"a transaction every {settings.kafka_commit_interval_ms} ms over all topics and the resume state: after a"
            " crash nothing is missing and nothing is there twice, for consumers that read committed records, which see"
            " events that much later"
        )
    return (
        "nothing is missing after a crash; what was written within about the last second may be there twice."
        " `exactly_once` has it once; the interval has no effect"
    )


def _acks(settings: Settings, brokers: Brokers) -> str:
    if settings.kafka_acks != "all":
        return "idempotence is off: records may be lost, doubled or out of order"
    away = [
        topic.replication - topic.in_sync_min
        for topic in brokers.topics
        if topic.in_sync_min is not None and topic.replication > 0
    ]
    if not away:
        return "a record counts once all replicas in sync have it"
    least = max(min(away), 0)
    return f"a record counts once all replicas in sync have it; {least} of them may be away before writing stops"


def _creation(settings: Settings) -> str:
    if not settings.kafka_create_topics:
        return "nothing is created: a topic that is missing is told at the start, with exit code 75 in the end"
    if settings.kafka_bootstrap_servers == EMBEDDED:
        return "no effect: the embedded Kafka makes its topics by itself"
    replicas = "as many replicas as the brokers' default"
    if settings.kafka_topic_replication != -1:
        replicas = f"{settings.kafka_topic_replication} replicas"
    return f"topics that are missing get {settings.kafka_topic_partitions} partitions and {replicas}; others stay"


def _options(settings: Settings) -> str:
    linger = settings.kafka_producer_options.get("linger.ms", str(LINGER_MS))
    count = len(settings.kafka_producer_options) + len(settings.kafka_client_options)
    given = "librdkafka's own defaults, but for what the promises need"
    if count:
        given = f"{count} option{'' if count == 1 else 's'} of librdkafka beside what the promises need"
    return f"{given}; a record waits {linger} ms for company before it is sent"
