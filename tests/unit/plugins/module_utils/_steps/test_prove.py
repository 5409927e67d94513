# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What epmd says afterwards decides how a repair ended. More of it, with a whole repair, is in test_repair.py."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._errors import NoCookie
from ansible_collections.beamops.epmd.plugins.module_utils._host import vms
from ansible_collections.beamops.epmd.plugins.module_utils._host.owners import Listener
from ansible_collections.beamops.epmd.plugins.module_utils._steps.prove import Attempt, prove
from ansible_collections.beamops.epmd.plugins.module_utils._steps.records import Lost, Observation
from ansible_collections.beamops.epmd.plugins.module_utils._wire.epmd_client import DOWN, Daemon, State, Table
from ansible_collections.beamops.epmd.plugins.module_utils._wire.etf import Atom, Term
from ansible_collections.beamops.epmd.tests.fakes import FakeServer, answer, epmd

OK = (Atom("ok"), 3)
EMPTY = Table(State.UP, {})


def attempt(port: int, alive: str, at: int, reply: Term = OK, pid: int | None = None, **changes: Any) -> Attempt:
    listener = Listener(3, "0.0.0.0", at, 128)
    observation = Observation(
        vms.UNKNOWN._replace(pid=pid), Daemon("127.0.0.1", port), tls=False, listener=listener, name=f"{alive}@h"
    )
    made = Attempt(Lost(observation, alive, listener, "epmd has no name"), EMPTY, reply, left=60)
    return made._replace(**changes)


def test_every_epmd_is_asked_once_for_all_of_its_nodes() -> None:
    with FakeServer(epmd({"vic": 1, "wim": 2})) as server:
        found = prove([attempt(server.port, "vic", 1), attempt(server.port, "wim", 2), attempt(server.port, "xan", 3)])
        # Its table once, and each name once.
        assert server.accepted == 4
    assert [(repair.registered, repair.changed, repair.reason) for repair in found] == [
        (True, True, ""),
        (True, True, ""),
        (False, False, "not_registered"),
    ]
    assert {name for repair in found for name in repair.table.names} == {"vic", "wim"}


def test_results_keep_the_order_of_the_attempts() -> None:
    with FakeServer(epmd({"vic": 1})) as one, FakeServer(epmd({"wim": 2})) as two:
        found = prove(
            [
                attempt(two.port, "wim", 2),
                attempt(one.port, "xan", 3, error=NoCookie("no cookie at /x")),
                attempt(one.port, "vic", 1),
            ]
        )
    assert [repair.msg for repair in found] == ["registered", "no cookie at /x", "registered"]
    assert found[1].reason == "no_cookie"


def test_an_epmd_is_not_asked_for_a_node_that_was_not_asked_to_register() -> None:
    with FakeServer(epmd({})) as server:
        (found,) = prove([attempt(server.port, "vic", 1, error=NoCookie("no cookie at /x"), table=DOWN)])
        assert server.accepted == 0
    assert (found.changed, found.registered, found.table) == (False, False, DOWN)


@pytest.mark.parametrize("started", [True, False])
def test_an_epmd_that_gives_no_table_afterwards_proves_nothing(started: bool) -> None:
    with FakeServer(answer(b"x")) as server:
        (found,) = prove([attempt(server.port, "vic", 1, started=started)])
    assert (found.changed, found.registered, found.started) == (started, False, started)
    assert found.msg.startswith("the node was asked to register itself, but epmd gives no table now: ")
    assert found.reason == "not_registered"


def test_a_name_with_the_right_port_that_somebody_else_holds_is_no_success() -> None:
    """This process is the node, and it has no connection to that epmd."""
    with FakeServer(epmd({"vic": 1})) as server:
        (found,) = prove([attempt(server.port, "vic", 1, pid=os.getpid())])
        assert (found.registered, found.reason) == (False, "not_registered")
        with socket.create_connection(("127.0.0.1", server.port)):
            (found,) = prove([attempt(server.port, "vic", 1, pid=os.getpid())])
    assert (found.registered, found.reason) == (True, "")


@pytest.mark.parametrize(
    ("reply", "changes", "changed", "msg"),
    [
        (OK, {}, True, "registered"),
        (OK, {"given_up": "in place of port 1"}, True, "registered, in place of port 1"),
        (None, {}, False, "registered by itself meanwhile"),
        (None, {"started": True}, True, "epmd was started; registered by itself meanwhile"),
        (
            (Atom("error"), Atom("already_registered")),
            {"given_up": "in place of"},
            False,
            "registered by itself meanwhile",
        ),
    ],
)
def test_how_a_node_came_to_be_registered_is_said(
    reply: Term, changes: dict[str, Any], changed: bool, msg: str
) -> None:
    with FakeServer(epmd({"vic": 1})) as server:
        (found,) = prove([attempt(server.port, "vic", 1, reply, **changes)])
    assert (found.registered, found.changed, found.msg) == (True, changed, msg)
