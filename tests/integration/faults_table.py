# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of faults.rst: the module's verdict on each fault and release, its message and time. A pytest plugin."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from ansible_collections.beamops.epmd.tests.integration import tables
from ansible_collections.beamops.epmd.tests.integration.tables import Table

HEAD = """Faults, and how the module handles them
=======================================

The integration tests write this page (``make test-all``) from what they saw on real nodes. ``make test`` checks it on
some of the releases. A cell has the verdict; an empty one was not tested. In each case the module ended within its
timeout plus one second. The node, its log and the registrations of others were as before. After the fault was over, the
next run found the node registered, or registered it. In the messages, numbers are replaced by N. The seconds are the
longest time of one run of the module's own code, with the timeout of that test. A run that was killed, or refused, at a
system call: see :doc:`runs`.

"""

Survived = Callable[[str, int, str, str, float], None]


class Faults(Table):
    """A row for each fault."""

    name = "faults"
    head = HEAD
    first = "fault"
    last = "message"
    timed = True


def pytest_configure(config: pytest.Config) -> None:
    tables.register(config, Faults())


@pytest.fixture
def survived(request: pytest.FixtureRequest) -> Survived:
    """Note how the module reacted to a fault: its name, the release, the verdict, the message, and the seconds."""

    def say(fault: str, release: int, verdict: str, msg: str, seconds: float) -> None:
        tables.note(request, "faults", fault, f"OTP {release}", verdict, plain(msg), f"{seconds:.1f}")

    return say


def plain(msg: str) -> str:
    """A message without what differs between runs (numbers, hosts, units, command lines), and without markup."""
    # A newer node may register itself before the module asks it to.
    text = msg.replace(" by itself meanwhile", "")
    text = re.sub(r"\((?:[^()]|\([^()]*\))*\)", "(…)", text)
    text = re.sub(r" in [^ ]+\.(service|scope)", "", text)
    text = re.sub(r"@[\w.-]+", "@host", text)
    text = re.sub(r"0x[0-9a-f]+|\d+(?:\.\d+)*", "N", text)
    return text.replace("|", "/").replace("\n", " ")
