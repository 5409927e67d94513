# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of the documentation that are written from the results of tests: the base of the pytest plugins.

A fixture notes a line for a table; it counts only if the test passes. With BEAMOPS_TABLES=DIRECTORY the tables are
written there; without it, the lines have to be those of the committed tables.
"""

from __future__ import annotations

import csv
import io
import os
import re
import textwrap
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs/docsite/rst"
LICENCE = """..
  Copyright (c) beamops contributors
  GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
  SPDX-License-Identifier: GPL-3.0-or-later

"""

Line = tuple[str, ...]


class Table:
    """A table, with lines from this process or from workers. A line is a tuple of cells; the first two are its key."""

    name: str
    """The name of its file in docs/docsite/rst, and of the property of a test that has its lines."""

    def __init__(self) -> None:
        self.lines: dict[Line, Line] = {}
        self.differences: list[str] = []

    def render(self, lines: dict[Line, Line]) -> str:
        """The text of the file, without its licence."""
        raise NotImplementedError

    def parse(self, text: str) -> dict[Line, Line]:
        """The lines in the text of such a file."""
        raise NotImplementedError

    def lasting(self, line: Line) -> Line:
        """The part of a line that has to be the same in every run."""
        return line

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            for key, value in report.user_properties:
                if key == self.name and isinstance(value, (list, tuple)):
                    line = tuple(map(str, value))
                    self.lines[line[:2]] = line

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        wanted = os.environ.get("BEAMOPS_TABLES")
        if wanted:
            if session.exitstatus == pytest.ExitCode.OK:
                Path(wanted, f"{self.name}.rst").write_text(LICENCE + self.render(self.lines), encoding="utf-8")
            return
        file = DOCS / f"{self.name}.rst"
        known = self.parse(file.read_text(encoding="utf-8")) if file.exists() else {}
        self.differences = [
            f"seen: {' | '.join(line)}"
            for key, line in sorted(self.lines.items())
            if key not in known or self.lasting(known[key]) != self.lasting(line)
        ]
        if self.differences and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.lines:
            rows, columns = (sorted({key[part] for key in self.lines}) for part in (0, 1))
            terminalreporter.write_line(f"{self.name}.rst: {len(rows)} rows, on {', '.join(columns)}")
        for difference in self.differences:
            terminalreporter.write_line(f"{self.name}.rst differs (make test-all writes it): {difference}")


def register(config: pytest.Config, table: Table) -> None:
    """Add the plugin of a table, except in workers of pytest-xdist, which only send reports."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(table, f"beamops-{table.name}")


def note(request: pytest.FixtureRequest, table: str, *words: str) -> None:
    """Note a line for a table, which counts if this test passes."""
    request.node.user_properties.append((table, words))


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


def cells(text: str) -> list[list[str]]:
    """The rows of the table in the text of a file, with its head."""
    lines = textwrap.dedent(text.partition(_OPTIONS)[2].strip("\n")).splitlines()
    return [[re.sub(r"\\(.)", r"\1", cell) for cell in row] for row in csv.reader(lines)]
