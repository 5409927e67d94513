# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of docs/kinds.md: kind of node by release, with what the tests saw. A pytest plugin.

A test calls the fixture `saw`; what it says counts only if the test passes. With BEAMOPS_KINDS=FILE
the table is written there; without it, what was seen has to be what the committed table says.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

TABLE = Path(__file__).parents[2] / "docs" / "kinds.md"
HEAD = """<!--
Copyright (c) beamops contributors
GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
SPDX-License-Identifier: GPL-3.0-or-later
-->
# Kinds of nodes, and what was seen

Written by the integration tests (`make test-all`), from what they saw on real systems; `make test` checks it on a part
of the releases. A cell without words was not tested: that kind does not exist in that release, or can't be had there.

"""

Saw = Callable[[str, "int | str", str], None]
Rows = dict[str, dict[str, str]]


class Kinds:
    """Collects what passing tests saw, from this process or from workers."""

    def __init__(self) -> None:
        self.rows: Rows = {}
        self.differences: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            for key, value in report.user_properties:
                if key == "kind" and isinstance(value, (list, tuple)):
                    kind, column, words = map(str, value)
                    self.rows.setdefault(kind, {})[column] = words

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        wanted = os.environ.get("BEAMOPS_KINDS")
        if wanted:
            Path(wanted).write_text(render(self.rows), encoding="utf-8")
            return
        known = parse(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {}
        self.differences = [
            f"{kind}, {column}: saw {words!r}, and docs/kinds.md says {known.get(kind, {}).get(column, '')!r}"
            for kind, row in sorted(self.rows.items())
            for column, words in row.items()
            if known.get(kind, {}).get(column) != words
        ]
        if self.differences and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        releases = sorted({column for row in self.rows.values() for column in row})
        if releases:
            terminalreporter.write_line(f"kinds of nodes: {len(self.rows)}, on {', '.join(releases)}")
        for difference in self.differences:
            terminalreporter.write_line(f"docs/kinds.md is out of date (make test-all writes it): {difference}")


def pytest_configure(config: pytest.Config) -> None:
    """The process that reports also writes; the workers of pytest-xdist only send their reports."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Kinds(), "beamops-kinds")


@pytest.fixture
def saw(request: pytest.FixtureRequest) -> Saw:
    """Say what was seen: kind of node, release (a column of the table), and a few words without numbers that vary."""

    def say(kind: str, release: int | str, words: str) -> None:
        column = f"OTP {release}" if isinstance(release, int) else release
        request.node.user_properties.append(("kind", (kind, column, words)))

    return say


def render(rows: Rows) -> str:
    """The file, from rows of kind, column and words."""
    columns = sorted({column for row in rows.values() for column in row})
    lines = [["kind of node", *columns], ["---"] * (len(columns) + 1)]
    lines += [[kind, *(row.get(column, "") for column in columns)] for kind, row in sorted(rows.items())]
    return HEAD + "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def parse(text: str) -> Rows:
    """The rows of such a file."""
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    if len(table) < 2:
        return {}
    columns = table[0][1:]
    return {
        cells[0]: {column: words for column, words in zip(columns, cells[1:], strict=True) if words}
        for cells in table[2:]
    }
