"""The simulated exchange: a seeded market or a recording behind real WebSocket and REST servers, with faults on demand.

It knows nothing of the rest of the package: whoever writes a client of the exchange can test against it.
"""

from ingest_actors.simulator.config import Limits as Limits
from ingest_actors.simulator.config import SimulatorConfig as SimulatorConfig
from ingest_actors.simulator.exchange import SimulatedExchange as SimulatedExchange
from ingest_actors.simulator.exchange import open_exchange as open_exchange
from ingest_actors.simulator.exchange import run_simulator as run_simulator
from ingest_actors.simulator.faults import Fault as Fault
from ingest_actors.simulator.faults import FaultScript as FaultScript
from ingest_actors.simulator.market.symbol_names import invent_symbols as invent_symbols
