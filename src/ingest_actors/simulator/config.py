"""What a simulated exchange is started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ingest_actors.simulator.faults import FaultScript
from ingest_actors.simulator.market.symbol_names import DEFAULT_SYMBOLS

AtEnd = Literal["stay", "close", "loop"]
"""After the last frame of a recording: keep silent, close the connections with 1001, or begin again."""

StartWhen = Literal["settled", "first", "all"]
"""When a recording begins: see `ingest_actors.simulator.playback`."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the exchange enforces. The defaults are the real exchange's figures (spot, 2026).

    Attributes:
        ping_interval_s: time between the server's pings, seconds.
        pong_timeout_s: a ping without its pong closes the connection after this many seconds, with 1008.
        messages_per_s: pings, pongs and control messages that a client may send within any second.
        streams_max: subscriptions of one connection.
        control_bytes_max: how much of one control message is read, bytes.
        handshakes_max: connection attempts of one address within `handshake_window_s` seconds.
        handshake_window_s: see `handshakes_max`.
        lifetime_s: age at which a connection is closed with 1001, seconds.
        outbox_bytes_max: data waiting for a reader beyond which a reader of the live market is cut off, bytes.
        weight_per_minute: REST weight that one address may use within a minute of the clock.
        raw_requests_max: REST requests that one address may make within five minutes of the clock.
        flat_errors: errors of the control protocol as flat objects, as the documents print them, instead of nested.
        close_on_bad_request: close after an error of code 2 or 3 instead of going on.
        abrupt_end: end a connection that is too old without a close frame, instead of with 1001.
        refuse_bad_time_unit: answer an unknown `timeUnit` with HTTP 400 instead of taking it for milliseconds.
    """

    ping_interval_s: float = 20.0
    pong_timeout_s: float = 60.0
    messages_per_s: int = 5
    streams_max: int = 1024
    control_bytes_max: int = 4096
    handshakes_max: int = 300
    handshake_window_s: float = 300.0
    lifetime_s: float = 86_400.0
    outbox_bytes_max: int = 8 * 1024 * 1024
    weight_per_minute: int = 6000
    raw_requests_max: int = 300_000
    flat_errors: bool = False
    close_on_bad_request: bool = False
    abrupt_end: bool = False
    refuse_bad_time_unit: bool = True


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """A simulated exchange.

    Attributes:
        host: address to listen at.
        ws_port: port of the WebSocket server; 0 = any free one; None = no server (`serve_stream` works all the same).
        rest_port: likewise for REST (`rest_app` works all the same).
        symbols: what is traded, later ones less busily; `ingest_actors.simulator.invent_symbols` makes any number;
            ignored with a recording.
        quiet: further symbols, in status ``TRADING``, in which nothing ever happens.
        seed: two markets with the same seed, symbols and start do exactly the same.
        speed: seconds of market or recording a second of the clock; 0 = as fast as the readers take it.
        activity: how busy the market is; 1 = a few hundred events a second for the five default symbols.
        start_ms: the market's time at the start, ms since the epoch; None = now.
        tick_s: how often what is due is sent, seconds of the clock.
        book_levels: price levels a side of the busiest symbol's book, about.
        history: how many trades, and how many aggregate trades, of a symbol REST remembers.
        rest_lag_s: how far the newest trades and aggregate trades in REST lag behind the stream, seconds of the market.
        orders_per_block: one block trade in about so many orders of a symbol; 0 = none.
        old_trade_schema: the stream `trade` carries order ids (`b`, `a`) as until June 2024.
        extra_fields: every event of the market has further keys that no client knows.
        recording: files to serve instead of a market, one after the other.
        at_end: what happens after the last frame of a recording.
        start_when: when a recording begins.
        faults: what goes wrong; a list of faults becomes a script. See `ingest_actors.simulator.faults`.
        tls: serve `wss://` and `https://` with a throw-away certificate authority (extra ``[simulator-tls]``).
        frame_per_record: send each frame by itself: with TLS a record of its own, about as the exchange does.
        limits: what the exchange enforces.

    Raises:
        ValueError: one name or file where several are meant, or faults that are none; every problem is named.
    """

    host: str = "127.0.0.1"
    ws_port: int | None = 0
    rest_port: int | None = 0
    symbols: tuple[str, ...] = DEFAULT_SYMBOLS
    quiet: tuple[str, ...] = ()
    seed: int = 0
    speed: float = 1.0
    activity: float = 1.0
    start_ms: int | None = None
    tick_s: float = 0.01
    book_levels: int = 400
    history: int = 20_000
    rest_lag_s: float = 0.0
    orders_per_block: int = 20_000
    old_trade_schema: bool = False
    extra_fields: bool = False
    recording: tuple[Path, ...] = ()
    at_end: AtEnd = "stay"
    start_when: StartWhen = "settled"
    faults: FaultScript = field(default_factory=FaultScript)
    tls: bool = False
    frame_per_record: bool = False
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        problems = [
            f"{name} = {value!r}; accepted: several, such as ({value!r},)"
            for name in ("symbols", "quiet", "recording")
            if isinstance(value := getattr(self, name), str | Path)
        ]
        faults: object = self.faults
        if isinstance(faults, list | tuple):
            object.__setattr__(self, "faults", FaultScript(faults))
        elif not isinstance(faults, FaultScript):
            accepted = "a FaultScript, a list of faults, or read_faults(path) for a file"
            problems.append(f"faults = {faults!r}; accepted: {accepted}")
        if problems:
            raise ValueError("; also ".join(problems))
