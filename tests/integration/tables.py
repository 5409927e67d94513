# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of the documentation that are written from the results of tests: the base of the pytest plugins.

A table is a matrix: a row for each fault or kind, a column for each release, in the cell the verdict. What was said or
done stands once, in the column behind them. A fixture notes a cell, which counts only if the test passes. With
BEAMOPS_TABLES=DIRECTORY the tables are written there; without it, the cells have to be those of the committed tables.
"""

from __future__ import annotations

import csv
import io
import os
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

DOCS = Path(__file__).parents[2] / "docs/docsite/rst"
LICENCE = """..
  Copyright (c) beamops contributors
  GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
  SPDX-License-Identifier: GPL-3.0-or-later

"""


class Cell(NamedTuple):
    """What was seen: of which row and column, the verdict, the words that go with it, and the seconds that it took."""

    row: str
    column: str
    verdict: str
    words: str
    seconds: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Its place in the table."""
        return self.row, self.column

    @property
    def lasting(self) -> tuple[str, ...]:
        """What has to be the same in every run."""
        return self[:4]


Cells = dict[tuple[str, str], Cell]


class Table:
    """A table, with cells from this process or from workers.

    name: of its file in docs/docsite/rst, and of the property of a test that has its cells. head: what stands above it.
    first, last: what its first column holds, and what the one behind the releases does. timed: whether there is a
    column with the longest time of each row.
    """

    name: str
    head: str
    first: str
    last: str
    timed = False

    def __init__(self) -> None:
        self.cells: Cells = {}
        self.differences: list[str] = []

    def render(self, cells: Cells) -> str:
        """The text of the file, without its licence."""
        columns = sorted({cell.column for cell in cells.values()})
        rows = [[self.first, *columns, self.last, *(["seconds"] if self.timed else [])]]
        for row in sorted({cell.row for cell in cells.values()}):
            found = [cells[row, column] for column in columns if (row, column) in cells]
            verdicts = [cells[row, column].verdict if (row, column) in cells else "" for column in columns]
            longest = [max((cell.seconds for cell in found), key=float)] if self.timed else []
            rows.append([row, *verdicts, _once(found), *longest])
        return self.head + table(rows)

    def parse(self, text: str) -> Cells:
        """The cells in the text of such a file; without their seconds."""
        head, *rows = rows_of(text) or [[]]
        columns = head[1 : head.index(self.last)] if head else []
        found = [
            Cell(row[0], column, verdict, _words_of(row[len(columns) + 1], column))
            for row in rows
            for column, verdict in zip(columns, row[1:], strict=False)
            if verdict
        ]
        return {cell.key: cell for cell in found}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            for key, value in report.user_properties:
                if key == self.name and isinstance(value, (list, tuple)):
                    cell = Cell(*map(str, value))
                    self.cells[cell.key] = cell

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        wanted = os.environ.get("BEAMOPS_TABLES")
        if wanted:
            if session.exitstatus == pytest.ExitCode.OK:
                Path(wanted, f"{self.name}.rst").write_text(LICENCE + self.render(self.cells), encoding="utf-8")
            return
        file = DOCS / f"{self.name}.rst"
        known = self.parse(file.read_text(encoding="utf-8")) if file.exists() else {}
        self.differences = [
            f"seen: {' | '.join(cell.lasting)}"
            for key, cell in sorted(self.cells.items())
            if key not in known or known[key].lasting != cell.lasting
        ]
        if self.differences and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.cells:
            rows, columns = (sorted({key[part] for key in self.cells}) for part in (0, 1))
            terminalreporter.write_line(f"{self.name}.rst: {len(rows)} rows, on {', '.join(columns)}")
        for difference in self.differences:
            terminalreporter.write_line(f"{self.name}.rst differs (make test-all writes it): {difference}")


def register(config: pytest.Config, table: Table) -> None:
    """Add the plugin of a table, except in workers of pytest-xdist, which only send reports."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(table, f"beamops-{table.name}")


def note(request: pytest.FixtureRequest, table: str, *words: str) -> None:
    """Note a cell for a table, field by field, which counts if this test passes."""
    request.node.user_properties.append((table, words))


def _once(cells: Sequence[Cell]) -> str:
    """The words of the cells of a row: once, where they agree, else with the columns that they belong to."""
    columns: dict[str, list[str]] = {}
    for cell in cells:
        columns.setdefault(cell.words, []).append(cell.column)
    if len(columns) < 2:
        return "".join(columns)
    return _BETWEEN.join(f"{', '.join(where)}: {words}" for words, where in columns.items())


def _words_of(text: str, column: str) -> str:
    """Those of one column in what `_once` gives."""
    for part in text.split(_BETWEEN):
        where, colon, words = part.partition(": ")
        if colon and column in where.split(", "):
            return words
    return text


_BETWEEN = " | "

_OPTIONS = ".. csv-table::\n   :class: beamops-wide\n   :header-rows: 1\n"
# Markup in a cell: these characters anywhere, an underscore at the end of a word, at the start all but word characters,
# and two colons at the end.
_MARKUP = re.compile(r"[\\*`|]|_(?!\w)|^\W|::$")


def table(rows: list[list[str]]) -> str:
    """A table; the first row is its head. https://docutils.sourceforge.io/docs/ref/rst/directives.html#csv-table"""
    text = io.StringIO()
    escaped = ([_MARKUP.sub(r"\\\g<0>", cell) for cell in row] for row in rows)
    csv.writer(text, lineterminator="\n").writerows(escaped)
    return f"{_OPTIONS}\n{textwrap.indent(text.getvalue(), '   ')}"


def rows_of(text: str) -> list[list[str]]:
    """The rows of the table in the text of a file, with its head."""
    lines = textwrap.dedent(text.partition(_OPTIONS)[2].strip("\n")).splitlines()
    return [[re.sub(r"\\(.)", r"\1", cell) for cell in row] for row in csv.reader(lines)]
