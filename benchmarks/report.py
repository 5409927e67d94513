# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes what the benchmarks found into the documentation: `report.py FILE DOCS`, for `make bench`.

docs/benchmarks.md is all of this making; in docs/scale.md only what stands between its marks, with numbers that are
computed from those that were measured. `plots.py` draws.
"""

from __future__ import annotations

import json
import statistics
import sys
import textwrap
from pathlib import Path
from typing import Any

LICENCE = """<!--
Copyright (c) beamops contributors
GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
SPDX-License-Identifier: GPL-3.0-or-later
-->
"""

HEAD = """# What it costs

Written by `make bench`. Everything is measured against something else, in turns in one run: each round does all of it
once, one after the other. A cell is the median of the rounds, with the lowest and the highest in brackets; what is
compared is compared within each round.

"""

# What docs/scale.md computes with; it says what they stand for.
HOSTS = (100, 1_000, 10_000, 100_000)
SMALL, LARGE = (2, 50), (16, 500)  # controllers: cores, forks
SLICES = 10
ROUND_TRIP, ROUND_TRIPS = 0.02, 10
UNREACHABLE, PATIENCE = 0.01, 10
BATCH = 100


def benchmarks(results: dict[str, Any]) -> str:
    """The text of docs/benchmarks.md."""
    machine = ", ".join(f"{name} {value}" for name, value in results["machine"].items())
    text = [LICENCE, HEAD, f"The machine: {machine}.\n"]
    for name, result in results["results"].items():
        text.append(f"\n## {result['title']}\n")
        for table in result["tables"]:
            text.append(f"\n### {table['title']}\n\n{_table(table)}")
            if table["note"]:
                text.append(f"\n{_wrapped(table['note'])}")
        text.append(f"\n![{result['title']}](plots/{name}.svg)\n")
    return "".join(text)


def _table(table: dict[str, Any]) -> str:
    base, ours, compared = table["head"]
    value, difference = table["unit"]
    named = [f"{base} ({value})", f"{ours} ({value})", f"{compared} ({difference})" if difference else compared]
    rows = [[*table["rows"][0]["case"], *named, "goal"]]
    for row in table["rows"]:
        goal = "" if row["goal"] is None else f"at most {row['goal']:g}"
        cells = [cell(row["base"]), cell(row["ours"]), cell(row["compared"]), goal]
        rows.append([*row["case"].values(), *cells])
    return markdown(rows)


def markdown(rows: list[list[str]]) -> str:
    """A table; the first row is its head."""
    return "".join(
        f"| {' | '.join(cells)} |\n".replace("  |", " |") for cells in [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    )


def cell(values: list[float]) -> str:
    """The median, and the lowest and the highest."""
    return f"{number(statistics.median(values))} ({number(min(values))} to {number(max(values))})"


def number(value: float) -> str:
    """With three digits that count."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 4}f}"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 120) + "\n"


def scale(text: str, fleet: dict[str, Any]) -> str:
    """The text of docs/scale.md, with its numbers filled in."""
    for name, made in (("measured", _measured(fleet)), ("computed", _computed(fleet["constants"]))):
        before, begin, rest = text.partition(f"<!-- {name} by `make bench` -->\n")
        _old, end, after = rest.partition("<!-- end -->\n")
        if not end:
            raise SystemExit(f"bench: docs/scale.md has no marks around what is {name}")
        text = f"{before}{begin}\n{made}\n{end}{after}"
    return text


def _measured(fleet: dict[str, Any]) -> str:
    constants = fleet["constants"]
    symbols = {
        "a": ("start", "a start of `ansible`, with nothing to do on a host"),
        "h": ("host", "what one host adds, its connection open"),
        "h'": ("host_new", "what one host adds, with a new connection"),
        "c": ("processor", "processor time of the controller for one more host, connections open"),
        "c'": ("processor_new", "the same with new connections"),
        "p": ("local", "`ansible localhost` on a host itself"),
    }
    rows = [["", "", "measured"]]
    rows += [[symbol, meaning, seconds(constants[name])] for symbol, (name, meaning) in symbols.items()]
    growth, _again, strategies = (table["rows"] for table in fleet["tables"])
    most = max(int(row["case"]["hosts"]) for row in growth)
    taken = {
        (int(row["case"]["forks"]), row["case"]["pipelining"]): statistics.median(row["ours"])
        for row in growth
        if row["case"]["case"] == "all healthy" and int(row["case"]["hosts"]) == most
    }
    few, many = min(taken)[0], max(taken)[0]
    rows.append(
        ["", f"{most} hosts, {many} forks: without and with pipelining", _to(taken[many, "off"], taken[many, "on"])]
    )
    rows.append(
        ["", f"{most} hosts, pipelining: with {few} and with {many} forks", _to(taken[few, "on"], taken[many, "on"])]
    )
    for row in strategies:
        times = _to(statistics.median(row["base"]), statistics.median(row["ours"]))
        case = row["case"]
        name = f"the role on {case['hosts']} hosts, {case['forks']} forks: linear and {case['strategy']}"
        rows.append(["", name, times])
    return markdown(rows)


def _computed(constants: dict[str, float]) -> str:
    start, processor = constants["start"], constants["processor_new"]
    occupied = constants["host_new"] + ROUND_TRIPS * ROUND_TRIP

    def taken(hosts: float, controller: tuple[int, int]) -> float:
        cores, forks = controller
        return start + max(hosts * occupied / forks, hosts * processor / cores)

    head = ["hosts"]
    head += [f"one controller, {cores} cores, {forks} forks" for cores, forks in (SMALL, LARGE)]
    head += [f"{SLICES} slices, each {SMALL[0]} cores, {SMALL[1]} forks", "ansible-pull"]
    rows = [head]
    for hosts in HOSTS:
        times = [taken(hosts, SMALL), taken(hosts, LARGE), taken(hosts / SLICES, SMALL), constants["local"]]
        rows.append([f"{hosts:,}", *map(seconds, times)])
    cores, forks = LARGE
    most, many = HOSTS[-1], HOSTS[-2]
    hit = 1 - (1 - UNREACHABLE) ** BATCH
    worked = [
        ["", "formula", "worked"],
        ["forks that keep the cores busy", "P (h' + kR) / c'", f"{cores * occupied / processor:.0f} for {cores} cores"],
        [
            f"{UNREACHABLE:.0%} of {many:,} hosts unreachable, no `serial`",
            "N u t / F more",
            seconds(many * UNREACHABLE * PATIENCE / forks),
        ],
        [
            f"the same with `serial: {BATCH}`",
            "(N / B) (1 - (1 - u)^B) t more",
            seconds(many / BATCH * hit * PATIENCE),
        ],
        [
            "`ansible-pull`, once an hour",
            "N / 3600",
            f"{most / 3600:.0f} a second at the repository, for {most:,} hosts",
        ],
    ]
    return f"{markdown(rows)}\n{markdown(worked)}"


def _to(before: float, after: float) -> str:
    return f"{seconds(before)}, {seconds(after)}"


def seconds(value: float) -> str:
    """A time as people say it."""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 120:
        return f"{value:.{1 if value < 20 else 0}f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


def main(file: Path, docs: Path) -> None:
    """Write all that the results are enough for."""
    results = json.loads(file.read_text(encoding="utf-8"))
    (docs / "benchmarks.md").write_text(benchmarks(results), encoding="utf-8")
    if "fleet" in results["results"]:
        page = docs / "scale.md"
        page.write_text(scale(page.read_text(encoding="utf-8"), results["results"]["fleet"]), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
