"""librdkafka options given by name: `KAFKA_PRODUCER_LINGER_MS=20` is ``linger.ms``.

Only names and secrecy are dealt with here. Which options are refused, and whether librdkafka knows a name at all, is
said by `ingest_actors.kafka.option_rules`, which is part of `ingest_actors.checks`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ingest_actors.settings.field import MASK
from ingest_actors.settings.values import Kind

PREFIXES = {"KAFKA_PRODUCER_": "kafka_producer_options", "KAFKA_CLIENT_": "kafka_client_options"}
"""What the names of such variables begin with, and the field that collects them."""

_SECRET = re.compile(r"pass|pw|secret|token|cred|jaas|sasl|key|pem|oauth", re.IGNORECASE)

_NOT_DOTTED = frozenset({"log_level"})
"""librdkafka's only name with an underscore."""


def option_name(variable: str, prefix: str) -> str:
    """``KAFKA_PRODUCER_LINGER_MS`` → ``linger.ms``."""
    lowered = variable.removeprefix(prefix).lower()
    return lowered if lowered in _NOT_DOTTED else lowered.replace("_", ".")


def options(prefix: str) -> Kind:
    """A mapping of librdkafka options; `prefix` names them in error texts."""

    def read(value: Any) -> dict[str, str]:
        if not isinstance(value, Mapping):
            raise ValueError("a mapping is wanted")  # noqa: TRY004 - what pydantic collects
        return {option_name(str(name), prefix): _text(option) for name, option in value.items()}

    return Kind(read, f"options of librdkafka, as {prefix}<OPTION>")


def is_secret_option(name: str) -> bool:
    """Whether an option's value may be a secret; better one too many than one too few."""
    return _SECRET.search(name) is not None


def masked(given: Mapping[str, str]) -> dict[str, str]:
    """Options for showing."""
    return {name: MASK if is_secret_option(name) else value for name, value in given.items()}


def _text(option: object) -> str:
    return str(option).lower() if isinstance(option, bool) else str(option)
