"""The simulated exchange for the tests of anybody's Binance client.

`exchange_in_thread` is for sync, asyncio and any other tests, `open_exchange` for trio's; with pytest, write
``pytest_plugins = ["ingest_actors.testing.fixtures"]`` and take the fixture ``simulated_exchange``. What goes wrong is
told by `FaultScript` and the faults beside it. The docs have a guide: ``docs/how-to/test-your-client.md``.

Needs no pytest; nothing else of the package imports this.
"""

from ingest_actors.simulator.config import Limits as Limits
from ingest_actors.simulator.config import SimulatorConfig as SimulatorConfig
from ingest_actors.simulator.faults import CloseWith as CloseWith
from ingest_actors.simulator.faults import Cut as Cut
from ingest_actors.simulator.faults import CutMidFrame as CutMidFrame
from ingest_actors.simulator.faults import Fault as Fault
from ingest_actors.simulator.faults import FaultScript as FaultScript
from ingest_actors.simulator.faults import HalfOpen as HalfOpen
from ingest_actors.simulator.faults import Mute as Mute
from ingest_actors.simulator.rest_data import AggregateRow as AggregateRow
from ingest_actors.simulator.rest_data import TradeRow as TradeRow
from ingest_actors.testing.exchange import ClientConnection as ClientConnection
from ingest_actors.testing.exchange import Exchange as Exchange
from ingest_actors.testing.exchange import open_exchange as open_exchange
from ingest_actors.testing.oracle import Book as Book
from ingest_actors.testing.threaded import ExchangeFailed as ExchangeFailed
from ingest_actors.testing.threaded import ThreadedExchange as ThreadedExchange
from ingest_actors.testing.threaded import exchange_in_thread as exchange_in_thread
