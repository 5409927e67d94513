# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write what a long run found into docs/docsite/rst/runs.rst: `record.py NAME SECONDS [WORDS]`, with a table on stdin.

The table is CSV, its first row the head. In the page it replaces what stands between the marks of this NAME. Above it
stand one line with the date, the time that the run took, the machine, and the tree of `plugins` in git that was tested,
so that `released` can tell whether the run was of what is released; and the WORDS. What the run does is written in the
page by hand.

Standard: reStructuredText, with the csv-table of docutils.
"""

from __future__ import annotations

import csv
import datetime
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
PAGE = CHECKOUT / "docs/docsite/rst/runs.rst"


def marks(name: str) -> tuple[str, str]:
    """The lines around what this run wrote."""
    return f".. {name}, from here\n", f".. {name}, to here\n"


def tree() -> str:
    """The plugins that are tested: the object of git, and whether they were changed since."""
    git = ["git", "-C", str(CHECKOUT)]
    found = subprocess.run([*git, "rev-parse", "HEAD:plugins"], check=True, capture_output=True, text=True)
    changed = subprocess.run([*git, "status", "--porcelain", "plugins"], check=True, capture_output=True, text=True)
    return f"{found.stdout[:12]}{' with changes' if changed.stdout else ''}"


def line(seconds: float) -> str:
    """What was run, where and when."""
    processors = len(os.sched_getaffinity(0))
    return (
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {seconds / 60:.1f} minutes on {processors} processors,"
        f" CPython {platform.python_version()}, plugins {tree()}."
    )


def table(rows: list[list[str]], *options: str) -> str:
    """A csv-table whose first row is its head, with these further options of the directive."""
    head = "\n".join([".. csv-table::", *(f"   :{option}" for option in (*options, "header-rows: 1"))])
    quoted = (",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows)
    return f"{head}\n\n" + "".join(f"   {row}\n" for row in quoted)


def recorded(name: str, page: str) -> tuple[str, list[dict[str, str]]]:
    """The date of this run in the text of the page, and its table, row by row; nothing of both if it never ran."""
    begin, end = marks(name)
    text = page.partition(begin)[2].partition(end)[0]
    date = re.search(r"^(\d{4}-\d\d-\d\d), ", text, re.MULTILINE)
    rows = list(csv.DictReader(row.strip() for row in text.splitlines() if row.startswith('   "')))
    return (date.group(1), rows) if date else ("", [])


def record(name: str, seconds: float, rows: list[list[str]], words: str = "") -> None:
    """Put the table of this run into the page, below these words. Raises SystemExit if the page has no place for it."""
    begin, end = marks(name)
    before, found, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    _old, closed, after = rest.partition(end)
    if not (found and closed):
        raise SystemExit(
            f"record: {PAGE.name} has no marks for {name}: put {begin.strip()!r} and {end.strip()!r} there."
        )
    paragraphs = [line(seconds), *([words] if words else []), table(rows)]
    PAGE.write_text(f"{before}{begin}\n" + "\n\n".join(paragraphs) + f"\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    record(sys.argv[1], float(sys.argv[2]), list(csv.reader(sys.stdin)), *sys.argv[3:])
