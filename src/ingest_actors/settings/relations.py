"""Settings that are right one by one and wrong together, or that the machine does not bear out.

Each relation is a function from settings to problems. A problem names the fields that it rests on: when one of those
was refused already, the problem is not reported, for it would speak of a value that nobody gave.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ingest_actors.settings.addresses import EMBEDDED

if TYPE_CHECKING:
    from ingest_actors.settings.model import Settings

_SASL_NEEDS_PASSWORD = frozenset({"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"})
_SASL_FIELDS = (
    "kafka_sasl_mechanism", "kafka_sasl_username", "kafka_sasl_password", "kafka_sasl_password_file",
)  # fmt: skip
_SSL_FIELDS = ("kafka_ssl_ca_location", "kafka_ssl_certificate_location", "kafka_ssl_key_location")
_TOPIC_FIELDS = (
    "kafka_topic_raw_events", "kafka_topic_trades", "kafka_topic_depth", "kafka_topic_dead_letters",
    "kafka_topic_gaps", "kafka_topic_state",
)  # fmt: skip


class Problem(NamedTuple):
    """What cannot be, and the fields that it rests on."""

    fields: tuple[str, ...]
    text: str


def problems(settings: Settings) -> Iterator[Problem]:
    """Every relation that does not hold."""
    yield from _topics(settings)
    yield from _delivery(settings)
    yield from _embedded(settings)
    yield from _sasl(settings)
    yield from _password(settings)
    yield from _tls(settings)
    yield from _memory(settings)
    yield from _spool(settings)


def _topics(settings: Settings) -> Iterator[Problem]:
    for first, second in combinations(_TOPIC_FIELDS, 2):
        if getattr(settings, first) == getattr(settings, second):
            yield Problem(
                (first, second),
                f"{second.upper()}={getattr(settings, second)!r}: {first.upper()} has the same value; accepted: a name"
                " of its own for each topic",
            )


def _delivery(settings: Settings) -> Iterator[Problem]:
    if settings.kafka_delivery == "exactly_once" and settings.kafka_acks != "all":
        yield Problem(
            ("kafka_acks", "kafka_delivery"),
            f"KAFKA_ACKS={settings.kafka_acks!r}: KAFKA_DELIVERY=exactly_once needs every replica's word; accepted"
            " with it: all",
        )


def _embedded(settings: Settings) -> Iterator[Problem]:
    if settings.kafka_bootstrap_servers != EMBEDDED:
        return
    if settings.kafka_delivery == "exactly_once":
        yield Problem(
            ("kafka_bootstrap_servers", "kafka_delivery"),
            "KAFKA_BOOTSTRAP_SERVERS='embedded': the in-process cluster shows aborted records, so"
            " KAFKA_DELIVERY=exactly_once cannot hold there; accepted with it: a real Kafka (`dev-broker` starts one)",
        )
    if settings.kafka_security_protocol not in (None, "PLAINTEXT"):
        yield Problem(
            ("kafka_bootstrap_servers", "kafka_security_protocol"),
            f"KAFKA_SECURITY_PROTOCOL={settings.kafka_security_protocol!r}: the in-process cluster speaks PLAINTEXT"
            " alone; accepted with KAFKA_BOOTSTRAP_SERVERS=embedded: leaving it unset",
        )


def _sasl(settings: Settings) -> Iterator[Problem]:
    uses_sasl = (settings.kafka_security_protocol or "").startswith("SASL_")
    given = [name for name in _SASL_FIELDS if getattr(settings, name) is not None]
    if given and not uses_sasl:
        yield Problem(
            (*given, "kafka_security_protocol"),
            f"{', '.join(map(str.upper, given))}: without effect, for KAFKA_SECURITY_PROTOCOL is"
            f" {settings.kafka_security_protocol or 'unset'}; accepted with it: SASL_SSL or SASL_PLAINTEXT",
        )
    if uses_sasl and settings.kafka_sasl_mechanism is None:
        yield Problem(
            ("kafka_sasl_mechanism", "kafka_security_protocol"),
            f"KAFKA_SASL_MECHANISM is unset: KAFKA_SECURITY_PROTOCOL={settings.kafka_security_protocol} needs it;"
            " accepted: one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER",
        )


def _password(settings: Settings) -> Iterator[Problem]:
    has_password = settings.kafka_sasl_password is not None
    file = settings.kafka_sasl_password_file
    if has_password and file is not None:
        yield Problem(
            ("kafka_sasl_password", "kafka_sasl_password_file"),
            "KAFKA_SASL_PASSWORD, KAFKA_SASL_PASSWORD_FILE: both are given; accepted: one of them",
        )
    if settings.kafka_sasl_mechanism in _SASL_NEEDS_PASSWORD:
        needs = f"KAFKA_SASL_MECHANISM={settings.kafka_sasl_mechanism} needs it"
        if settings.kafka_sasl_username is None:
            yield Problem(
                ("kafka_sasl_username", "kafka_sasl_mechanism"),
                f"KAFKA_SASL_USERNAME is unset: {needs}; accepted: a user name",
            )
        if not has_password and file is None:
            yield Problem(
                ("kafka_sasl_password", "kafka_sasl_password_file", "kafka_sasl_mechanism"),
                f"KAFKA_SASL_PASSWORD is unset: {needs}; accepted: a password, or KAFKA_SASL_PASSWORD_FILE",
            )
    if file is not None:
        yield from _unreadable("kafka_sasl_password_file", file)


def _tls(settings: Settings) -> Iterator[Problem]:
    uses_tls = (settings.kafka_security_protocol or "").endswith("SSL")
    given = [name for name in _SSL_FIELDS if getattr(settings, name) is not None]
    if given and not uses_tls:
        yield Problem(
            (*given, "kafka_security_protocol"),
            f"{', '.join(map(str.upper, given))}: without effect, for KAFKA_SECURITY_PROTOCOL is"
            f" {settings.kafka_security_protocol or 'unset'}; accepted with it: SSL or SASL_SSL",
        )
    pair = ("kafka_ssl_certificate_location", "kafka_ssl_key_location")
    missing = [name for name in pair if getattr(settings, name) is None]
    if len(missing) == 1:
        other = next(name for name in pair if name not in missing)
        yield Problem(
            pair,
            f"{missing[0].upper()} is unset: {other.upper()} needs it; accepted: the path of a file that can be read",
        )
    for name in given:
        yield from _unreadable(name, getattr(settings, name))


_LOOKED_AT_BYTES = 64 * 1024
"""To see that something is there: a path may lead to a device without end."""


def _unreadable(field: str, path: Path) -> Iterator[Problem]:
    name = f"{field.upper()}={str(path)!r}"
    try:
        with path.open("rb") as file:
            content = file.read(_LOOKED_AT_BYTES)
    except OSError as error:
        yield Problem((field,), f"{name}: {error.strerror}; accepted: the path of a file that can be read")
    else:
        if not content.strip():
            yield Problem((field,), f"{name}: the file is empty; accepted: the path of a file with something in it")


def _memory(settings: Settings) -> Iterator[Problem]:
    if settings.ws_message_max_bytes > settings.buffer_max_bytes:
        yield Problem(
            ("ws_message_max_bytes", "buffer_max_bytes"),
            f"WS_MESSAGE_MAX_BYTES={settings.ws_message_max_bytes}: one message would not fit in"
            f" BUFFER_MAX_BYTES={settings.buffer_max_bytes}; accepted: at most that much",
        )


def _spool(settings: Settings) -> Iterator[Problem]:
    if settings.spool_dir is None:
        return
    name = f"SPOOL_DIR={str(settings.spool_dir)!r}"
    accepted = "accepted: a directory that can be written, or made"
    there = settings.spool_dir
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    if not there.is_dir():
        yield Problem(("spool_dir",), f"{name}: {there} is no directory; {accepted}")
    elif not os.access(there, os.W_OK | os.X_OK):
        yield Problem(("spool_dir",), f"{name}: {there} cannot be written; {accepted}")
