"""The simulated exchange for the tests of anybody's Binance client.

`exchange_in_thread` is for sync, asyncio and any other tests, `open_exchange` for trio's; with pytest, write
``pytest_plugins = ["ingest_actors.testing.fixtures"]`` and take the fixture ``simulated_exchange``. What goes wrong is
told by `FaultScript` and the faults beside it. The docs have a guide: ``docs/how-to/test-your-client.md``.

Needs no pytest; nothing else of the package imports this.
"""

from ingest_actors.simulator.config import Limits as Limits
from ingest_actors.simulator.config import SimulatorConfig as SimulatorConfig
from ingest_actors.simulator.fault_file import read_faults as read_faults
from ingest_actors.simulator.fault_run import Fired as Fired
from ingest_actors.simulator.faults import Action as Action
from ingest_actors.simulator.faults import AddFields as AddFields
from ingest_actors.simulator.faults import CloseWith as CloseWith
from ingest_actors.simulator.faults import Cut as Cut
from ingest_actors.simulator.faults import CutMidFrame as CutMidFrame
from ingest_actors.simulator.faults import DelayReply as DelayReply
from ingest_actors.simulator.faults import Drop as Drop
from ingest_actors.simulator.faults import DropHandshake as DropHandshake
from ingest_actors.simulator.faults import Duplicate as Duplicate
from ingest_actors.simulator.faults import Fault as Fault
from ingest_actors.simulator.faults import FaultScript as FaultScript
from ingest_actors.simulator.faults import Fragment as Fragment
from ingest_actors.simulator.faults import Garbage as Garbage
from ingest_actors.simulator.faults import HalfOpen as HalfOpen
from ingest_actors.simulator.faults import IgnoreClose as IgnoreClose
from ingest_actors.simulator.faults import ListSymbol as ListSymbol
from ingest_actors.simulator.faults import LoseSubscriptions as LoseSubscriptions
from ingest_actors.simulator.faults import Mute as Mute
from ingest_actors.simulator.faults import NoPings as NoPings
from ingest_actors.simulator.faults import NoReply as NoReply
from ingest_actors.simulator.faults import RefuseHandshake as RefuseHandshake
from ingest_actors.simulator.faults import Reorder as Reorder
from ingest_actors.simulator.faults import ReplyError as ReplyError
from ingest_actors.simulator.faults import ResetIds as ResetIds
from ingest_actors.simulator.faults import RestCutShort as RestCutShort
from ingest_actors.simulator.faults import RestError as RestError
from ingest_actors.simulator.faults import RestHang as RestHang
from ingest_actors.simulator.faults import RestLag as RestLag
from ingest_actors.simulator.faults import RestNotJson as RestNotJson
from ingest_actors.simulator.faults import ServerShutdown as ServerShutdown
from ingest_actors.simulator.faults import SetStatus as SetStatus
from ingest_actors.simulator.faults import SilentHandshake as SilentHandshake
from ingest_actors.simulator.faults import Slow as Slow
from ingest_actors.simulator.faults import SlowPongs as SlowPongs
from ingest_actors.simulator.faults import Truncate as Truncate
from ingest_actors.simulator.market.symbol_names import invent_symbols as invent_symbols
from ingest_actors.simulator.rest_data import AggregateRow as AggregateRow
from ingest_actors.simulator.rest_data import TradeRow as TradeRow
from ingest_actors.testing.exchange import ClientConnection as ClientConnection
from ingest_actors.testing.exchange import Exchange as Exchange
from ingest_actors.testing.exchange import open_exchange as open_exchange
from ingest_actors.testing.oracle import Book as Book
from ingest_actors.testing.threaded import ExchangeFailed as ExchangeFailed
from ingest_actors.testing.threaded import ThreadedExchange as ThreadedExchange
from ingest_actors.testing.threaded import exchange_in_thread as exchange_in_thread
