"""From the socket to the broker: how long each message takes at a steady pace, whoever brings it.

    python bench/part_latency.py                  # as `suite.py latency`

The exchange sends at a fixed rate and writes into each message when it did so (`pacing.py`). What is measured is the
time from there until the record can be read from the topic of raw events, by one process that waits there for all
clients alike (`tail.py`); not until the client's own delivery report, for then each would be measured by a clock of
its own, and some look at their reports only now and then. With ``acks=all`` a record becomes readable in the instant
in which it is acknowledged. Timestamps of the broker (``LogAppendTime``) are whole milliseconds, so no use here.

What that costs is shown rather than subtracted: ``librdkafka`` is the producer alone, which stamps its records in the
moment of handing them over; nobody can be faster than that on this machine. As a cross-check of the method, those that
can also tell the time to their own reports: ``told`` in the second table should lie beside ``readable``.

Ours has its hops besides, as ``/metrics`` shows them. Its clock of receipt counts milliseconds, so means are taken:
what is cut off at both ends of a hop is the same on average.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import report
from latency import FLOOR, HOPS, floor, measure
from part import Bench, bar, in_turn, ratio, spreads
from registry import CLIENTS, available

NAME = "latency"
ABOUT = "time from the exchange's send to the record in Kafka, at 1, 10 and 50 k messages/s, and by hop for ours"
PANELS = 2
LINGERS_MS = (0.0, 5.0)
RATES = {1_000.0: 1, 10_000.0: 4, 50_000.0: 1}
"""Messages a second, and in how many rounds: what must be reached is at 10,000."""
BAR_RATE = 10_000.0
CONTESTANTS = ("ingest_actors", "picows", "rust", "go", FLOOR)
SLOW, SLOW_RATE = "naive", 1_000.0
"""It takes no more than that."""
TELLS = {"TELL_LATENCY": "1"}
SETTINGS: Mapping[str, Mapping[str, str]] = {"rust": TELLS, "go": TELLS}
TOLD = {"picows": {**TELLS, "POLL_THREAD": "1"}}
"""Telling costs this one something, so it has runs of its own for that."""
FIGURES = ("median_ms", "p90_ms", "p99_ms", "mean_ms")


def run(bench: Bench) -> dict[str, Any]:
    wanted = [name for name in (*CONTESTANTS, SLOW) if name != FLOOR]
    there, absent = available(tuple(wanted))
    names = [name for name in (*CONTESTANTS, SLOW) if name == FLOOR or name in [client.name for client in there]]
    floor(bench, BAR_RATE, 5.0, 0)  # so that the broker is warm for whoever comes first
    rows = [
        row
        for rate, rounds in RATES.items()
        if rate == BAR_RATE or not bench.quick
        for row in at_rate(bench, [name for name in names if name != SLOW or rate == SLOW_RATE], rate, rounds)
    ]
    crossed = [
        measure(bench, CLIENTS[name], BAR_RATE, linger_ms, 0, settings=settings)
        for name, settings in TOLD.items()
        if name in names
        for linger_ms in LINGERS_MS
    ]
    return {
        "rows": rows,
        "summary": spreads(rows, FIGURES, by="case"),
        "crossed": crossed,
        "absent": absent,
        "bars": bars(rows, absent),
    }


def at_rate(bench: Bench, names: list[str], rate: float, rounds: int) -> Iterable[dict[str, Any]]:
    """All runs at one rate, in turn."""
    cases = {case_of(name, rate, linger): (name, linger) for linger in LINGERS_MS for name in names}
    for number, case in in_turn(list(cases), bench.rounds(rounds)):
        name, linger_ms = cases[case]
        if name == FLOOR:
            row = floor(bench, rate, linger_ms, number)
        else:
            row = measure(bench, CLIENTS[name], rate, linger_ms, number, settings=SETTINGS.get(name, {}))
        yield row | {"case": case}


def case_of(name: str, rate: float, linger_ms: float) -> str:
    """What is compared with what, in words."""
    return f"{name}, {rate:,.0f}/s, linger {linger_ms:g} ms"


def bars(rows: list[dict[str, Any]], absent: Mapping[str, str]) -> list[dict[str, Any]]:
    """What must be reached."""
    found = []
    for linger_ms in LINGERS_MS:
        what = f"median latency at {BAR_RATE:,.0f} messages/s, linger {linger_ms:g} ms: ours against picows"
        if "picows" in absent:
            found.append(bar(what, None, at_most=1.0, why=absent["picows"]))
            continue
        ours, theirs = (case_of(name, BAR_RATE, linger_ms) for name in ("ingest_actors", "picows"))
        found.append(bar(what, ratio(rows, "median_ms", ours, theirs, by="case")["median"], at_most=1.0))
    return found


def table(result: Mapping[str, Any]) -> str:
    """Three tables: all clients; the method's cross-check; ours by hop."""
    summary, rows = result["summary"], result["rows"]
    rates = list(dict.fromkeys(row["rate"] for row in rows))
    head = ["client, linger", *(f"{rate:,.0f}/s: median (spread), 90 %, 99 %" for rate in rates)]
    names = list(dict.fromkeys(row["client"] for row in rows))
    lines = []
    for linger_ms in LINGERS_MS:
        for name in names:
            found = [summary.get(case_of(name, rate, linger_ms)) for rate in rates]
            if any(found):
                lines.append([f"{name}, {linger_ms:g} ms", *(cell(figures) for figures in found)])
    parts = ["Milliseconds from the exchange's send until the record can be read.", report.markdown(head, lines)]
    parts += ["At 10,000/s, medians: readable, and told by the client's own reports.", cross_check(result)]
    parts += ["Ours by hop, means in milliseconds.", hop_table(rows)]
    absent = [f"{name}: {reason}." for name, reason in result["absent"].items()]
    return "\n\n".join([*parts, *(["Not measured here: " + " ".join(absent)] if absent else [])])


def cell(figures: Mapping[str, Mapping[str, float]] | None) -> str:
    if figures is None:
        return "-"
    return ", ".join(
        [report.spread(figures["median_ms"], 1), *(f"{figures[name]['median']:,.1f}" for name in ("p90_ms", "p99_ms"))]
    )


def cross_check(result: Mapping[str, Any]) -> str:
    """Two ways to measure the same run."""
    told = [row for row in (*result["rows"], *result["crossed"]) if row["rate"] == BAR_RATE and "told_ms" in row]
    for row in told:
        row["who"] = f"{row['client']}, {row['linger_ms']:g} ms"
    found = spreads(told, ("median_ms", "told_ms"), by="who")
    lines = [[who, *(report.spread(figures[name], 1) for name in figures)] for who, figures in found.items()]
    return report.markdown(["client, linger", "readable", "told"], lines)


def hop_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Where our time goes."""
    ours = [
        {"who": f"{row['rate']:,.0f}/s, linger {row['linger_ms']:g} ms", "all": row["mean_ms"], **row["hops_mean_ms"]}
        for row in rows
        if "hops_mean_ms" in row
    ]
    found = spreads(ours, (*HOPS, "all"), by="who")
    lines = [[who, *(report.spread(figures[name], 2) for name in figures)] for who, figures in found.items()]
    return report.markdown(["flow", *HOPS.values(), "send to readable"], lines)


def plot(result: Mapping[str, Any], axes: Any) -> None:
    """Medians over the rate, with a whisker up to the 99th percentile; a panel for each linger."""
    rows, summary = result["rows"], result["summary"]
    names = list(dict.fromkeys(row["client"] for row in rows))
    for panel, linger_ms in zip(axes, LINGERS_MS, strict=True):
        for index, name in enumerate(names):
            found = {
                row["rate"]: summary[row["case"]]
                for row in rows
                if row["client"] == name and row["linger_ms"] == linger_ms
            }
            middle = [figures["median_ms"]["median"] for figures in found.values()]
            above = [figures["p99_ms"]["median"] - low for figures, low in zip(found.values(), middle, strict=True)]
            beside = [rate * 1.12 ** (index - len(names) / 2) for rate in found]
            panel.errorbar(beside, middle, yerr=[[0.0] * len(above), above], marker="o", markersize=4, capsize=2,
                           linewidth=2 if name == "ingest_actors" else 1, label=name)  # fmt: skip
        panel.set(xscale="log", yscale="log", xlabel="messages a second", title=f"linger {linger_ms:g} ms")
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_formatter("")
        panel.set_yticks([1, 2, 5, 10, 20, 50, 100, 200, 500])
        panel.xaxis.set_major_formatter("{x:,.0f}")
        panel.set_ylim(0.4, 1000)
        panel.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("ms, median up to 99 %")
    axes[0].legend(fontsize=7)


if __name__ == "__main__":
    import suite

    sys.exit(suite.main([NAME, *sys.argv[1:]]))
