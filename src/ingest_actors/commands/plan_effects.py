"""What each setting brings about, in a sentence: all of them, those that were not given too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ingest_actors.commands.plan_brokers import Brokers
from ingest_actors.commands.plan_effects_exchange import exchange_effects
from ingest_actors.commands.plan_effects_kafka import kafka_effects
from ingest_actors.commands.plan_effects_service import service_effects
from ingest_actors.commands.plan_figures import Figures
from ingest_actors.settings import Settings
from ingest_actors.settings.field import env_name, spec_of, written
from ingest_actors.settings.options import PREFIXES, masked


@dataclass(frozen=True, slots=True)
class Effect:
    """What one setting, or a few that belong together, bring about.

    Attributes:
        settings: their names in the environment, each with its value; secrets masked, empty when unset.
        given: whether any of them was given, rather than left at its default.
        effect: a sentence.
    """

    settings: dict[str, str]
    given: bool
    effect: str


def effects(settings: Settings, figures: Figures, brokers: Brokers) -> tuple[Effect, ...]:
    """Every setting once, in an order in which they can be read."""

    def told() -> Iterator[Effect]:
        texts = (
            *exchange_effects(settings, figures),
            *kafka_effects(settings, brokers),
            *service_effects(settings),
        )
        for names, effect in texts:
            values: dict[str, str] = {}
            for name in names:
                values |= _values(settings, name)
            yield Effect(values, any(name in settings.model_fields_set for name in names), effect)

    return tuple(told())


def _values(settings: Settings, name: str) -> dict[str, str]:
    """A setting by the name that it has in the environment; options of librdkafka one by one."""
    value = getattr(settings, name)
    for prefix, field in PREFIXES.items():
        if name == field:
            given = {prefix + option.upper().replace(".", "_"): text for option, text in masked(value).items()}
            return given or {f"{prefix}<OPTION>": ""}
    return {env_name(name): written(value, in_bytes=spec_of(type(settings).model_fields[name]).in_bytes)}
