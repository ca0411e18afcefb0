"""Pictures of services of any size, made by the real watch and the real books of gaps."""

from __future__ import annotations

import math

from ingest_actors.binance.absences import Absences
from ingest_actors.binance.findings import Carried
from ingest_actors.binance.gaps import Gap, Reason
from ingest_actors.binance.names import streams_for
from ingest_actors.binance.sequence import Hole
from ingest_actors.binance.stream_table import StreamTable
from ingest_actors.binance.stream_watch import StreamWatch
from ingest_actors.overview import Overview
from ingest_actors.protocols import BrokerStatus, ClientStatus, SinkStatus
from ingest_actors.supervision import Mailbox

TYPES = ("aggTrade", "trade", "depth@100ms", "kline_1m", "bookTicker")
NOW_MS = 1_700_000_100_000
SILENT_FOR_S = 30


def busy_status(*, symbols):
    """A service whose every stream is silent, and each with an open gap."""
    table = StreamTable()
    streams = streams_for([f"S{number}USDT" for number in range(symbols)], TYPES)
    watch = StreamWatch(table, silence_s=10, askable=False)
    for second in range(SILENT_FOR_S):
        watch.begin_look(float(second))
        watch.look(Carried("ws-1", 1, frozenset(streams), frozenset(), reading=True), lambda _: -math.inf)
        watch.end_look()
    absences = Absences(table)
    overview = Overview(
        "binance-ingest",
        mailboxes=(Mailbox("frames", events_max=1, bytes_max=1),),
        streams=watch,
        absences=absences,
        clock_ms=lambda: NOW_MS,
        buffer_bytes_max=1,
        rest_weight_max=1,
        topics=table.topics,
    )
    event_types = {kind.event_type for stream in streams_for(("X",), TYPES) if (kind := table.kind_of_stream(stream))}
    absences.expect(event_types)
    overview.event_types = (*sorted(event_types), "unparsed")
    gaps = [
        Gap(stream, "S", "trade", Hole(1, 5), Reason.DISCONNECTED, NOW_MS - 1000 * age)
        for age, stream in enumerate(streams)
    ]
    overview.gaps = lambda: gaps
    overview.sink = _Sink()
    return overview.status()


class _Sink:
    """As far as it is looked at."""

    def status(self):
        broker = BrokerStatus("1", up=True, rtt_p99_s=0.001, waiting_requests=0)
        client = ClientStatus((broker,), 0, 0, 1, 0)
        return SinkStatus(reachable=True, queue_records=0, queue_bytes=0, errors=0, records={}, client=client)
