# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draw the results of the benchmarks: `plots.py FILE DIRECTORY`, an SVG for each.

Points are medians; error bars reach from the lowest to the highest round.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
# So that the same numbers give the same file.
mpl.rcParams["svg.hashsalt"] = "beamops.epmd"
mpl.rcParams["svg.fonttype"] = "none"

from matplotlib import pyplot as plt  # noqa: E402

COLOURS = ("#8a8a8a", "#a2003b", "#2b6ca3")


def points(samples: list[list[float]]) -> tuple[list[float], list[list[float]]]:
    """The medians, and their distances to the lowest and to the highest value."""
    medians = [statistics.median(values) for values in samples]
    down = [middle - min(values) for middle, values in zip(medians, samples, strict=True)]
    up = [max(values) - middle for middle, values in zip(medians, samples, strict=True)]
    return medians, [down, up]


def bars(result: dict[str, Any]) -> Any:
    """A pair of bars for each row of the first table; a logarithmic axis if they differ by more than a factor of 20."""
    table = result["tables"][0]
    rows = table["rows"]
    figure, axes = plt.subplots(figsize=(8, 1.4 + 0.6 * len(rows)))
    medians: list[float] = []
    for number, key in enumerate(("base", "ours")):
        values, spread = points([row[key] for row in rows])
        places = [place + 0.4 * number for place in range(len(rows))]
        axes.barh(places, values, 0.38, xerr=spread, color=COLOURS[number], label=table["head"][number], capsize=2)
        medians += values
    axes.set_yticks([place + 0.2 for place in range(len(rows))], [", ".join(row["case"].values()) for row in rows])
    axes.invert_yaxis()
    if max(medians) > 20 * min(medians) > 0:
        axes.set_xscale("log")
    axes.set_xlabel(f"{table['title']} ({table['unit'][0]})")
    axes.legend(frameon=False)
    return figure


def growth(result: dict[str, Any]) -> Any:
    """Seconds by number of hosts, a diagram for each number of forks, with and without pipelining."""
    table = result["tables"][0]
    fields: dict[tuple[str, str], dict[str, list[Any]]] = {}
    for row in table["rows"]:
        case = row["case"]
        fields.setdefault((case["pipelining"], case["forks"]), {}).setdefault(case["case"], []).append(row)
    figure, grid = plt.subplots(1, len(fields), figsize=(3 * len(fields), 3.6), sharey=True, squeeze=False)
    for axes, ((pipelining, forks), cases) in zip(grid[0], fields.items(), strict=True):
        lines = {table["head"][0]: [(row, "base") for row in next(iter(cases.values()))]}
        lines |= {f"{table['head'][1]}, {case}": [(row, "ours") for row in rows] for case, rows in cases.items()}
        for colour, (name, line) in zip(COLOURS, lines.items(), strict=True):
            values, spread = points([row[key] for row, key in line])
            hosts = [int(row["case"]["hosts"]) for row, _key in line]
            axes.errorbar(hosts, values, yerr=spread, color=colour, label=name, marker="o", markersize=3, capsize=2)
        axes.set_title(f"{forks} forks, pipelining {pipelining}", fontsize=9)
        axes.set_xlabel("hosts")
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
    grid[0][0].set_ylabel("seconds")
    grid[0][0].legend(frameon=False, fontsize=8)
    return figure


def main(file: Path, directory: Path) -> None:
    """Draw the results of every benchmark in the file."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, result in json.loads(file.read_text(encoding="utf-8"))["results"].items():
        figure = growth(result) if name == "fleet" else bars(result)
        figure.tight_layout()
        figure.savefig(directory / f"{name}.svg", metadata={"Date": None, "Creator": None})
        plt.close(figure)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
