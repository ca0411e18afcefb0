"""The settings as one frozen object."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ingest_actors.errors import SettingsError
from ingest_actors.settings import relations
from ingest_actors.settings.addresses import EMBEDDED
from ingest_actors.settings.broker import KafkaSettings
from ingest_actors.settings.environment import ENV_FILE, gather, nearest
from ingest_actors.settings.exchange import ExchangeSettings
from ingest_actors.settings.field import env_name, shortened, shown, spec_of, without_credentials, written
from ingest_actors.settings.options import PREFIXES, masked
from ingest_actors.settings.service import ServiceSettings

PROBLEM_CHARACTERS_MAX = 2000
"""Of one problem's text: a value may be very long, and looking for credentials in it takes the square of that."""


class Settings(ServiceSettings, KafkaSettings, ExchangeSettings, BaseSettings):
    """All settings, checked, immutable. Attribute names are the environment's names in lower case.

    `Settings(...)` reads no environment: it takes Python values, and strings as the environment would hold them.
    `Settings.from_env()` reads the environment and a file.

    Raises:
        SettingsError: with every problem at once.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_file=None, hide_input_in_errors=True, validate_default=False
    )

    def __init__(self, **values: Any) -> None:
        _raise_any(self._take(values))

    @classmethod
    def from_env(
        cls,
        env_file: str | Path | None = ENV_FILE,
        environ: Mapping[str, str] | None = None,
        *,
        checks: Sequence[Callable[[Self], Iterable[str]]] = (),
    ) -> Self:
        """Read the environment, then the file for what the environment does not give, then take defaults.

        Args:
            env_file: lines of ``NAME=value``; ``.env`` may be absent, any other file must be there; None = no file.
            environ: the environment; `os.environ` when left out.
            checks: further checks, of what this package knows nothing about; each gets the settings, with defaults in
                the place of values that were refused, and yields problems, which are reported with all others.

        Raises:
            SettingsError: with every problem at once, `checks` included.
        """
        gathered = gather(
            cls.model_fields.keys(), env_file=env_file, environ=os.environ if environ is None else environ
        )
        settings = cls.__new__(cls)
        problems = gathered.problems + settings._take(gathered.values)  # noqa: SLF001 - its own class
        for check in checks:
            problems += check(settings)
        _raise_any(problems)
        return settings

    def replace(self, **values: Any) -> Self:
        """The same settings but for some; checked again."""
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return type(self)(**(given | values))

    def describe(self) -> dict[str, str]:
        """What differs from the defaults, as it would be written in the environment; secrets masked."""
        described = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if name in PREFIXES.values() or value == field.default:
                continue
            spec = spec_of(field)
            described[env_name(name)] = written(value, in_bytes=spec.in_bytes) or "off"
        for prefix, name in PREFIXES.items():
            for option, value in masked(getattr(self, name)).items():
                described[prefix + option.upper().replace(".", "_")] = value
        return described

    def warnings(self) -> list[str]:
        """What is allowed and should be known at start."""
        texts = []
        if self.kafka_acks != "all":
            texts.append(
                f"KAFKA_ACKS={self.kafka_acks}: idempotence is off; records may be lost, doubled or out of order"
            )
        if self.kafka_bootstrap_servers == EMBEDDED:
            texts.append(
                "KAFKA_BOOTSTRAP_SERVERS=embedded: records live in this process's memory, the oldest are dropped beyond"
                " about 5 MB a partition, and all are gone when it ends; for demos and tests only"
            )
        if "spool_max_bytes" in self.model_fields_set and self.spool_dir is None:
            texts.append("SPOOL_MAX_BYTES: no effect without SPOOL_DIR")
        return texts

    @field_validator("*", mode="before")
    @classmethod
    def _read(cls, value: Any, info: ValidationInfo) -> Any:
        assert info.field_name is not None
        return spec_of(cls.model_fields[info.field_name]).kind.read(value)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What a program gives, and nothing else; `from_env` says where the rest comes from."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    def _take(self, values: Mapping[str, Any]) -> list[str]:
        """Set all fields, those that cannot be used to their defaults; returns the problems."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            refused = {str(detail["loc"][0]): detail for detail in error.errors(include_url=False)}
        else:
            refused = {}
        if refused:
            super().__init__(**{name: value for name, value in values.items() if name not in refused})
        problems = [self._refusal(name, values[name], detail) for name, detail in refused.items()]
        problems += [problem.text for problem in relations.problems(self) if refused.keys().isdisjoint(problem.fields)]
        return [without_credentials(problem[:PROBLEM_CHARACTERS_MAX]) for problem in problems]

    @classmethod
    def _refusal(cls, name: str, value: object, detail: Any) -> str:
        field = cls.model_fields.get(name)
        if field is None:
            return f"{env_name(name)}: unknown; {nearest(name, [env_name(known) for known in cls.model_fields])}"
        spec = spec_of(field)
        given = f"{env_name(name)}={shown(value, secret=spec.secret)}"
        reason = "" if spec.secret else shortened(str(detail.get("ctx", {}).get("error", detail["msg"])))
        return f"{given}: {reason}{'; ' if reason else ''}accepted: {spec.kind.accepts}"


def _raise_any(problems: list[str]) -> None:
    if problems:
        raise SettingsError(problems)
