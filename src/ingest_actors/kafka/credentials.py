"""A password that changes while the program runs: read again from its file when the brokers do not take the old one."""

from __future__ import annotations

from typing import Protocol

from confluent_kafka import KafkaError

from ingest_actors.errors import SettingsError
from ingest_actors.kafka import codes
from ingest_actors.logs import get_logger
from ingest_actors.settings import Settings

log = get_logger()


class Client(Protocol):
    """Any of librdkafka's clients."""

    def set_sasl_credentials(self, username: str, password: str) -> None:
        """What it uses when it has to prove next who it is; connections that stand are left alone."""
        ...


class Credentials:
    """What lets the clients of one service in, now. Nothing is lost by a change: a client keeps all that it holds.

    Args:
        settings: with the user, and the file of the password. A password that stands in the settings themselves
            cannot change without a restart.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known = self._read()
        self._unreadable = ""

    @staticmethod
    def wanted(error: KafkaError) -> bool:
        """Whether a client whose ``error_cb`` is given this should get the password again."""
        return error.code() == codes.AUTHENTICATION

    def give(self, client: Client) -> None:
        """Have a client use the password as it is now. Not from a callback: that would abort the process.

        librdkafka tries again by itself, so the change shows within seconds.
        """
        password = self._read_again()
        if not password or self._settings.kafka_sasl_username is None:
            return  # an empty file is about to be written
        client.set_sasl_credentials(self._settings.kafka_sasl_username, password)
        if password != self._known:
            self._known = password
            log.info("kafka_password_changed", file=str(self._settings.kafka_sasl_password_file))

    def _read(self) -> str | None:
        if self._settings.kafka_sasl_password_file is None:
            return None
        return read_password(self._settings)

    def _read_again(self) -> str | None:
        """The password; None where there is no file, or it cannot be read just now."""
        try:
            password = self._read()
        except SettingsError as error:
            (problem,) = error.problems
            if problem != self._unreadable:
                self._unreadable = problem
                log.warning("kafka_password_unreadable", cause=problem, hint="the former password goes on")
            return None
        self._unreadable = ""
        return password


def read_password(settings: Settings) -> str | None:
    """The password for SASL, of the settings or of the file that they name, as it is now; None: there is none.

    Raises:
        SettingsError: the file cannot be read.
    """
    if settings.kafka_sasl_password is not None:
        return settings.kafka_sasl_password.get_secret_value()
    path = settings.kafka_sasl_password_file
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise SettingsError([f"KAFKA_SASL_PASSWORD_FILE={path}: cannot be read: {reason}"]) from error
