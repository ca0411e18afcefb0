"""What librdkafka's errors mean for the person who has to mend it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError

from ingest_actors.errors import SinkBroken, SinkUnreachable
from ingest_actors.kafka import codes
from ingest_actors.kafka.tls_trouble import distrust, own_certificate

GUIDE: Final = "docs/how-to/kafka-security.md"

_CREDENTIALS = "check KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD (or its file) and KAFKA_SASL_MECHANISM"
_MECHANISM = "set KAFKA_SASL_MECHANISM to one that the brokers take"
_AUTHORITY = "check KAFKA_SSL_CA_LOCATION: it must hold the authority that signed the brokers' certificates"
_DATES = "renew the brokers' certificates, or mend the clock of this machine"
_NAMES = (
    "the brokers' certificates must be for the names under which they are reached: those in KAFKA_BOOTSTRAP_SERVERS,"
    " and those that they advertise"
)
_LOOK = "the brokers' certificate is not trusted: `python -m ingest_actors plan` looks at it and says why"
_ALERT = "SSL alert number"
"""In librdkafka's text when the other side has refused us: then it is our certificate that it does not like."""

_NO_LOGIN = "the port takes no login: check KAFKA_SECURITY_PROTOCOL and the port"
_OWN_MISSING = "the brokers may want a certificate: set KAFKA_SSL_CERTIFICATE_LOCATION and KAFKA_SSL_KEY_LOCATION"
_OWN = (
    "renew the certificate in KAFKA_SSL_CERTIFICATE_LOCATION, or have it signed by an authority that the brokers trust"
)
_NOT_TLS = "the port may not speak TLS: check KAFKA_SECURITY_PROTOCOL and the port"
_IS_TLS = (
    "the port may want TLS, a login or a certificate (check KAFKA_SECURITY_PROTOCOL), or the brokers are just starting"
)
_NAME = "check the host names in KAFKA_BOOTSTRAP_SERVERS"
_NOBODY = "check that the brokers run, and host and port in KAFKA_BOOTSTRAP_SERVERS"
_RIGHTS = (
    "ask for the right WRITE on the topic (it contains DESCRIBE), and CREATE when the program is to create it;"
    f" {GUIDE} names all of them"
)
_RIGHT_TO_READ = f"ask for the right READ on the topic; {GUIDE} names all of them"
_ID_RIGHTS = f"ask for the right WRITE on the transactional id (it contains DESCRIBE); {GUIDE} names all of them"
_FILES = "check KAFKA_SSL_CA_LOCATION, KAFKA_SSL_CERTIFICATE_LOCATION and KAFKA_SSL_KEY_LOCATION"


class Finding(NamedTuple):
    """What is wrong, in a few words, and what to try."""

    cause: str
    hint: str


def diagnose(
    target: str, errors: Sequence[KafkaError], *, settled: bool, options: Mapping[str, Any] | None = None
) -> SinkUnreachable | None:
    """Why the brokers cannot be used, from what ``error_cb`` was given so far. Blocks for some seconds at most.

    Args:
        target: the bootstrap servers.
        errors: in the order in which they came.
        settled: whether errors that may pass have had their time.
        options: of the client; with them certificates are looked at.

    Returns:
        The error to raise; None while there is hope.
    """
    texts = {error.code(): error.str() for error in errors}
    texts |= {error.code(): error.str() for error in errors if _ALERT in error.str()}  # says more than a mere hang-up
    for code in (codes.AUTHENTICATION, codes.SSL):
        if code in texts:
            found = _for_good(code, texts[code], options or {})
            return SinkUnreachable(target, found.cause, hint=found.hint)
    found_late = _may_pass(texts, options or {}) if settled else None
    return None if found_late is None else SinkUnreachable(target, found_late.cause, hint=found_late.hint)


def hint_of(error: KafkaError) -> str:
    """What to try when a client that was let in reports this; empty when there is nothing but to wait."""
    code, text = error.code(), error.str()
    if code == codes.SSL and "verify failed" in text:
        return _LOOK
    if code in (codes.AUTHENTICATION, codes.SSL):
        return _for_good(code, text, {}).hint
    if _ALERT in text:
        return _OWN
    if code == codes.RESOLVE:
        return _NAME
    return ""


def refused(target: str, error: KafkaError, *, topic: str = "", reading: bool = False) -> SinkUnreachable:
    """An error for something that the brokers, or librdkafka, refused to do."""
    about = f"topic {topic}: " if topic else ""
    if error.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED):
        hint = _RIGHT_TO_READ if reading else _RIGHTS
        return SinkUnreachable(target, f"{about}not allowed: {error.str()}", hint=hint)
    if error.code() == codes.INVALID_ARG:
        return SinkUnreachable(target, f"the client cannot be made: {error.str()}", hint=_FILES)
    return SinkUnreachable(target, f"{about}{error.str()}")


def lacks_right(target: str, topic: str, right: str) -> SinkUnreachable:
    """An error for a topic that we may see but not use."""
    hint = _RIGHT_TO_READ if right == "READ" else _RIGHTS
    return SinkUnreachable(target, f"topic {topic}: the right {right} is missing", hint=hint)


def lacks_id(target: str, name: str, error: KafkaError) -> SinkUnreachable:
    """An error for a transactional id that we may not use."""
    return SinkUnreachable(target, f"transactional id {name}: not allowed: {error.str()}", hint=_ID_RIGHTS)


def broken(cause: str) -> SinkBroken:
    """An error for a sink that must be reset; `cause` is librdkafka's text."""
    hint = ""
    if "Topic authorization failed" in cause:
        hint = _RIGHTS
    elif "Transactional Id authorization failed" in cause:
        hint = _ID_RIGHTS
    return SinkBroken(cause, hint=hint)


def _for_good(code: int, text: str, options: Mapping[str, Any]) -> Finding:
    """What lasts until somebody mends it."""
    if code == codes.AUTHENTICATION:
        hint = _CREDENTIALS
        if "not valid in current SASL state" in text:
            hint = _NO_LOGIN
        elif "Unsupported SASL mechanism" in text:
            hint = _MECHANISM
        return Finding(f"the brokers do not let us in: {text}", hint)
    if "verify failed" in text:
        return _distrusted(text, distrust(text, options))
    if _ALERT in text:
        return _not_taken(text, options)
    return Finding(f"no TLS with the brokers: {text}", _NOT_TLS)


def _distrusted(text: str, why: str) -> Finding:
    hint = _AUTHORITY
    if "expired" in why or "not yet valid" in why:
        hint = _DATES
    elif "mismatch" in why:
        hint = _NAMES
    return Finding(f"the brokers' certificate is not trusted: {_with_place(why, text)}", hint)


def _not_taken(text: str, options: Mapping[str, Any]) -> Finding:
    why = own_certificate(options)
    missing = "ssl.certificate.location" not in options and bool(options)
    what = "the brokers do not take our certificate" if not missing else "the brokers want a certificate of ours"
    return Finding(f"{what}: {_with_place(why, text)}", _OWN_MISSING if missing else _OWN)


def _with_place(why: str, text: str) -> str:
    """A reason with the address that librdkafka's text begins with; that text, when no reason is known."""
    return f"{why} ({text.partition(': ')[0]})" if why else text


def _may_pass(texts: Mapping[int, str], options: Mapping[str, Any]) -> Finding | None:
    if codes.RESOLVE in texts:
        return Finding(f"the name is not known: {texts[codes.RESOLVE]}", _NAME)
    text = texts.get(codes.TRANSPORT, "")
    if "refused" in text:
        return Finding(f"nothing listens there: {text}", _NOBODY)
    if _ALERT in text:
        return _not_taken(text, options)
    if "SSL" in text:
        return Finding(f"no TLS with the brokers: {text}", _NOT_TLS)
    if codes.ALL_BROKERS_DOWN in texts:
        # librdkafka tells a connection that is closed at once to its log alone.
        return Finding(f"they hang up as soon as they are spoken to{f': {text}' if text else ''}", _IS_TLS)
    return None
