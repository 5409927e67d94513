# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write docs/docsite/rst/promises.rst: `promises.py DIRECTORY`, with the reports of the tests as JUnit XML in there.

What is promised and which tests look for the opposite stands in tests/promises.yml. How many cases of each passed is
counted in the reports, which `make test-all` leaves; the figure of a long run is the sum of a column of its table in
runs.rst. Fails for a promise that no passed test and no run stands behind.

Standard: reStructuredText, with the csv-table of docutils; the JUnit XML of pytest.
"""

from __future__ import annotations

import collections
import datetime
import re
import sys
import textwrap
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.beamops.epmd.tests.toolchain.record import recorded, table

CHECKOUT = Path(__file__).parents[2]
PAGES = CHECKOUT / "docs/docsite/rst"
SOURCE = "https://github.com/beamops/beamops.epmd/blob/main/tests"
HEAD = """..
  Copyright (c) beamops contributors
  GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
  SPDX-License-Identifier: GPL-3.0-or-later

What we promise, and how it is tested
=====================================

Written by ``make test-all``, from what passed in it: each promise, the tests that look for the opposite, how many cases
of each passed and when. A case is one test with one set of arguments on one release of OTP or one CPython. The long
runs and their tables are in :doc:`runs`. What was not seen, for want of such a machine, is in :doc:`elsewhere`.
"""

Passed = dict[str, int]


def promises() -> list[dict[str, Any]]:
    """The promises of tests/promises.yml, whose tests are file::test here."""
    found = list(yaml.safe_load((CHECKOUT / "tests/promises.yml").read_text(encoding="utf-8")))
    for promise in found:
        files = promise["tests"].items()
        promise["tests"] = {f"{file}::{name}": seen for file, tests in files for name, seen in tests.items()}
    return found


def passed_in(reports: list[Path]) -> Passed:
    """How many cases of each test (file::test) passed."""
    found: collections.Counter[str] = collections.Counter()
    for report in reports:
        for case in ET.parse(report).iter("testcase"):
            if not any(part.tag in ("failure", "error", "skipped") for part in case):
                # tests.integration.test_role.TestPsutil: the file, and for some a class.
                file = re.sub(r"(\.test_[a-z0-9_]+)\..*", r"\1", case.attrib["classname"]).replace(".", "/")
                name = case.attrib["name"].partition("[")[0]
                found[f"{file.removeprefix('tests/')}.py::{name}"] += 1
    return dict(found)


def figure_of(run: str, column: str, page: str) -> tuple[str, str]:
    """The sum of a column in the table of a long run, and the date of that run; two empty texts if it never ran."""
    date, rows = recorded(run, page)
    numbers = [re.sub(r"[^0-9]", "", row[column]) for row in rows if next(iter(row.values())) != "all"]
    return (f"{sum(int(number or 0) for number in numbers):,} {column}" if rows else "", date)


def link_to(test: str) -> str:
    """A test, with a link to its file."""
    file, _colons, name = test.partition("::")
    return f"`{name} <{SOURCE}/{file}>`__"


def section(promise: dict[str, Any], passed: Passed, runs: str, date: str) -> str:
    """One promise, with the table of what stands behind it."""
    rows = [["what is seen", "by", "passed", "on"]]
    for test, seen in promise["tests"].items():
        rows.append([seen, link_to(test), f"{passed[test]:,}" if passed.get(test) else "", date])
    for run, column in promise.get("runs", {}).items():
        rows.append([f"``make {run}``", ":doc:`runs`", *figure_of(run, column, runs)])
    text = re.sub(r"`([^`]+)`", r"``\1``", promise["promise"])
    return "\n".join(
        [
            promise["title"],
            "-" * len(promise["title"]),
            "",
            textwrap.fill(text, 120),
            "",
            table(rows, "class: beamops-wide", "widths: 40 40 12 12"),
        ]
    )


def page(passed: Passed, date: str) -> str:
    """The text of the page."""
    runs = (PAGES / "runs.rst").read_text(encoding="utf-8")
    return "\n".join([HEAD, *(section(promise, passed, runs, date) for promise in promises())]).rstrip("\n") + "\n"


def main(directory: Path) -> None:
    """Write the page from the reports in this directory."""
    passed = passed_in(sorted(directory.glob("*.xml")))
    if lacking := [test for promise in promises() for test in promise["tests"] if not passed.get(test)]:
        raise SystemExit(f"promises: no case of these tests passed: {', '.join(lacking)}")
    date = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    (PAGES / "promises.rst").write_text(page(passed, date), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
