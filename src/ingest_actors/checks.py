"""What `Settings` cannot check by itself, because it takes knowledge of the exchange or of librdkafka.

Every way of starting the service calls this before anything else; none of it needs a network. What the environment
says about proxies is checked here too: it is no setting of ours, but it decides whether the exchange can be reached.
"""

from __future__ import annotations

from ingest_actors.binance.names import stream_type_problems
from ingest_actors.kafka.option_rules import option_problems
from ingest_actors.proxies import Proxies
from ingest_actors.settings import Settings


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
