"""What `Settings` cannot check by itself, because it takes knowledge of the exchange or of librdkafka.

Every way of starting the service calls this before anything else; none of it needs a network. What the environment
says about proxies is checked here too: it is no setting of ours, but it decides whether the exchange can be reached.
"""

from __future__ import annotations

from ingest_actors.binance.names import stream_type_problems
from ingest_actors.kafka.option_rules import option_problems
from ingest_actors.proxies import Proxies
from ingest_actors.settings import Settings
from ingest_actors.settings.field import env_name, shown, spec_of, written
from ingest_actors.settings.options import PREFIXES

RELOADABLE = frozenset({"binance_symbols", "binance_stream_types", "log_level"})
"""Settings that a running service takes over."""


def start_problems(settings: Settings, *, proxies: Proxies | None = None) -> list[str]:
    """What stands against starting with these settings; empty when nothing does.

    Args:
        settings: to be started with.
        proxies: by which the exchange would be reached; None = as the environment has it now.
    """
    proxies = proxies or Proxies()
    addresses = [*settings.binance_ws_url, *settings.binance_rest_url]
    return [
        *stream_type_problems(settings.binance_stream_types),
        *option_problems(settings.kafka_producer_options, settings.kafka_client_options),
        *proxies.problems(addresses),
    ]


def reload_problems(running: Settings, settings: Settings) -> list[str]:
    """What stands against a running service's taking over other settings; empty when nothing does.

    Args:
        running: what it was started with, or has taken over since.
        settings: what it is to take over.
    """
    accepted = ", ".join(env_name(name) for name in sorted(RELOADABLE))
    problems = []
    for name, field in Settings.model_fields.items():
        if name not in RELOADABLE and getattr(running, name) != getattr(settings, name):
            spec = spec_of(field)
            text = shown(written(getattr(settings, name), in_bytes=spec.in_bytes), secret=spec.secret)
            given = "" if name in PREFIXES.values() else f"={text}"
            problems.append(f"{env_name(name)}{given}: a change of it needs a restart; accepted: changes of {accepted}")
    return [*problems, *start_problems(settings, proxies=Proxies({}))]
