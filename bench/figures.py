"""Plots of results: one PNG a part, by matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

OURS, OTHERS, FLOOR = "#d9480f", "#6c8ebf", "#adb5bd"
WIDTH_IN, HEIGHT_IN, DPI = 5.0, 3.2, 110


def draw(module: ModuleType, result: Mapping[str, Any], path: Path) -> None:
    """The part's own picture, into a file; the same result gives the same file."""
    import matplotlib as mpl  # noqa: PLC0415 - takes a second, and who measures must not have it in memory

    mpl.use("agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    panels = getattr(module, "PANELS", 1)
    figure, axes = plt.subplots(1, panels, figsize=(WIDTH_IN * panels, HEIGHT_IN), layout="constrained")
    module.plot(result, axes)
    about = result["about"]
    note = f"{about['cpu']}, {about['cores']} cores, Python {about['python']}, {about['at'][:10]}"
    figure.supxlabel(note, fontsize=7, color="#868e96")
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
    plt.close(figure)


def bars(
    axes: Any,
    summary: Mapping[str, Mapping[str, Any]],
    figure: str,
    label: str,
    *,
    ours: Sequence[str] = ("ingest_actors",),
    floors: Sequence[str] = (),
) -> None:
    """A bar for each contestant, the best on top as they come, with lowest and highest as whiskers."""
    names = [name for name in reversed(summary) if figure in summary[name]]
    middle = [summary[name][figure]["median"] for name in names]
    spread = [
        [summary[name][figure]["median"] - summary[name][figure]["min"] for name in names],
        [summary[name][figure]["max"] - summary[name][figure]["median"] for name in names],
    ]
    colours = [OURS if name in ours else FLOOR if name in floors else OTHERS for name in names]
    drawn = axes.barh(names, middle, xerr=spread, color=colours, ecolor="#495057", capsize=2)
    axes.bar_label(
        drawn, [f" {value:,.0f}" if value >= 100 else f" {value:,.2f}" for value in middle], fontsize=7, padding=3
    )
    axes.margins(x=0.18)
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axes.set_xlabel(label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
