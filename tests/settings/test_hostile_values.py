"""Settings that nobody means: refused by name in words, at once, and secrets stay secret whatever is wrong."""

from __future__ import annotations

import random

import pytest

from ingest_actors.errors import SettingsError
from ingest_actors.settings import Settings

SECRET = "correct-horse-battery"


@pytest.fixture
def problems():
    def problems_of(**environ) -> str:
        with pytest.raises(SettingsError) as caught:
            Settings.from_env(env_file=None, environ=environ)
        return str(caught.value)

    return problems_of


@pytest.mark.parametrize("scheme", ["BINANCE_WS_URL=wss", "BINANCE_REST_URL=https"])
@pytest.mark.parametrize("host", ["a..b", ".", "x" * 64 + ".com", "a\x1b[31m", "a\x07b", "a\x7fb", "\ud800"])
def test_a_host_that_no_name_can_be_is_refused(problems, scheme, host):
    name, _, protocol = scheme.partition("=")
    assert problems(**{name: f"{protocol}://{host}"}).startswith(name)


@pytest.mark.parametrize("server", ["a\x1b:9092", "a..b:9092", "x" * 64 + ":1", "a\x00:1", "a:\u0661"])
def test_a_broker_that_no_name_can_be_is_refused(problems, server):
    assert problems(KAFKA_BOOTSTRAP_SERVERS=server).startswith("KAFKA_BOOTSTRAP_SERVERS")


@pytest.mark.parametrize("host", ["a..b", "x" * 64])
def test_a_name_to_listen_on_that_none_can_be_is_refused(problems, host):
    assert problems(HTTP_HOST=host).startswith("HTTP_HOST")


@pytest.mark.parametrize("name", ["SPOOL_DIR", "KAFKA_SSL_CA_LOCATION", "KAFKA_SASL_PASSWORD_FILE"])
@pytest.mark.parametrize("path", ["/tmp/\x00x", "~nobody-of-that-name/x"])
def test_a_path_that_is_none_is_refused(problems, name, path):
    assert problems(**{name: path}).startswith(name)


def test_a_program_is_refused_a_path_that_is_none_too():
    with pytest.raises(SettingsError, match="SPOOL_DIR"):
        Settings(spool_dir="/tmp/\x00x")


@pytest.mark.parametrize("name", ["KAFKA_SASL_PASSWORD", "HTTP_TOKEN", "KAFKA_CLIENT_SSL_KEY_PASSWORD", "KAFKA_X\x00"])
def test_a_nul_in_a_file_is_refused_and_not_shown(tmp_path, name):
    path = tmp_path / "settings"
    path.write_text(f"{name}={SECRET}\x00\n")
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(env_file=path, environ={})
    assert SECRET not in str(caught.value)
    assert "\x00" not in str(caught.value)


def test_no_value_of_any_setting_makes_anything_else_than_a_refusal_and_no_secret_is_told():
    rng = random.Random(5)  # seeded: the same values each time
    names = [name.upper() for name in Settings.model_fields if not name.endswith("_options")]
    names += ["KAFKA_PRODUCER_LINGER_MS", "KAFKA_CLIENT_SASL_JAAS_CONFIG"]
    odd = [
        "\x1b[31m",
        "\n",
        "\u202e",
        "../../..",
        "~",
        "~root/../x",
        "9" * 400,
        "-1",
        "1e999",
        "nan",
        "inf",
        "%s%n",
        "${x}",
        "*" * 300,
        "[" * 300,
        ",",
        ",,,",
        "://",
        "wss://",
        "wss://[",
        "wss://@:0/",
        "1.5GiB",
        "\uff11",
        "true",
        "off",
        "'\"",
        "\\",
        "a" * 100_000,
        "a=b",
        "{}",
        "<script>",
        "\ud800",
        "https://x:99999",
        "0",
        " ",
        "http://user:pw@x",
    ]
    for _ in range(400):
        environ = {name: rng.choice(odd) + rng.choice(["", rng.choice(odd)]) for name in rng.sample(names, 3)}
        secrets = [name for name in environ if name.endswith(("PASSWORD", "TOKEN", "JAAS_CONFIG"))]
        environ |= {name: SECRET + environ[name] for name in secrets}
        told, problems = said_of(environ)
        assert SECRET not in told
        assert all(len(problem) < 2500 for problem in problems)


def said_of(environ):
    """All that is told of settings, and what is wrong with them."""
    try:
        settings = Settings.from_env(env_file=None, environ=environ)
    except SettingsError as refused:
        return str(refused), refused.problems
    return repr(settings) + str(settings.describe()), []
