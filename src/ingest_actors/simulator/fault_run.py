"""The faults of one running exchange: its script, what was inflicted since, and what has happened."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import trio

from ingest_actors.errors import SettingsError
from ingest_actors.logs import get_logger
from ingest_actors.simulator.fault_actions import Action
from ingest_actors.simulator.fault_plan import ConnectionFaults
from ingest_actors.simulator.fault_refusals import ListSymbol, ResetIds, RestLag, SetStatus
from ingest_actors.simulator.fault_triggers import Gate, Rule, Trigger, matches
from ingest_actors.simulator.faults import ON_CONNECTIONS, Fault, FaultScript
from ingest_actors.simulator.source import Source

FIRED_MAX = 100_000
"""Faults that are remembered; older ones are forgotten, so that a long run does not fill the memory."""

log = get_logger()


class Fired(NamedTuple):
    """A fault that has happened.

    Attributes:
        time_s: seconds after the exchange opened.
        fault: which.
        connection: to which connection, by number; 0: to none.
    """

    time_s: float
    fault: Fault
    connection: int


class FaultRun:
    """What goes wrong while an exchange runs. To be made when it opens.

    Args:
        script: what goes wrong from the start.
        source: what `reset_ids` and its kin are done to.

    Attributes:
        fired: what has happened, the newest last.

    Raises:
        SettingsError: the script wants something that the source, a recording perhaps, cannot do.
    """

    def __init__(self, script: FaultScript, source: Source) -> None:
        self.fired: deque[Fired] = deque(maxlen=FIRED_MAX)
        self.opened_s = trio.current_time()
        self._seed = script.seed
        self._source = source
        self._count = 0
        self._connection_rules: list[Rule] = []
        self._handshake_gates: list[Gate] = []
        self._rest_gates: list[Gate] = []
        self._market_triggers: list[Trigger] = []
        self._news = trio.lowlevel.ParkingLot()
        self._open: dict[int, tuple[ConnectionFaults, Callable[[], None]]] = {}
        for fault in script.faults:
            rule = self._rule(fault, self.opened_s)
            if fault.action.PLACE in ON_CONNECTIONS:
                self._connection_rules.append(rule)
            else:
                self._add(rule, self.opened_s)

    def inflict(self, fault: Fault) -> None:
        """One more fault, as of now: times and counts begin now.

        Without a trigger it happens at once, to the connections that are open. With one, it befalls later connections
        too, unless it is `at_s`.

        Raises:
            SettingsError: it wants something that the source cannot do, or of a symbol that there is not.
        """
        now_s = trio.current_time()
        rule = self._rule(fault, now_s)
        if fault.action.PLACE == "market" and not fault.trigger:
            self._change_market(fault.action)
            self._note(rule, 0, now_s)
            return
        if fault.action.PLACE not in ON_CONNECTIONS:
            self._add(rule, now_s)
            return
        if fault.trigger not in ("", "at_s"):
            self._connection_rules.append(rule)
        for number, (faults, wake) in list(self._open.items()):
            if fault.befalls(number):
                faults.add(rule, now_s)
                wake()

    def open_connection(self, number: int, wake: Callable[[], None]) -> ConnectionFaults:
        """The faults of a new connection.

        Args:
            number: of the connection.
            wake: called when something new may be due.
        """
        rules = [rule for rule in self._connection_rules if rule.fault.befalls(number)]
        faults = ConnectionFaults(rules, number=number, opened_s=trio.current_time(), note=self._note)
        self._open[number] = faults, wake
        return faults

    def close_connection(self, number: int) -> None:
        """Nothing more can happen to this connection."""
        self._open.pop(number, None)

    def handshake(self, number: int) -> Action | None:
        """What becomes of the handshake of connection `number`."""
        return self._struck([gate for gate in self._handshake_gates if gate.fault.befalls(number)], number)

    def rest(self, endpoint: str) -> Action | None:
        """What becomes of a request of a REST endpoint, such as ``aggTrades``."""
        return self._struck([gate for gate in self._rest_gates if matches(endpoint, gate.fault.endpoints)], 0)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Do to the market what is due, until cancelled."""
        task_status.started()
        while True:
            due_s = min((trigger.next_s for trigger in self._market_triggers), default=math.inf)
            with trio.move_on_at(due_s):
                await self._news.park()
            now_s = trio.current_time()
            for trigger in self._market_triggers:
                while trigger.due(now_s):
                    self._try_market(trigger.rule, now_s)
            self._market_triggers = [trigger for trigger in self._market_triggers if not trigger.over]

    def _rule(self, fault: Fault, origin_s: float) -> Rule:
        self._count += 1
        return Rule(fault, f"{self._seed}/{self._count}", origin_s)

    def _add(self, rule: Rule, now_s: float) -> None:
        place, do = rule.fault.action.PLACE, rule.fault.action.DO
        if (place == "market" or isinstance(rule.fault.action, RestLag)) and do not in self._source.events:
            can = ", ".join(sorted(self._source.events))
            raise SettingsError([f"faults: {do}: not with a recording; accepted: {can}"])
        if place == "market":
            self._market_triggers.append(Trigger(rule, 0, now_s))
            self._news.unpark_all()
        else:
            (self._handshake_gates if place == "handshake" else self._rest_gates).append(Gate(rule, 0, now_s))

    def _struck(self, gates: list[Gate], number: int) -> Action | None:
        now_s = trio.current_time()
        for gate in gates:
            if gate.strikes(now_s):
                self._note(gate.rule, number, now_s)
                return gate.fault.action
        return None

    def _note(self, rule: Rule, number: int, now_s: float) -> None:
        fired = Fired(now_s - self.opened_s, rule.fault, number)
        self.fired.append(fired)
        log.info("fault_happened", do=rule.fault.action.DO, connection=number, time_s=round(fired.time_s, 3))

    def _try_market(self, rule: Rule, now_s: float) -> None:
        try:
            self._change_market(rule.fault.action)
        except SettingsError as error:
            log.warning("fault_not_possible", do=rule.fault.action.DO, problem=str(error))
        else:
            self._note(rule, 0, now_s)

    def _change_market(self, action: Action) -> None:
        if isinstance(action, ResetIds):
            self._source.reset_ids(action.symbol)
        elif isinstance(action, SetStatus):
            self._source.set_status(action.symbol, action.status)
        elif isinstance(action, ListSymbol):
            self._source.list_symbol(action.symbol)
