# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the results of the benchmarks into the documentation: `report.py FILE DIRECTORY`, for `make bench`.

It writes all of benchmarks.rst but its changelog, and in scale.rst the parts between marks, with numbers that are
computed from the measured ones. `plots.py` draws. Standard: reStructuredText, with the csv-table of docutils.
"""

from __future__ import annotations

import csv
import io
import json
import statistics
import sys
import textwrap
from pathlib import Path
from typing import Any

HEAD = """..
  Copyright (c) beamops contributors
  GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
  SPDX-License-Identifier: GPL-3.0-or-later

.. _ansible_collections.beamops.epmd.docsite.benchmarks:

What it costs
=============

Written by ``make bench``. Everything is compared with something else, in turns and in the same run: each round does
everything once, one after the other. A cell shows the median of the rounds, with the lowest and the highest in
brackets. Ratios and differences are taken within a round; a goal is met if their median meets it.

"""

# The assumptions of scale.rst, which explains them.
HOSTS = (100, 1_000, 10_000, 100_000)
SMALL, LARGE = (2, 50), (16, 500)  # controllers: cores, forks
DEFAULT_FORKS = 5
SLICES = 10
ROUND_TRIP, ROUND_TRIPS, MORE_WITHOUT_PIPELINING = 0.02, 10, 12
UNREACHABLE, PATIENCE = 0.01, 10
BATCH = 100
TASKS = 2
PULLED_EVERY = 3600


CHANGELOG = ".. _ansible_collections.beamops.epmd.docsite.benchmarks.changelog:\n"
"""The mark before the section that is written by hand, and kept."""


def benchmarks(results: dict[str, Any], page: str = "") -> str:
    """The text of benchmarks.rst. page: what it is now, whose changelog is kept."""
    machine = ", ".join(f"{name} {value}" for name, value in results["machine"].items())
    text = [HEAD, _wrapped(f"The machine: {machine}.")]
    for name, result in results["results"].items():
        text.append(_titled(result["title"], "-"))
        for table in result["tables"]:
            text.append(f"{_titled(table['title'], '^')}\n{_table(table)}")
            if table["note"]:
                text.append(f"\n{_wrapped(table['note'])}")
        text.append(f"\n.. image:: images/{name}.svg\n   :alt: {result['title']}\n")
    _before, mark, changelog = page.partition(CHANGELOG)
    if mark:
        text.append(f"\n{mark}{changelog}")
    return "".join(text)


def _titled(title: str, line: str) -> str:
    return f"\n{title}\n{line * len(title)}\n"


def _table(table: dict[str, Any]) -> str:
    base, ours, compared = table["head"]
    value, difference = table["unit"]
    head = [*table["rows"][0]["case"], f"{base} ({value})", f"{ours} ({value})"]
    head.append(f"{compared} ({difference})" if difference else compared)
    has_goals = any(row["goal"] is not None for row in table["rows"])
    rows = [head + (["goal", "met"] if has_goals else [])]
    for row in table["rows"]:
        cells = [*row["case"].values(), cell(row["base"]), cell(row["ours"]), cell(row["compared"])]
        rows.append(cells + (_judged(row) if has_goals else []))
    return rst(rows)


def _judged(row: dict[str, Any]) -> list[str]:
    if row["goal"] is None:
        return ["", ""]
    return [f"at most {row['goal']:g}", "yes" if statistics.median(row["compared"]) <= row["goal"] else "no"]


def rst(rows: list[list[str]]) -> str:
    """A table; the first row is its head."""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    return f".. csv-table::\n   :header-rows: 1\n\n{textwrap.indent(text.getvalue(), '   ')}"


def cell(values: list[float]) -> str:
    """The median, with the lowest and the highest value if they differ."""
    middle = number(statistics.median(values))
    return f"{middle} ({number(min(values))} to {number(max(values))})" if min(values) < max(values) else middle


def number(value: float) -> str:
    """With three significant digits."""
    if abs(value) >= 100 or not value:
        return f"{value:,.0f}"
    return f"{value:.{1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 4}f}"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 120, break_on_hyphens=False) + "\n"


def scale(text: str, fleet: dict[str, Any]) -> str:
    """The text of scale.rst, with its numbers filled in."""
    made = {
        "measured": _measured(fleet),
        "computed": _computed(fleet["constants"]),
        "worked": _worked(fleet["constants"]),
    }
    for name, table in made.items():
        before, begin, rest = text.partition(f".. {name} by make bench, from here\n")
        _old, end, after = rest.partition(f".. {name} by make bench, to here\n")
        if not end:
            raise SystemExit(f"bench: scale.rst has no marks around the part that is {name}")
        text = f"{before}{begin}\n{table}\n{end}{after}"
    return text


def _measured(fleet: dict[str, Any]) -> str:
    constants = fleet["constants"]
    symbols = {
        "a": ("start", "a start of ``ansible``, with nothing to do on a host"),
        "h": ("host", "what one host adds, its connection open"),
        "h'": ("host_new", "what one host adds, with a new connection"),
        'h"': ("host_off", "what one host adds, its connection open, without pipelining"),
        "c": ("processor", "processor time of the controller for one more host, connections open"),
        "c'": ("processor_new", "the same with new connections"),
        'c"': ("processor_off", "the same with connections open, without pipelining"),
        "p": ("local", "``ansible localhost`` on a host itself"),
    }
    rows = [["", "what", "measured"]]
    rows += [
        [symbol, meaning, seconds(constants[name])] for symbol, (name, meaning) in symbols.items() if name in constants
    ]
    rows.append(["M", "memory of the largest process of ``ansible``", f"{constants['megabytes']:.0f} MiB"])
    growth, _playbooks, _again, settings, strategies, _layers = (table["rows"] for table in fleet["tables"])
    most = max(int(row["case"]["hosts"]) for row in growth)
    for row in growth:
        case = row["case"]
        if case["case"] == "all healthy" and int(case["hosts"]) == most:
            what = f"``epmd_register`` on {most} hosts, {case['forks']} forks, pipelining {case['pipelining']}"
            rows.append(["", what, seconds(statistics.median(row["ours"]))])
    for row in settings:
        against = f"against 10 forks, pipelining and open connections, on {row['case']['hosts']} hosts"
        what = f"{row['case']['setting']}, {against}"
        rows.append(["", what, f"{number(statistics.median(row['compared']))} times"])
    taken = {"linear": strategies[0]["base"], **{row["case"]["strategy"]: row["ours"] for row in strategies}}
    case = strategies[0]["case"]
    for strategy, samples in taken.items():
        what = f"two tasks on {case['hosts']} hosts, {case['forks']} forks, strategy ``{strategy}``"
        rows.append(["", what, seconds(statistics.median(samples))])
    return rst(rows)


def _taken(constants: dict[str, float], hosts: float, cores: int, forks: int) -> float:
    """T(N) of scale.rst, with a new connection to each host."""
    occupied = constants["host_new"] + ROUND_TRIPS * ROUND_TRIP
    return constants["start"] + max(hosts * occupied / forks, hosts * constants["processor_new"] / cores)


def _computed(constants: dict[str, float]) -> str:
    cores = SMALL[0]
    head = ["hosts", f"{cores} cores, {DEFAULT_FORKS} forks (the default)"]
    head += [f"{cores} cores, {forks} forks" for cores, forks in (SMALL, LARGE)]
    head += [f"{SLICES} slices, each {SMALL[0]} cores, {SMALL[1]} forks", "``ansible-pull``"]
    rows = [head]
    for hosts in HOSTS:
        times = [_taken(constants, hosts, *controller) for controller in ((cores, DEFAULT_FORKS), SMALL, LARGE)]
        times += [_taken(constants, hosts / SLICES, *SMALL), constants["local"]]
        rows.append([f"{hosts:,}", *map(seconds, times)])
    return rst(rows)


def _worked(constants: dict[str, float]) -> str:
    cores, forks = LARGE
    most, many = HOSTS[-1], HOSTS[-2]
    occupied = constants["host_new"] + ROUND_TRIPS * ROUND_TRIP
    whole = _taken(constants, many, *LARGE)
    hit = 1 - (1 - UNREACHABLE) ** BATCH
    slower = constants["host_off"] - constants["host"] + MORE_WITHOUT_PIPELINING * ROUND_TRIP
    rows = [
        ["setting", "what", "formula", "worked"],
        [
            "forks",
            "as many as keep the cores busy",
            "P (h' + kR) / c'",
            f"{cores * occupied / constants['processor_new']:.0f} for {cores} cores",
        ],
        [
            "pipelining",
            f"without it, on {many:,} hosts with {SMALL[1]} forks that wait",
            'N (h" - h + lR) / F more',
            seconds(many * slower / SMALL[1]),
        ],
        [
            "linear",
            f"{TASKS} tasks on {many:,} hosts: half of the hosts are done after",
            "(m - 1/2) T(N)",
            seconds((TASKS - 0.5) * whole),
        ],
        [
            "free",
            f"the same, and nobody waits at the end of a task for a host that is slow by s = {PATIENCE} s",
            "(m - 1/2) T(N), and (m - 1) s less than linear where there are such hosts",
            f"{seconds((TASKS - 0.5) * whole)}, {seconds((TASKS - 1) * PATIENCE)} less",
        ],
        ["host_pinned", "the same", "m T(N) / 2", seconds(TASKS * whole / 2)],
        [
            "no serial",
            f"{UNREACHABLE:.0%} of {many:,} hosts unreachable",
            "N u t / F + t more",
            seconds(many * UNREACHABLE * PATIENCE / forks + PATIENCE),
        ],
        [
            f"serial: {BATCH}",
            "the same",
            "(N / B) (1 - (1 - u)^B) t more",
            seconds(many / BATCH * hit * PATIENCE),
        ],
        [
            f"job_slice_count: {SLICES}",
            f"{most:,} hosts, each slice {SMALL[0]} cores, {SMALL[1]} forks",
            "T(N / S)",
            seconds(_taken(constants, most / SLICES, *SMALL)),
        ],
        [
            "ansible-pull",
            f"{most:,} hosts, each once an hour",
            "N / 3600",
            f"{most / PULLED_EVERY:.0f} a second at the repository",
        ],
    ]
    return rst(rows)


def seconds(value: float) -> str:
    """A time in the unit that people would use."""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 120:
        return f"{value:.{1 if value < 20 else 0}f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def main(file: Path, directory: Path) -> None:
    """Write the pages for which there are results."""
    results = json.loads(file.read_text(encoding="utf-8"))
    page = directory / "benchmarks.rst"
    kept = page.read_text(encoding="utf-8") if page.exists() else ""
    page.write_text(benchmarks(results, kept), encoding="utf-8")
    if "fleet" in results["results"]:
        page = directory / "scale.rst"
        page.write_text(scale(page.read_text(encoding="utf-8"), results["results"]["fleet"]), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
