"""The commands for trying and testing, as people type them."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ingest_actors.commands.output import announce

NODES = (1, 3)
"""Sizes of a development cluster: enough to work with, and enough to lose a node."""


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
        str, typer.Option(help="Symbols of the seeded market, comma-separated.")
    ] = "BTCUSDT,ETHUSDT,BNBUSDT,ADAUSDT,XRPUSDT",
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
    faults: Annotated[
        Path | None, typer.Option(help="Script of what goes wrong, TOML.", exists=True, dir_okay=False)
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", help="wss:// and https:// with a throw-away authority.")] = False,
) -> None:
    """Serve a simulated exchange: real WebSocket and REST servers, a seeded market or a recording.

    Prints one line of JSON as soon as it is ready: `ws_url`, `rest_url`, and `ca_file` with `--tls`.

    For example:

        python -m ingest_actors simulate --seed 7 --symbols BTCUSDT,ETHUSDT --speed 10

        python -m ingest_actors simulate --recording trades.jsonl.gz --ws-port 9443
    """
    from ingest_actors.commands.simulate import run_it  # noqa: PLC0415
    from ingest_actors.simulator import SimulatorConfig  # noqa: PLC0415
    from ingest_actors.simulator.fault_file import read_faults  # noqa: PLC0415
    from ingest_actors.simulator.faults import FaultScript  # noqa: PLC0415

    config = SimulatorConfig(
        host=host, ws_port=ws_port, rest_port=rest_port, symbols=_symbols(symbols), seed=seed, speed=speed,
        activity=activity, start_when=start_when, at_end=at_end,
        recording=tuple(recording or ()), tls=tls, faults=read_faults(faults) if faults else FaultScript(),
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
    names = tuple(filter(None, (symbol.strip().upper() for symbol in given.split(","))))
    if not names:
        raise typer.BadParameter("at least one symbol is needed", param_hint="--symbols")
    return names
