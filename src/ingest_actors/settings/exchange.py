"""The settings of the exchange's side: what is asked for, from where, and how its connections are kept."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel

from ingest_actors.settings.addresses import base_urls
from ingest_actors.settings.field import Spec
from ingest_actors.settings.values import listed, matching, none_or, number, one_of, optional, size, truth, whole

# Since December 2025 symbols may be non-ASCII, of up to 50 characters (the exchange's change log).
_SYMBOL = matching(r"[\w\-.*?\[\]!]{1,50}", "symbols", upper=True)
_STREAM_TYPE = matching(r"!?[A-Za-z][\w.+:\-]*(@[\w.+:\-]+)*", "stream types")
_BACKFILL = none_or(listed(one_of("trade", "aggTrade"), "series: trade, aggTrade"))


class ExchangeSettings(BaseModel):
    """Names begin with `BINANCE_`, or concern the connections to the exchange."""

    binance_symbols: Annotated[
        tuple[str, ...],
        Spec(
            "Which symbols, in any case. `*` and shell patterns (`*USDT`) expand to the symbols that the exchange lists"
            " as trading.",
            listed(_SYMBOL, "symbols such as BTCUSDT or patterns such as *USDT"),
        ),
    ] = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "ADAUSDT", "XRPUSDT")
    binance_stream_types: Annotated[
        tuple[str, ...],
        Spec(
            "Which streams of each symbol: any public stream suffix; streams of all symbols (`!miniTicker@arr`) too."
            " Two that cannot be told apart in Kafka (`depth` with `depth@100ms`) are refused.",
            listed(_STREAM_TYPE, "stream types such as trade, aggTrade, depth@100ms, kline_1m, !miniTicker@arr"),
        ),
    ] = ("aggTrade", "depth@100ms", "trade", "kline_1m")
    binance_ws_url: Annotated[
        tuple[str, ...],
        Spec(
            "Base of the WebSocket addresses `/ws` and `/stream`; several are used in turn.",
            base_urls("wss", "ws", adds="/ws or /stream"),
        ),
    ] = ("wss://stream.binance.com:9443",)
    binance_rest_url: Annotated[
        tuple[str, ...],
        Spec(
            "Base of the REST addresses `/api/v3/...`; several are used in turn.",
            base_urls("https", "http", adds="/api/v3"),
        ),
    ] = ("https://api.binance.com",)
    reconnect_interval: Annotated[
        float,
        Spec("First delay before a connection is tried again, s; doubles to 5 minutes, with jitter.", number(0.1, 300)),
    ] = 5.0
    max_retries: Annotated[
        int,
        Spec(
            "Failures in a row of one connection, or of reaching Kafka at start, before the service gives up with exit"
            " code 75; `0` = it never does. Only 60 s of data end a row of failures, a handshake does not.",
            whole(0, 1_000_000),
        ),
    ] = 5
    connections_per_stream: Annotated[
        int,
        Spec(
            "`2` = every stream on two connections, on different endpoints if several are given, deduplicated: the loss"
            " of one is not seen in the record.",
            whole(1, 2),
        ),
    ] = 1
    ws_rotate_after_seconds: Annotated[
        float,
        Spec(
            "A connection is replaced, overlapping, before the exchange ends it at 24 h (86400 s); staggered, so that"
            " each is replaced within the last tenth of this time.",
            number(60, 86_340),
        ),
    ] = 82_800.0
    ws_message_max_bytes: Annotated[
        int,
        Spec("A larger message closes the connection with close code 1009.", size(1024, 1024**3), in_bytes=True),
    ] = 4 * 1024**2
    websocket_fast_path: Annotated[
        bool,
        Spec("`false` = messages are cut by trio-websocket alone, for doubt and comparison; slower.", truth()),
    ] = True
    receive_pause_max_ms: Annotated[
        float,
        Spec(
            "The longest that receiving waits for more under a steady flow, ms, to save CPU; `0` = never. The wait"
            " adapts: none below 2,000 messages/s, at most 1 ms up to 10,000, the whole from 20,000 on.",
            number(0, 1000),
        ),
    ] = 1.0
    stream_silence_seconds: Annotated[
        float | None,
        Spec(
            "How long a stream that should flow may be silent, s, before it is subscribed again, then moved to another"
            " connection. By type: trades and klines 300, all others 60. A stream of a symbol with which nothing"
            " happens may be silent for ever; so may `blockTrade` and `referencePrice`.",
            optional(number(1, 86_400)),
            unset="by type",
        ),
    ] = None
    rest_weight_per_minute: Annotated[
        int,
        Spec(
            "REST weight that may be used of the 6,000 a minute that the exchange gives an address: the rest is left to"
            " others on it.",
            whole(1, 6000),
        ),
    ] = 3000
    depth_snapshot_interval_seconds: Annotated[
        float,
        Spec(
            "A book snapshot is written this often, s, so that readers who come late find a book.",
            number(1, 86_400),
        ),
    ] = 3600.0
    depth_snapshot_limit: Annotated[int, Spec("Price levels a side of a book snapshot.", whole(1, 5000))] = 1000
    backfill: Annotated[
        tuple[str, ...],
        Spec(
            "Which series are repaired from REST after a gap; `off` = none.",
            _BACKFILL,
        ),
    ] = ("trade", "aggTrade")
    gap_hold_seconds: Annotated[
        float,
        Spec(
            "How long a gap may hold back its own series while it is being repaired, s; then it is repaired late.",
            number(0, 3600),
        ),
    ] = 10.0
    gap_hold_max_events: Annotated[
        int,
        Spec(
            "How many events of its own series a gap may hold back while it is being repaired.",
            whole(0, 10_000_000),
        ),
    ] = 50_000
    resume_max_age_seconds: Annotated[
        float,
        Spec(
            "A hole older than this, s, is not repaired by a restart: it is journalled as lost, and the service begins"
            " at the live edge.",
            number(0, 604_800),
        ),
    ] = 3600.0
