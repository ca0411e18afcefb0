"""The commands for trying and testing, as people type them."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ingest_actors.commands.output import announce

NODES = (1, 3)
"""Sizes of a development cluster: enough to work with, and enough to lose a node."""


SYMBOLS_MAX = 20_000
"""Symbols of a simulated market when only their number is given: several times as many as the exchange has."""


def demo(
    *,
    duration: Annotated[
        float | None, typer.Option(help="End after so many seconds of flow; otherwise Ctrl-C ends it.", min=0)
    ] = None,
    symbols: Annotated[
        str, typer.Option(help="Symbols of the simulated market, comma-separated.")
    ] = "BTCUSDT,ETHUSDT,BNBUSDT,ADAUSDT,XRPUSDT",
    activity: Annotated[float, typer.Option(help="How busy the market is; 10 = ten times as busy.", min=0.01)] = 1.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same market.")] = 0,
    http_port: Annotated[
        int, typer.Option(help="Port of health, metrics and page; 0 = any free one.", min=0, max=65535)
    ] = 0,
) -> None:
    """Watch the service at work: a simulated exchange, an embedded Kafka, nothing to install or to start.

    Prints one line of JSON as soon as events flow: `ws_url`, `rest_url`, `bootstrap_servers`, `http_url`; on a terminal
    a live table too. No settings are read. Exit code 0 = it drained, and the ledger balances.

    For example:

        python -m ingest_actors demo

        python -m ingest_actors demo --activity 20 --duration 30
    """
    from ingest_actors.commands.demo import run_it  # noqa: PLC0415
    from ingest_actors.demo import DemoOptions  # noqa: PLC0415

    options = DemoOptions(
        symbols=_symbols(symbols), seed=seed, activity=activity, duration_s=duration, http_port=http_port
    )
    raise typer.Exit(run_it(options, announce))


def simulate(
    *,
    ws_port: Annotated[int, typer.Option(help="Port of the WebSocket server; 0 = any free one.", min=0, max=65535)] = 0,
    rest_port: Annotated[int, typer.Option(help="Port of the REST server; 0 = any free one.", min=0, max=65535)] = 0,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    symbols: Annotated[
        str,
        typer.Option(
            help="Symbols of the seeded market, comma-separated; or how many: the five below and invented ones."
        ),
    ] = "BTCUSDT,ETHUSDT,BNBUSDT,ADAUSDT,XRPUSDT",
    quiet: Annotated[
        str, typer.Option(help="Further symbols, comma-separated, that are listed and in which nothing ever happens.")
    ] = "",
    seed: Annotated[int, typer.Option(help="The same seed gives the same market.")] = 0,
    speed: Annotated[float, typer.Option(help="Seconds of market a second; 0 = as fast as clients read.", min=0)] = 1.0,
    recording: Annotated[
        list[Path] | None,
        typer.Option(help="Serve this recording instead of a market; several one after the other.", exists=True),
    ] = None,
    start_when: Annotated[
        Literal["settled", "first", "all"],
        typer.Option(help="A recording begins when subscriptions have settled, with the first, or with all of them."),
    ] = "settled",
    at_end: Annotated[
        Literal["stay", "close", "loop"],
        typer.Option(help="After a recording: keep silent, close the connections, or begin again."),
    ] = "stay",
    activity: Annotated[float, typer.Option(help="How busy the market is; 10 = ten times as busy.", min=0.01)] = 1.0,
    rest_lag: Annotated[
        float, typer.Option(help="Seconds that trades and aggregates in REST lag behind the streams.", min=0)
    ] = 0.0,
    history: Annotated[
        int, typer.Option(help="How many trades, and how many aggregates, of a symbol REST remembers.", min=1)
    ] = 20_000,
    orders_per_block: Annotated[
        int, typer.Option(help="One block trade in about so many orders of a symbol; 0 = none.", min=0)
    ] = 20_000,
    old_trade_schema: Annotated[
        bool, typer.Option("--old-trade-schema", help="Trades carry order ids (b, a), as until June 2024.")
    ] = False,
    extra_fields: Annotated[
        bool, typer.Option("--extra-fields", help="Every event has further keys that no client knows.")
    ] = False,
    faults: Annotated[
        Path | None,
        typer.Option(
            help="Script of what goes wrong, TOML: cuts, silence, refusals, REST errors; docs/how-to/fault-scripts.md.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", help="wss:// and https:// with a throw-away authority.")] = False,
    frame_per_record: Annotated[
        bool, typer.Option("--frame-per-record", help="With --tls: each frame in a record of its own, as the exchange.")
    ] = False,
) -> None:
    """Serve a simulated exchange: real WebSocket and REST servers, a seeded market or a recording.

    Prints one line of JSON as soon as it is ready: `ws_url`, `rest_url`, and `ca_file` with `--tls`.

    For example:

        python -m ingest_actors simulate --seed 7 --symbols BTCUSDT,ETHUSDT --speed 10

        python -m ingest_actors simulate --symbols 5000 --activity 0.2

        python -m ingest_actors simulate --recording trades.jsonl.gz --ws-port 9443

        python -m ingest_actors simulate --faults faults.toml
    """
    from ingest_actors.commands.simulate import run_it  # noqa: PLC0415
    from ingest_actors.simulator import SimulatorConfig  # noqa: PLC0415
    from ingest_actors.simulator.fault_file import read_faults  # noqa: PLC0415
    from ingest_actors.simulator.faults import FaultScript  # noqa: PLC0415

    config = SimulatorConfig(
        host=host, ws_port=ws_port, rest_port=rest_port, symbols=_symbols(symbols),
        quiet=_names(quiet, "--quiet") if quiet else (), seed=seed, speed=speed, activity=activity,
        rest_lag_s=rest_lag, history=history, orders_per_block=orders_per_block, old_trade_schema=old_trade_schema,
        extra_fields=extra_fields,
        start_when=start_when, at_end=at_end,
        recording=tuple(recording or ()), tls=tls, frame_per_record=frame_per_record,
        faults=read_faults(faults) if faults else FaultScript(),
    )  # fmt: skip
    run_it(config, announce)


def dev_broker(
    port: Annotated[int, typer.Option(help="Port of the first node; 0 = any free one.", min=0, max=65535)] = 9092,
    nodes: Annotated[int, typer.Option(help="How many nodes: 1, or 3 so that one may be lost.")] = 1,
    data_dir: Annotated[
        Path | None, typer.Option(help="Keep the data here; without it they go when the broker ends.", file_okay=False)
    ] = None,
) -> None:
    """Run a real, durable Kafka for development, with nothing installed but the extra `dev-broker`.

    Prints one line of JSON as soon as it serves: `bootstrap_servers`. The first start fetches the broker's jars.

    For example:

        python -m ingest_actors dev-broker

        python -m ingest_actors dev-broker --nodes 3 --port 0 --data-dir ./kafka-data
    """
    if nodes not in NODES:
        raise typer.BadParameter(f"{nodes}; accepted: 1, or 3 so that one may be lost", param_hint="--nodes")

    from ingest_actors.commands.dev_broker import run_it  # noqa: PLC0415

    run_it(port=port, nodes=nodes, data_dir=data_dir, announce=announce)


def _symbols(given: str) -> tuple[str, ...]:
    """Names, or as many names as a number says."""
    from ingest_actors.simulator import invent_symbols  # noqa: PLC0415

    if not given.strip().isdecimal():
        return _names(given, "--symbols")
    number = int(given)
    if not 1 <= number <= SYMBOLS_MAX:
        raise typer.BadParameter(f"{number}; accepted: 1 to {SYMBOLS_MAX}, or names", param_hint="--symbols")
    return invent_symbols(number)


def _names(given: str, option: str) -> tuple[str, ...]:
    from ingest_actors.simulator.market.symbol_names import refused_names  # noqa: PLC0415

    names = tuple(filter(None, (symbol.strip().upper() for symbol in given.split(","))))
    problems = refused_names(names)
    if problems:
        raise typer.BadParameter("; ".join(problems), param_hint=option)
    return names
