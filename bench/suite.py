"""All benches with one command: each part side by side, in alternating runs, into JSON, plots and tables.

    python bench/suite.py                          # everything, about half an hour on two cores
    python bench/suite.py pipeline latency         # these parts
    python bench/suite.py --quick                  # a look at everything, in a few minutes; nothing fit to be quoted
    python bench/suite.py --list                   # the parts and the clients

Nothing is needed but `pip install -e '.[bench,dev-broker]'`; the broker is a real Apache Kafka that is fetched and
started, or yours. cryptofeed is installed into an environment of its own, Rust and Go are
built; where that cannot be done, they do not take part, and the results say why.
Results go to `bench/results/`, from where `report.py` writes the documents' tables; a quick look leaves both alone.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import report
from figures import draw
from harness import BENCH, Failed, machine
from part import Bench
from registry import CLIENTS

ORDER = (
    "receive", "parse", "produce", "pipeline", "delivery", "latency", "cpu", "tls",
    "streams", "memory", "storm", "startup",
)  # fmt: skip
"""As the parts are run and shown; one that is not here comes last."""

RESULTS = BENCH / "results"


def parts() -> dict[str, ModuleType]:
    """Every part there is, by name."""
    names = {path.stem.removeprefix("part_") for path in BENCH.glob("part_*.py")}
    ordered = [name for name in ORDER if name in names] + sorted(names.difference(ORDER))
    return {name: importlib.import_module(f"part_{name}") for name in ordered}


def run_part(module: ModuleType, bench: Bench) -> dict[str, Any]:
    """One part's result, with what it was taken on."""
    about, started_s = machine(), time.monotonic()
    result = module.run(bench)
    seconds = round(time.monotonic() - started_s)
    return {
        "part": module.NAME,
        "about": about | {"kafka": bench.kafka, "quick": bench.quick},
        "seconds": seconds,
    } | result


def keep(result: dict[str, Any], module: ModuleType, directory: Path) -> None:
    """JSON and plot."""
    directory.mkdir(parents=True, exist_ok=True)
    name = result["part"]
    (directory / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    draw(module, result, directory / f"{name}.png")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="parts to run; default: all")
    parser.add_argument("--quick", action="store_true", help="one small run of each contestant")
    parser.add_argument("--pairs", type=int, help="how often each contestant runs; default: as the part says")
    parser.add_argument("--bootstrap-servers", help="brokers to use; default: a dev-broker of its own")
    parser.add_argument("--results", type=Path, help="where results go; default: bench/results, quick ones nowhere")
    parser.add_argument("--list", action="store_true", help="show parts and clients, run nothing")
    options = parser.parse_args(arguments)
    there = parts()
    if unknown := sorted(set(options.parts).difference(there)):
        parser.error(f"no part {', '.join(unknown)}; there are {', '.join(there)}")
    if options.list:
        return show_list(there)
    chosen = {name: there[name] for name in options.parts or there}
    failed: list[str] = []
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as logs:
        directory = options.results or (Path(logs) / "results" if options.quick else RESULTS)
        bench = Bench(Path(logs), options.quick, options.pairs, options.bootstrap_servers)
        try:
            for name, module in chosen.items():
                print(f"\n# {name}: {module.ABOUT}\n", flush=True)
                try:
                    result = run_part(module, bench)
                except Failed as failure:
                    print(f"failed: {failure}", file=sys.stderr, flush=True)
                    failed.append(name)
                    continue
                except Exception:  # noqa: BLE001 - a part that is broken must not cost the others' half hour
                    traceback.print_exc()
                    failed.append(name)
                    continue
                keep(result, module, directory)
                results.append(result)
                print("\n" + report.table(module, result), flush=True)
        finally:
            bench.close()
        print("\n" + report.bars(results))
        if directory == RESULTS:
            report.write_documents(there)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def show_list(there: dict[str, ModuleType]) -> int:
    width = max(map(len, [*there, *CLIENTS]))
    print("parts:")
    for name, module in there.items():
        print(f"  {name.ljust(width)}  {module.ABOUT}")
    print("clients:")
    for name, client in CLIENTS.items():
        print(f"  {name.ljust(width)}  {client.about}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
