# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of kinds.rst: what was seen for each kind of node and release. A pytest plugin."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._steps import records
from ansible_collections.beamops.epmd.tests.integration import tables
from ansible_collections.beamops.epmd.tests.integration.tables import Table

HEAD = """Kinds of nodes, and what was seen
=================================

The integration tests write this page (``make test-all``) from what they saw on real systems. ``make test`` checks it on
some of the releases. A cell has the verdict, where there is one; ``fails``, where the module has to; else ``seen``. An
empty cell was not tested: that kind does not exist in that release, or is not available there.

"""

Saw = Callable[[str, "int | str", str], None]

_VERDICTS = "|".join(value for name, value in vars(records).items() if name.isupper() and isinstance(value, str))
_SPLIT = re.compile(rf"({_VERDICTS}|fails)[,:] (.+)")


class Kinds(Table):
    """A row for each kind."""

    name = "kinds"
    head = HEAD
    first = "kind of node"
    last = "what was seen"


def pytest_configure(config: pytest.Config) -> None:
    tables.register(config, Kinds())


@pytest.fixture
def saw(request: pytest.FixtureRequest) -> Saw:
    """Note what was seen: kind of node, release (or another column), and a few words without numbers that vary."""

    def say(kind: str, release: int | str, words: str) -> None:
        column = f"OTP {release}" if isinstance(release, int) else release
        tables.note(request, "kinds", kind, column, *split(words))

    return say


def split(words: str) -> tuple[str, str]:
    """What was seen as its verdict, and the rest of the words."""
    match = _SPLIT.fullmatch(words)
    if match:
        return match[1], match[2]
    return "fails" if words.startswith("fails ") else "seen", words
