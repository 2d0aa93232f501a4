"""The plots: no background and colours of middle brightness, so that they read on light and on dark pages."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from .growth import Curve
from .loops import LOOP_BACKENDS
from .measure import Ratio
from .peers import installed_peers
from .results import Results

if TYPE_CHECKING:
    from .soak import Soak

INK = "#808080"
COLOURS = {
    "interloop": "#e8590c",
    "native": "#7a8794",
    "anyio": "#1c7ed6",
    "quattro": "#2b9348",
    "aiotools": "#ae3ec9",
    "aiologic": "#e0a800",
}
STYLE: dict[Any, Any] = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlesize": "medium",
    "font.size": 9,
    "grid.alpha": 0.3,
    "grid.color": INK,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "savefig.transparent": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "interloop",  # the same results give the same file
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


@contextmanager
def _figure(path: Path, width: float, height: float) -> Generator[Figure]:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        figure.savefig(path, metadata={"Date": None})


def operations_plot(results: Results, loop: str, path: Path) -> None:
    """A bar for each operation and library: its time by that of the native code."""
    peers = [peer for peer in installed_peers(LOOP_BACKENDS[loop]) if peer != "native"]
    bars: dict[str, dict[str, Ratio]] = {}
    for title, (_, series) in results.operations[loop].items():
        ratios = {peer: ratio for peer in peers if (ratio := series.ratio(peer, "native"))}
        if ratios:
            bars[title] = ratios
    thickness = 0.8 / len(peers)
    with _figure(path, 8, 0.6 + len(bars) * 0.13 * (len(peers) + 1)) as figure:
        axes = figure.add_subplot()
        for index, peer in enumerate(peers):
            rows = [row for row, ratios in enumerate(bars.values()) if peer in ratios]
            values = [ratios[peer] for ratios in bars.values() if peer in ratios]
            axes.barh(
                [row + (index - (len(peers) - 1) / 2) * thickness for row in rows],
                [ratio.median - 1 for ratio in values],
                thickness,
                left=1,
                label=peer,
                color=COLOURS[peer],
                xerr=[
                    [ratio.median - ratio.low for ratio in values],
                    [ratio.high - ratio.median for ratio in values],
                ],
                error_kw={"ecolor": INK, "elinewidth": 0.8},
            )
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.axvline(1, color=COLOURS["native"], linewidth=1)
        axes.set_yticks(range(len(bars)), list(bars))
        axes.invert_yaxis()
        axes.margins(y=0.01)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        axes.set_xlabel(f"time ÷ native time on {loop}; left of 1 is faster")
        figure.legend(loc="outside upper center", ncols=len(peers))


def growth_plot(results: Results, path: Path) -> None:
    """A panel for each thing that grows, a line for each library and loop."""
    panels: dict[str, list[Curve]] = {}
    for curve in results.curves:
        quantity = "time" if curve.unit == "s" else "memory"
        panels.setdefault(f"{quantity}: {curve.title}", []).append(curve)
    columns = 2
    lines = -(-len(panels) // columns)
    with _figure(path, 8, 2.6 * lines) as figure:
        for place, (title, curves) in enumerate(panels.items(), start=1):
            _growth_panel(figure.add_subplot(lines, columns, place), title, curves)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))


def _growth_panel(axes: Axes, title: str, curves: list[Curve]) -> None:
    for curve in curves:
        axes.plot(
            list(curve.values),
            list(curve.values.values()),
            color=COLOURS[curve.peer],
            linestyle="-" if curve.loop == "asyncio" else "--",
            marker="o",
            markersize=3,
            label=f"{curve.peer} on {curve.loop}",
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_title(title)
    axes.set_ylabel("seconds" if curves[0].unit == "s" else "bytes")
    axes.grid()


def soak_plot(soaks: Sequence[Soak], path: Path) -> None:
    """For each loop, what was allocated and what was resident over the time of the soak."""
    with _figure(path, 8, 2.4 * len(soaks)) as figure:
        plots = figure.subplots(len(soaks), squeeze=False)[:, 0]
        for axes, soak in zip(plots, soaks, strict=True):
            minutes = [seconds / 60 for seconds in soak.seconds]
            for label, memory, colour in (
                ("allocated", soak.allocated, COLOURS["interloop"]),
                ("resident", soak.resident, COLOURS["native"]),
            ):
                axes.plot(minutes, [size / 2**20 for size in memory], label=label, color=colour)
            axes.set_title(f"{soak.loop}: {soak.scenes[-1]:,} scenes")
            axes.set_ylabel("MiB")
            axes.set_ylim(bottom=0)
            axes.grid(visible=True)
            axes.legend()
        plots[-1].set_xlabel("minutes")
