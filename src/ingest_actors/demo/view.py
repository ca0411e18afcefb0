"""What the demo's screen shows, made from a `Status`: no clock, no terminal, nothing that waits."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final, NamedTuple

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ingest_actors.demo.ledger_table import verdict
from ingest_actors.status import Status

RATE_WINDOW_MS: Final = 3000
"""Rates are taken over this long: short enough to be live, long enough to be read."""

BAR_CELLS: Final = 20


class Addresses(NamedTuple):
    """Where everything listens."""

    ws_url: str
    rest_url: str
    bootstrap_servers: str
    http_url: str


class RateMeter:
    """Events received a second by event type, over the last `RATE_WINDOW_MS`."""

    def __init__(self) -> None:
        self._seen: deque[tuple[int, dict[str, int]]] = deque()

    def update(self, status: Status) -> Mapping[str, float]:
        """Take note of a status; the rates as of it."""
        received = {event_type: entry.received for event_type, entry in status.ledger.items()}
        self._seen.append((status.at_ms, received))
        while len(self._seen) > 2 and status.at_ms - self._seen[1][0] >= RATE_WINDOW_MS:  # noqa: PLR2004 - two ends
            self._seen.popleft()
        since_ms, before = self._seen[0]
        span_s = (status.at_ms - since_ms) / 1000
        return {
            event_type: (count - before.get(event_type, 0)) / span_s if span_s > 0 else 0.0
            for event_type, count in received.items()
        }


def make_screen(status: Status, rates: Mapping[str, float], addresses: Addresses) -> RenderableType:
    """The whole screen."""
    return Group(
        Text.assemble(("ingest_actors demo", "bold"), "   simulated exchange ─▶ actors ─▶ embedded Kafka"),
        _state(status),
        Text(f"page {addresses.http_url}   Ctrl-C drains, and closes the ledger", style="dim"),
        "",
        _streams(status, rates),
        verdict(status),
        "",
        _mailboxes(status),
        "",
        _looking_in(addresses),
    )


def make_line(status: Status, rates: Mapping[str, float]) -> Text:
    """The same in a line, where nobody looks at a terminal."""
    return Text.assemble(f"{sum(rates.values()):,.0f} events/s; ", verdict(status))


def _state(status: Status) -> Text:
    reasons = status.unready()
    up_s = (status.at_ms - status.started_at_ms) / 1000
    ready = ("ready", "green") if not reasons else ("not ready: " + "; ".join(reasons), "bold red")
    ack = status.tallies.latency["ack"].quantile(0.5)
    text = (
        f"   up {up_s:,.0f} s   {status.connections_open} of {len(status.connections)} connections open,"
        f" {status.streams_wanted} streams   Kafka acknowledges in {'-' if ack is None else f'{ack * 1000:,.1f} ms'}"
    )
    return Text.assemble(ready, text)


def _streams(status: Status, rates: Mapping[str, float]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("event type", no_wrap=True)
    for name in ("received", "events/s", "lag", "delivered", "in flight"):
        table.add_column(name, justify="right", no_wrap=True, min_width=9)
    for event_type, entry in status.ledger.items():
        newest_ms = status.tallies.last_event_ms.get(event_type)
        lag = "-" if newest_ms is None else f"{max(0, status.at_ms - newest_ms) / 1000:,.1f} s"
        table.add_row(
            event_type,
            f"{entry.received:,}",
            f"{rates.get(event_type, 0.0):,.0f}",
            lag,
            f"{entry.delivered:,}",
            f"{entry.in_flight:,}",
        )
    table.add_section()
    total = status.total
    cells = (f"{total.received:,}", f"{sum(rates.values()):,.0f}", "", f"{total.delivered:,}", f"{total.in_flight:,}")
    table.add_row("all", *cells, style="bold")
    return table


def _mailboxes(status: Status) -> Table:
    table = Table.grid(padding=(0, 2))
    for mailbox in status.mailboxes:
        filled = round(min(mailbox.fill_ratio, 1.0) * BAR_CELLS)
        bar = Text.assemble(("█" * filled, "cyan"), ("░" * (BAR_CELLS - filled), "dim"))
        table.add_row(f"mailbox {mailbox.name}", bar, f"{mailbox.events:,} held")
    queue = f"{status.sink.queue_records:,} records"
    topics = ", ".join(f"{topic} {count:,}" for topic, count in sorted(status.sink.records.items()))
    table.add_row("Kafka client", queue, f"acknowledged: {topics or '-'}")
    return table


def _looking_in(addresses: Addresses) -> Table:
    """Any Kafka client will do; these need the least."""
    table = Table.grid(padding=(0, 2))
    servers = addresses.bootstrap_servers
    table.add_row("look in", f"kcat -b {servers} -t binance-trades -C -o beginning")
    table.add_row("", f"or any other Kafka client at {servers}")
    table.add_row("metrics", f"{addresses.http_url}/metrics")
    table.add_row("exchange", f"{addresses.ws_url}/ws/btcusdt@trade   {addresses.rest_url}/api/v3/exchangeInfo")
    return table
