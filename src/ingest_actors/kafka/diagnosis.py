"""What librdkafka's errors mean for the person who has to mend it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from confluent_kafka import KafkaError

from ingest_actors.errors import SinkUnreachable
from ingest_actors.kafka import codes

_CREDENTIALS = "check KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD and KAFKA_SASL_MECHANISM"
_AUTHORITY = "check KAFKA_SSL_CA_LOCATION: it must hold the authority that signed the brokers' certificates"
_NOT_TLS = "the port may not speak TLS: check KAFKA_SECURITY_PROTOCOL and the port"
_IS_TLS = "the port may want TLS or a login (check KAFKA_SECURITY_PROTOCOL), or the brokers are just starting"
_NAME = "check the host names in KAFKA_BOOTSTRAP_SERVERS"
_NOBODY = "check that the brokers run, and host and port in KAFKA_BOOTSTRAP_SERVERS"
_RIGHTS = "ask for the rights DESCRIBE and WRITE on the topic, and CREATE when the program is to create it"
_FILES = "check KAFKA_SSL_CA_LOCATION, KAFKA_SSL_CERTIFICATE_LOCATION and KAFKA_SSL_KEY_LOCATION"


def diagnose(target: str, errors: Sequence[KafkaError], *, settled: bool) -> SinkUnreachable | None:
    """Why the brokers cannot be used, from what ``error_cb`` was given so far.

    Args:
        target: the bootstrap servers.
        errors: in the order in which they came.
        settled: whether errors that may pass have had their time.

    Returns:
        The error to raise; None while there is hope.
    """
    texts = {error.code(): error.str() for error in errors}
    if codes.AUTHENTICATION in texts:
        return SinkUnreachable(
            target, f"the brokers do not let us in: {texts[codes.AUTHENTICATION]}", hint=_CREDENTIALS
        )
    if codes.SSL in texts:
        text = texts[codes.SSL]
        if "verify" in text:
            return SinkUnreachable(target, f"the brokers' certificate is not trusted: {text}", hint=_AUTHORITY)
        return SinkUnreachable(target, f"no TLS with the brokers: {text}", hint=_NOT_TLS)
    return _diagnose_what_may_pass(target, texts) if settled else None


def _diagnose_what_may_pass(target: str, texts: Mapping[int, str]) -> SinkUnreachable | None:
    if codes.RESOLVE in texts:
        return SinkUnreachable(target, f"the name is not known: {texts[codes.RESOLVE]}", hint=_NAME)
    text = texts.get(codes.TRANSPORT, "")
    if "refused" in text:
        return SinkUnreachable(target, f"nothing listens there: {text}", hint=_NOBODY)
    if "SSL" in text:
        return SinkUnreachable(target, f"no TLS with the brokers: {text}", hint=_NOT_TLS)
    if codes.ALL_BROKERS_DOWN in texts:
        # librdkafka tells a connection that is closed at once to its log alone.
        text = text or texts[codes.ALL_BROKERS_DOWN]
        return SinkUnreachable(target, f"they hang up as soon as they are spoken to: {text}", hint=_IS_TLS)
    return None


def refused(target: str, error: KafkaError, *, topic: str = "") -> SinkUnreachable:
    """An error for something that the brokers, or librdkafka, refused to do."""
    about = f"topic {topic}: " if topic else ""
    if error.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED):
        return SinkUnreachable(target, f"{about}not allowed: {error.str()}", hint=_RIGHTS)
    if error.code() == codes.INVALID_ARG:
        return SinkUnreachable(target, f"the client cannot be made: {error.str()}", hint=_FILES)
    return SinkUnreachable(target, f"{about}{error.str()}")


def lacks_right(target: str, topic: str, right: str) -> SinkUnreachable:
    """An error for a topic that we may see but not use."""
    return SinkUnreachable(target, f"topic {topic}: the right {right} is missing", hint=_RIGHTS)
