"""Binance market data into Apache Kafka: every trade once, in order, or the record says what is missing and why.

`python -m ingest_actors` runs the service. In a trio program::

    async with trio.open_nursery() as nursery:
        ingest = await nursery.start(ingest_actors.serve, settings)

General layout: `topology` shows the whole; `actors` are what it wires, on `supervision`; `websocket`, `binance` and
`kafka` are the parts at the edges, which know nothing of each other; `docs/ARCHITECTURE.md` says where to change what.

The names are imported when they are first used: the command line answers `--help` without any of this.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingest_actors.announce import ServiceEvent as ServiceEvent
    from ingest_actors.embedding import AsyncIngest as AsyncIngest
    from ingest_actors.embedding import Ingest as Ingest
    from ingest_actors.embedding import IngestClient as IngestClient
    from ingest_actors.embedding import open_ingest as open_ingest
    from ingest_actors.embedding import serve as serve
    from ingest_actors.errors import ActorFailed as ActorFailed
    from ingest_actors.errors import ExchangeUnreachable as ExchangeUnreachable
    from ingest_actors.errors import IngestError as IngestError
    from ingest_actors.errors import SettingsError as SettingsError
    from ingest_actors.errors import SinkBroken as SinkBroken
    from ingest_actors.errors import SinkUnreachable as SinkUnreachable
    from ingest_actors.kafka.function_sink import FunctionSink as FunctionSink
    from ingest_actors.messages import EventBatch as EventBatch
    from ingest_actors.protocols import Acknowledgement as Acknowledgement
    from ingest_actors.protocols import Refusal as Refusal
    from ingest_actors.protocols import Sink as Sink
    from ingest_actors.protocols import SinkStatus as SinkStatus
    from ingest_actors.settings import Settings as Settings
    from ingest_actors.status import Status as Status
else:
    _HOMES = {
        "ServiceEvent": "announce",
        "AsyncIngest": "embedding",
        "Ingest": "embedding",
        "IngestClient": "embedding",
        "open_ingest": "embedding",
        "serve": "embedding",
        "ActorFailed": "errors",
        "ExchangeUnreachable": "errors",
        "IngestError": "errors",
        "SettingsError": "errors",
        "SinkBroken": "errors",
        "SinkUnreachable": "errors",
        "FunctionSink": "kafka.function_sink",
        "EventBatch": "messages",
        "Acknowledgement": "protocols",
        "Refusal": "protocols",
        "Sink": "protocols",
        "SinkStatus": "protocols",
        "Settings": "settings",
        "Status": "status",
    }
    """Where each public name is at home."""

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_HOMES})
