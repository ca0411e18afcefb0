"""The settings of Kafka's side: brokers, topics, delivery, security."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, SecretStr, field_serializer

from ingest_actors.settings.addresses import brokers
from ingest_actors.settings.field import Spec
from ingest_actors.settings.options import masked, options
from ingest_actors.settings.values import matching, minus_one_or, one_of, optional, path, secret, truth, whole

_TOPIC = matching(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}", "a topic name of 1 to 249 letters, digits, '.', '_' and '-'")
_REPLICATION = minus_one_or(whole(1, 100))
_FILE = optional(path("the path of a file that can be read"))
_OPTIONS = (
    "Any other option of librdkafka for {}: `{}LINGER_MS=20` sets `linger.ms`. Refused: what would break a promise."
)


class KafkaSettings(BaseModel):
    """Names begin with `KAFKA_`."""

    kafka_bootstrap_servers: Annotated[
        str,
        Spec(
            "The brokers. `embedded` = librdkafka's in-process cluster, for demos and tests: it holds everything in"
            " memory and keeps about 5 MB a partition.",
            brokers(),
        ),
    ] = "localhost:9092"
    kafka_topic_raw_events: Annotated[str, Spec("Every event; kept for 7 days.", _TOPIC)] = "binance-raw-events"
    kafka_topic_trades: Annotated[str, Spec("aggTrade and trade, key = symbol; kept for 30 days.", _TOPIC)] = (
        "binance-trades"
    )
    kafka_topic_depth: Annotated[str, Spec("Diff depth and book snapshots, key = symbol; kept for 7 days.", _TOPIC)] = (
        "binance-depth"
    )
    kafka_topic_dead_letters: Annotated[
        str, Spec("What could not be parsed or was refused, with the reason; kept for 30 days.", _TOPIC)
    ] = "binance-dead-letters"
    kafka_topic_gaps: Annotated[str, Spec("The gap journal; kept for 30 days.", _TOPIC)] = "binance-gaps"
    kafka_topic_state: Annotated[str, Spec("What a restart resumes from; compacted.", _TOPIC)] = "binance-ingest-state"
    kafka_create_topics: Annotated[
        bool,
        Spec(
            "Whether `run` creates topics that are missing, with their retention. One that exists is never changed.",
            truth(),
        ),
    ] = True
    kafka_topic_partitions: Annotated[int, Spec("Partitions of a topic that is created.", whole(1, 10_000))] = 6
    kafka_topic_replication: Annotated[
        int, Spec("Replicas of a topic that is created; `-1` = the broker's default.", _REPLICATION)
    ] = -1
    kafka_compression: Annotated[
        Literal["none", "gzip", "snappy", "lz4", "zstd"],
        Spec("Codec of what is sent.", one_of("none", "gzip", "snappy", "lz4", "zstd")),
    ] = "snappy"
    kafka_acks: Annotated[
        Literal["all", "1", "0"],
        Spec(
            "Who must have a record before it counts as delivered. Anything but `all` switches idempotence off: records"
            " may be lost or doubled.",
            one_of("all", "1", "0", also={"-1": "all"}),
        ),
    ] = "all"
    kafka_retries: Annotated[
        int,
        Spec(
            "Fatal producer errors in a row, each answered by a fresh producer and the unacknowledged batches again,"
            " before the service stops with exit code 75. Within a producer librdkafka retries without end.",
            whole(0, 1_000_000),
        ),
    ] = 3
    kafka_delivery: Annotated[
        Literal["at_least_once", "exactly_once"],
        Spec(
            "`exactly_once` = transactions that cover all topics and the resume state.",
            one_of("at_least_once", "exactly_once"),
        ),
    ] = "at_least_once"
    kafka_commit_interval_ms: Annotated[
        int,
        Spec(
            "How often a transaction is committed with `KAFKA_DELIVERY=exactly_once`, ms.",
            whole(1, 60_000),
        ),
    ] = 100
    kafka_security_protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] | None,
        Spec(
            "How brokers are talked to, by every client that the program opens.",
            optional(one_of("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")),
            unset="unset (PLAINTEXT)",
        ),
    ] = None
    kafka_sasl_mechanism: Annotated[
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None,
        Spec(
            "How the program proves who it is.",
            optional(one_of("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")),
        ),
    ] = None
    kafka_sasl_username: Annotated[
        str | None, Spec("User name for SASL.", optional(matching(r"\S(.*\S)?", "a user name")))
    ] = None
    kafka_sasl_password: Annotated[
        SecretStr | None, Spec("Password for SASL.", optional(secret("a password")), secret=True)
    ] = None
    kafka_sasl_password_file: Annotated[
        Path | None,
        Spec(
            "File that holds the password for SASL, instead; line breaks at its end do not count. Read again when the"
            " brokers refuse what it held: see `docs/how-to/kafka-security.md`.",
            _FILE,
        ),
    ] = None
    kafka_ssl_ca_location: Annotated[
        Path | None,
        Spec("Certificates of the authorities that are trusted, PEM.", _FILE, unset="unset (the system's)"),
    ] = None
    kafka_ssl_certificate_location: Annotated[
        Path | None, Spec("The program's own certificate, PEM, when brokers ask for one.", _FILE)
    ] = None
    kafka_ssl_key_location: Annotated[Path | None, Spec("The key of that certificate, PEM.", _FILE)] = None
    kafka_producer_options: Annotated[
        dict[str, str],
        Spec(_OPTIONS.format("the producer", "KAFKA_PRODUCER_"), options("KAFKA_PRODUCER_"), secret=True),
    ] = Field(default_factory=dict, repr=False)
    kafka_client_options: Annotated[
        dict[str, str],
        Spec(_OPTIONS.format("all clients", "KAFKA_CLIENT_"), options("KAFKA_CLIENT_"), secret=True),
    ] = Field(default_factory=dict, repr=False)

    @field_serializer("kafka_producer_options", "kafka_client_options")
    def _mask(self, given: dict[str, str]) -> dict[str, str]:
        return masked(given)
