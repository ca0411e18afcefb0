"""The sink that writes to Kafka by librdkafka, one record a topic of each event's route."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import Any

import trio
from confluent_kafka import KafkaError, KafkaException

from ingest_actors.errors import SinkBroken
from ingest_actors.kafka.accepted import Accepted, RecordId
from ingest_actors.kafka.credentials import Credentials
from ingest_actors.kafka.handle import ProducerHandle
from ingest_actors.kafka.health import CONFIRM_S, Health
from ingest_actors.kafka.letters import Letter, wall_clock_ms
from ingest_actors.kafka.limits import Limits
from ingest_actors.kafka.owed import RECORD_FAULTS
from ingest_actors.kafka.recovery import Recovery
from ingest_actors.kafka.replies import Replies
from ingest_actors.kafka.state_writer import StateWriter
from ingest_actors.messages import EventBatch
from ingest_actors.protocols import Acknowledgement, Progress, Refusal, SinkStatus

EVENTS_BETWEEN_YIELDS = 1_000
"""Handing over keeps the loop for about 2.5 ms at most, however large the batch."""

POLL_S_MIN, POLL_S_MAX = 0.001, 0.05
"""While records wait: polled soon after something came, and less and less often when nothing does."""

STEADY_GAP_S_MAX = 0.005
"""While batches are handed over at least this often, handing over polls often enough, and nobody wakes up only to poll:
a wake-up that does nothing else costs as much as twenty records."""

COLLECTED_PAUSE_S = 0.01
"""While whoever hands over collects what is acknowledged as well, nobody else looks for it sooner than so long after:
short enough for the last batches of a flow that stops."""

QUEUE_FULL_POLL_S = 0.005
"""A full queue is at least some ten milliseconds' work for a broker: looking more often only costs."""

RECOVERY_POLL_S = 0.005
IDLE_POLL_S = 1.0
PROBE_TIMEOUT_S = 2.0

CAREFUL_OPTIONS: dict[str, Any] = {
    "max.in.flight.requests.per.connection": 1,
    "linger.ms": 10_000,  # until told to send
    "enable.gapless.guarantee": False,  # it outlives what is refused, since nothing follows behind its back
}
"""For recovery: what is handed over together becomes one request, and the next waits for its answer."""


class LibrdkafkaSink:
    """Fits `ingest_actors.protocols.Sink`; made by `open_sink`.

    The producer's callbacks run inside `accept` and `acknowledged`, on trio's thread, so somebody must always be
    waiting in one of the two. A broker that cannot be reached is no error of the sink: it waits, and `status` says so.

    A batch that was interrupted in `accept` keeps its place; offered again (the same object), it goes on at the record
    where it was. After `reset`, records that are known to be written are not written again when their batch is offered
    again.

    Args:
        make_options: makes librdkafka's options afresh, e.g. with a password that was changed meanwhile; given what
            the topics take.
        limits: what the topics take, as read at start.
        read_limits: asks again.
        letter: makes dead letters of events that the brokers refuse; an event is acknowledged as refused once its
            letter is written. None: whoever offered it sees to that.
        state: the resume state, moved on by what is acknowledged; None: there is none.
        progress: the same, as it was read at start.
        away_s: how long nobody wrote before this sink was opened, seconds; None: nobody ever did, or nobody asked.
        clock_ms: wall clock, ms since the epoch.
        health: judges whether the brokers can be reached.
        credentials: let the producers in when the password has changed.
        bootstrap_servers: where the brokers are, for whoever wants to look in.
        on_close: called at the end of `aclose`.
    """

    def __init__(
        self,
        make_options: Callable[[Limits], dict[str, Any]],
        limits: Limits,
        *,
        read_limits: Callable[[], Awaitable[Limits]],
        letter: Letter | None = None,
        state: StateWriter | None = None,
        progress: Progress[Any] | None = None,
        away_s: float | None = None,
        clock_ms: Callable[[], int] = wall_clock_ms,
        health: Health | None = None,
        credentials: Credentials | None = None,
        bootstrap_servers: str = "",
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.progress = progress
        self.away_s = away_s
        self._replies = None if letter is None else Replies(letter, clock_ms)
        self._state = state
        self._on_close = on_close
        self._make_options = make_options
        self._limits = limits
        self._read_limits_again = read_limits
        self._health = health or Health()
        self._credentials = credentials
        self._handle = self._make_handle(False)  # noqa: FBT003 - also used as a Callable
        self._serial = 0
        self._interrupted: dict[int, Accepted] = {}
        self._order: deque[Accepted] = deque()
        self._failing: list[KafkaError] = []
        self._known: dict[int, tuple[Accepted, list[RecordId]]] = {}
        self._recovery: Recovery | None = None
        self._recovering = trio.Lock()
        self._broken: SinkBroken | None = None
        self._work = trio.Event()
        self._settling = trio.Event()
        self._collected = False  # whether whoever hands over asks for acknowledgements
        self._accepted_at_s = -math.inf
        self._gap_s = 1.0
        self._records: Counter[str] = Counter()
        self._errors = 0
        self._seen: tuple[int, int] | None = None

    async def accept(self, batch: EventBatch) -> None:
        """Hand over a batch; waits while librdkafka's queue is full.

        Cancelled: what was handed over stays so; offer the same object again.

        Raises:
            SinkBroken: see `reset`.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        self._raise_if_broken()
        now_s = trio.current_time()
        self._gap_s += (min(now_s - self._accepted_at_s, 1.0) - self._gap_s) / 8
        self._accepted_at_s = now_s
        accepted = self._interrupted.get(id(batch)) or self._begin(batch)
        if self._state is not None:
            await self._state.begin(batch)
        await self._hand_over(accepted)
        del self._interrupted[id(batch)]
        self._order.append(accepted)
        self._work.set()

    async def acknowledged(self) -> Acknowledgement:
        """Wait until the oldest accepted batch is settled, and the dead letters of what was refused are written.

        Raises:
            SinkBroken: see `reset`.
            SecondWriter: another process with the same `INSTANCE_NAME` was started later.
            SinkUnreachable: a dead letter is refused.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        order = self._order
        state = self._state
        if state is not None:
            state.drive()
        await self._settled(lambda: order[0] if order else None)
        letters = await self._reply(order[0]) if order[0].refused else None
        acknowledgement = self._take_oldest()
        return acknowledgement._replace(letters=letters) if letters else acknowledgement

    def acknowledged_nowait(self) -> Acknowledgement | None:
        """See `ingest_actors.protocols.PromptSink`."""
        self._collected = True
        oldest = self._order[0] if self._order else None
        if oldest is None or not oldest.settled:
            return None
        if oldest.refused or self._in_trouble or self._broken is not None or self._recovery is not None:
            self._settling.set()
            return None
        return self._take_oldest()

    def _take_oldest(self) -> Acknowledgement:
        """The oldest batch is settled."""
        accepted = self._order.popleft()
        self._records.update(accepted.records_by_topic())
        if self._state is not None:
            self._state.acknowledged(accepted.batch)
        return accepted.acknowledgement()

    async def _reply(self, accepted: Accepted) -> EventBatch | None:
        """Write the dead letters of a batch's refused events; cancelled, it goes on when called again."""
        if self._replies is None:
            return None
        while True:
            self._serial += 1
            written = self._replies.to(accepted, self._failing, self._limits, self._serial)
            await self._hand_over(written)
            await self._settled(lambda: written)  # noqa: B023 - it is done when this returns
            if not written.refused:
                self._records.update(written.records_by_topic())
                return self._replies.done(accepted)

    async def _hand_over(self, accepted: Accepted) -> None:
        """Hand over what is left of a batch; waits while the queue is full."""
        while True:
            try:
                if not self._in_trouble:
                    accepted.hand_over(self._handle.produce, EVENTS_BETWEEN_YIELDS)
            except BufferError:
                self._poll()
                await self._breathe(QUEUE_FULL_POLL_S)
                continue
            except KafkaException as error:
                self._not_accepted(accepted, error)
            self._poll(ring=not (self._collected and accepted.complete))
            if self._in_trouble:
                await self._recover()
            elif accepted.complete:
                break
            else:
                await trio.lowlevel.checkpoint()

    async def _settled(self, which: Callable[[], Accepted | None]) -> None:
        """Wait until there is such a batch and it is settled."""
        while True:
            accepted = which()
            if accepted is not None and accepted.settled:
                return
            self._raise_if_broken()
            self._poll()
            if self._state is not None:
                self._state.drive()
            if self._in_trouble:
                await self._recover()
            elif accepted is None or not accepted.settled:
                await self._pause()

    async def reset(self) -> None:
        """Make a fresh producer; every unacknowledged batch is to be offered again, in order.

        What is known to be written is remembered: of a batch that is offered again only the rest is sent. Nothing is
        known of records whose outcome was never told; those may come twice.
        """
        # All this before the producers go: they let go of every record, be it written or not.
        self._known |= {
            id(batch.batch): (batch, sorted({*batch.owed, *batch.remaining()}))
            for batch in (*self._order, *self._interrupted.values())
            if not batch.left
        }
        self._interrupted = {}
        self._order = deque()
        if self._replies is not None:
            self._replies.clear()
        if self._recovery is not None:
            await self._recovery.aclose()
        await self._handle.aclose()
        self._failing = []
        self._recovery = None
        self._broken = None
        self._seen = None
        self._handle = self._make_handle(False)  # noqa: FBT003 - also used as a Callable

    def status(self) -> SinkStatus:
        """A look at the sink; never blocks."""
        batches = self._batches()
        return SinkStatus(
            reachable=self._health.reachable and self._broken is None,
            queue_records=sum(batch.left for batch in batches),
            queue_bytes=sum(batch.batch.size_bytes for batch in batches if not batch.settled),
            errors=self._errors + self._health.errors,
            records=dict(self._records),
            detail=self._health.detail if self._broken is None else str(self._broken),
        )

    async def aclose(self) -> None:
        """Write the last resume state, and let go of the producer and of all that it still holds."""
        try:
            if self._state is not None:
                await self._state.aclose()
        finally:
            if self._recovery is not None:
                await self._recovery.aclose()
            await self._handle.aclose()
            self._on_close()

    def _begin(self, batch: EventBatch) -> Accepted:
        known, todo = self._known.pop(id(batch), (None, None))
        refused = known.refused if known is not None else self._limits.screen(batch)
        self._serial += 1
        accepted = Accepted(batch, self._serial, self._failing, refused=refused, todo=todo)
        self._interrupted[id(batch)] = accepted
        return accepted

    def _not_accepted(self, accepted: Accepted, error: KafkaException) -> None:
        """`produce` itself raised: the producer is finished, or the record cannot be sent by any."""
        kafka_error = error.args[0]
        reason = RECORD_FAULTS.get(kafka_error.code())
        if reason is None:
            self._handle.fail(kafka_error)
        else:
            accepted.refuse(Refusal(accepted.next_position, reason, kafka_error.str()))

    @property
    def _in_trouble(self) -> bool:
        return bool(self._failing) or self._handle.fatal is not None

    def _batches(self) -> list[Accepted]:
        replies = [] if self._replies is None else self._replies.batches
        return sorted([*self._order, *self._interrupted.values(), *replies], key=lambda batch: batch.serial)

    def _raise_if_broken(self) -> None:
        if self._broken is not None:
            raise SinkBroken(self._broken.cause, hint=self._broken.hint)

    def _poll(self, *, ring: bool = True) -> None:
        """Run the callbacks that are due, and tell from the oldest batch whether anything was answered.

        Args:
            ring: wake whoever waits for the oldest batch, if it is settled.
        """
        if self._recovery is not None:
            return  # it polls the producers that there are
        self._handle.poll()
        oldest = self._oldest()
        if ring and oldest is not None and oldest.settled:
            self._settling.set()
        before, self._seen = self._seen, None if oldest is None else (oldest.serial, oldest.left)
        if self._seen is None or self._seen == before:
            return
        if before is None:
            self._health.began()
        elif self._seen[0] != before[0] or self._seen[1] < before[1]:
            self._health.answered()

    def _oldest(self) -> Accepted | None:
        return self._order[0] if self._order else next(iter(self._interrupted.values()), None)

    async def _pause(self) -> None:
        """Wait until polling is worth while again."""
        if self._oldest() is not None:
            pause_s = min(max(self._health.quiet_s() / 4, POLL_S_MIN), POLL_S_MAX)
            if self._gap_s <= STEADY_GAP_S_MAX:
                wait_s = max(COLLECTED_PAUSE_S if self._collected else 0.0, 3 * self._gap_s)
                pause_s = max(pause_s, self._accepted_at_s + wait_s - trio.current_time())
            self._settling = trio.Event()
            self._check_health()
            with trio.move_on_after(pause_s):
                await self._settling.wait()
            return
        if self._health.suspect:
            await self._probe()
        self._work = trio.Event()
        with trio.move_on_after(IDLE_POLL_S):
            await self._work.wait()

    async def _breathe(self, seconds: float) -> None:
        self._check_health()
        await trio.sleep(seconds)

    def _check_health(self) -> None:
        if self._health.quiet_s() > CONFIRM_S:
            self._health.check(sum(batch.left for batch in self._batches()))

    async def _probe(self) -> None:
        """Nothing waits, so no acknowledgement will tell whether the brokers are there: ask them."""
        try:
            await trio.to_thread.run_sync(self._handle.list_topics, PROBE_TIMEOUT_S, abandon_on_cancel=True)
        except KafkaException as error:
            self._health.down(f"no broker answers: {error.args[0].str()}")
        else:
            self._health.answered()

    async def _recover(self) -> None:
        async with self._recovering:
            self._raise_if_broken()
            if not self._in_trouble:
                return  # the other task has done it
            if self._recovery is None:
                self._errors += 1
                self._recovery = Recovery(
                    self._batches(),
                    self._handle,
                    make_handle=self._make_handle,
                    read_limits=self._read_limits,
                    pause=lambda: self._breathe(RECOVERY_POLL_S),
                    answered=self._health.answered,
                    request_bytes_max=lambda: int(self._make_options(self._limits)["batch.size"]),
                )
            try:
                self._handle = await self._recovery.run()
            except SinkBroken as broken:
                self._broken = broken
                raise
            self._recovery = None
            self._seen = None
            self._failing[:] = [error for batch in self._batches() for error in batch.failing]

    def _make_handle(self, careful: bool) -> ProducerHandle:  # noqa: FBT001 - also used as a Callable
        options = self._make_options(self._limits) | (CAREFUL_OPTIONS if careful else {})
        return ProducerHandle(options, self._health.on_error, self._credentials)

    async def _read_limits(self) -> Limits:
        self._limits = await self._read_limits_again()
        return self._limits
