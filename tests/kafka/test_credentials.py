"""A password that changes in its file: who gets it, and what is told."""

import pytest
from confluent_kafka import KafkaError

from ingest_actors.errors import SettingsError
from ingest_actors.kafka import codes
from ingest_actors.kafka.credentials import Credentials
from ingest_actors.settings import Settings

LOGIN = {
    "kafka_security_protocol": "SASL_SSL", "kafka_sasl_mechanism": "SCRAM-SHA-512", "kafka_sasl_username": "ingest",
}  # fmt: skip


class Client:
    def __init__(self):
        self.given = []

    def set_sasl_credentials(self, username, password):
        self.given.append((username, password))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "password"
    path.write_text("first-secret\n")
    return path


def lines(caplog):
    return [(record.getMessage().split()[0], record.fields) for record in caplog.records]


def test_each_client_gets_the_password_of_now_and_its_change_is_told_once(path, caplog):
    caplog.set_level("INFO", "ingest_actors")
    credentials = Credentials(Settings(**LOGIN, kafka_sasl_password_file=path))
    first, second = Client(), Client()
    credentials.give(first)
    assert lines(caplog) == []
    path.write_text("second-secret")
    credentials.give(first)
    credentials.give(second)
    assert first.given == [("ingest", "first-secret"), ("ingest", "second-secret")]
    assert second.given == [("ingest", "second-secret")]
    assert lines(caplog) == [("kafka_password_changed", {"file": str(path)})]
    assert "secret" not in caplog.text


def test_a_file_that_cannot_be_read_just_now_is_told_once_and_the_former_password_goes_on(path, caplog):
    caplog.set_level("INFO", "ingest_actors")
    credentials = Credentials(Settings(**LOGIN, kafka_sasl_password_file=path))
    client = Client()
    path.unlink()
    for _ in range(3):
        credentials.give(client)
    assert client.given == []
    cause = f"KAFKA_SASL_PASSWORD_FILE={path}: cannot be read: No such file or directory"
    told = ("kafka_password_unreadable", {"cause": cause, "hint": "the former password goes on"})
    assert lines(caplog) == [told]
    path.write_text("second-secret")
    credentials.give(client)
    path.unlink()
    credentials.give(client)
    assert client.given == [("ingest", "second-secret")]
    assert lines(caplog) == [told, ("kafka_password_changed", {"file": str(path)}), told]


def test_a_password_in_the_settings_does_not_change(caplog):
    credentials = Credentials(Settings(**LOGIN, kafka_sasl_password="a-secret"))
    client = Client()
    credentials.give(client)
    assert (client.given, caplog.records) == ([], [])


def test_only_a_refused_login_asks_for_the_password_again():
    assert Credentials.wanted(KafkaError(codes.AUTHENTICATION))
    assert not Credentials.wanted(KafkaError(codes.TRANSPORT))


def test_a_file_that_cannot_be_read_at_the_start_is_a_problem_of_the_settings(path):
    settings = Settings(**LOGIN, kafka_sasl_password_file=path)
    path.unlink()
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        Credentials(settings)
