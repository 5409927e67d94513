# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of kinds.rst: what was seen for each kind of node and release. A pytest plugin."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ansible_collections.beamops.epmd.tests.integration import tables
from ansible_collections.beamops.epmd.tests.integration.tables import Line, Table

HEAD = """Kinds of nodes, and what was seen
=================================

The integration tests write this page (``make test-all``) from what they saw on real systems. ``make test`` checks it on
some of the releases. An empty cell was not tested: that kind does not exist in that release, or is not available there.

"""

Saw = Callable[[str, "int | str", str], None]


class Kinds(Table):
    """Lines of kind, column and text; a row for each kind, a column for each release."""

    name = "kinds"

    def render(self, lines: dict[Line, Line]) -> str:
        columns = sorted({line[1] for line in lines.values()})
        kinds = sorted({line[0] for line in lines.values()})
        rows = [[kind, *(lines.get((kind, column), ("", "", ""))[2] for column in columns)] for kind in kinds]
        return HEAD + tables.table([["kind of node", *columns], *rows])

    def parse(self, text: str) -> dict[Line, Line]:
        head, *rows = tables.cells(text) or [[]]
        return {
            (row[0], column): (row[0], column, words)
            for row in rows
            for column, words in zip(head[1:], row[1:], strict=True)
            if words
        }


def pytest_configure(config: pytest.Config) -> None:
    tables.register(config, Kinds())


@pytest.fixture
def saw(request: pytest.FixtureRequest) -> Saw:
    """Note what was seen: kind of node, release (or another column), and a few words without numbers that vary."""

    def say(kind: str, release: int | str, words: str) -> None:
        column = f"OTP {release}" if isinstance(release, int) else release
        tables.note(request, "kinds", kind, column, words)

    return say
