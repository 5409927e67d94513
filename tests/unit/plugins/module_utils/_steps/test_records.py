# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the records say of themselves, and what they hold where nothing was seen."""

from __future__ import annotations

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._host import command_line, vms
from ansible_collections.beamops.epmd.plugins.module_utils._host.owners import Listener
from ansible_collections.beamops.epmd.plugins.module_utils._steps.records import (
    Diagnosis,
    Epmd,
    EpmdKey,
    Finding,
    Lost,
    Observation,
    Repair,
)
from ansible_collections.beamops.epmd.plugins.module_utils._wire.epmd_client import DOWN, Daemon, State, Table

DAEMON = Daemon("127.0.0.1", 4369)
AT = Listener(3, "0.0.0.0", 25672, 128)
BARE = Observation(vms.UNKNOWN, DAEMON, tls=False)
NODE = BARE._replace(listener=AT, name="vic@web1")


def started(name: str) -> Observation:
    """A node that did not answer, started with this name."""
    line = command_line.parse(["beam.smp", "--", "-sname", name], {})
    return BARE._replace(vm=vms.UNKNOWN._replace(command_line=line))


@pytest.mark.parametrize(
    ("namespace", "port", "number"),
    [(None, 4369, 4369), (None, 65535, 65535), (1, 0, 65536), (4026531840, 4369, 4026531840 * 65536 + 4369)],
)
def test_each_epmd_of_a_host_has_its_own_number(namespace: int | None, port: int, number: int) -> None:
    assert EpmdKey(namespace, Daemon("::1", port)).number == number


def test_a_node_has_its_epmd() -> None:
    boxed = BARE._replace(vm=vms.UNKNOWN._replace(namespace=7))
    assert (BARE.key, boxed.key) == (EpmdKey(None, DAEMON), EpmdKey(7, DAEMON))


@pytest.mark.parametrize(
    ("seen", "known_name", "alive"),
    [
        (BARE, None, None),
        (NODE, "vic@web1", "vic"),
        (started("eve"), "eve", "eve"),
        (started("eve@web1"), "eve@web1", "eve"),
        (started("eve")._replace(name="vic@web1"), "vic@web1", "vic"),
    ],
)
def test_what_a_node_says_counts_more_than_its_command_line(
    seen: Observation, known_name: str | None, alive: str | None
) -> None:
    assert (seen.known_name, seen.alive) == (known_name, alive)


@pytest.mark.parametrize(
    ("seen", "names", "registered"),
    [
        (NODE, {"vic": 25672}, True),
        (NODE, {"vic": int("25672")}, True),
        (NODE, {"vic": 25671}, False),
        (NODE, {"vic": 25673}, False),
        (NODE, {"eve": 25672}, False),
        (NODE, {}, False),
        (NODE._replace(listener=None), {}, False),
        (NODE._replace(listener=None), {"vic": 25672}, False),
        (NODE._replace(name=None), {"vic": 25672}, False),
    ],
)
def test_a_node_is_registered_where_epmd_has_its_name_with_its_port(
    seen: Observation, names: dict[str, int], registered: bool
) -> None:
    assert seen._replace(table=Table(State.UP, names)).is_registered is registered


def test_where_a_node_listens() -> None:
    assert (NODE.port, BARE.port) == (25672, None)
    assert Lost(NODE, "vic", AT, "gone").where == "127.0.0.1 port 25672"


def test_what_was_not_seen_is_not_there() -> None:
    assert (
        Observation(
            vms.UNKNOWN,
            DAEMON,
            tls=False,
            listener=None,
            unasked=(),
            name=None,
            trouble=None,
            is_node=None,
            table=DOWN,
            connected=False,
            holds=None,
            left=0,
            obstacle=None,
            entered=True,
        )
        == BARE
    )
    diagnosis = Diagnosis("missing", "gone")
    assert (diagnosis.lost, diagnosis.doubtful, Lost(NODE, "vic", AT, "gone").doubt) == (None, None, "")
    repair = Repair(True, True, "done", DOWN)
    assert (repair.started, repair.reason, Finding(BARE, diagnosis).repair) == (False, "", None)
    assert Epmd(BARE.key, DOWN, DOWN) == Epmd(
        BARE.key,
        before=DOWN,
        after=DOWN,
        started=False,
        addresses=(),
        pid=None,
        user=None,
        unit=None,
        in_application_unit=False,
        foreign=(),
        stranger="",
    )
