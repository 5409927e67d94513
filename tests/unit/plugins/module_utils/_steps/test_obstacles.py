# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a node from its epmd, and that a look asks no epmd that would be started by it.

Tests `_steps/tables.py` and `_host/loopback.py`, too.
"""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._deadline import Deadline
from ansible_collections.beamops.epmd.plugins.module_utils._host import loopback, owners
from ansible_collections.beamops.epmd.plugins.module_utils._steps import obstacles, tables
from ansible_collections.beamops.epmd.plugins.module_utils._wire import epmd_client
from ansible_collections.beamops.epmd.plugins.module_utils._wire.epmd_client import DOWN, Daemon, State, Table
from ansible_collections.beamops.epmd.tests.fakes import FakeServer, create_server, epmd, hang


def ask(address: str, port: int) -> Table:
    return tables.ask(Daemon(address, port), Deadline(60))


def test_an_epmd_that_answers_has_a_table() -> None:
    with FakeServer(epmd({"vic": 1})) as server:
        assert ask("127.0.0.1", server.port) == Table(State.UP, {"vic": 1})


def test_where_nothing_has_its_port_it_is_down() -> None:
    with create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert ask("127.0.0.1", port) == DOWN


@pytest.mark.parametrize(("at", "asked"), [("127.0.0.2", "127.0.0.1"), ("::1", "127.0.0.1"), ("127.0.0.1", "::1")])
def test_what_listens_elsewhere_is_in_the_way(at: str, asked: str) -> None:
    with FakeServer(hang, address=at) as server:
        found = ask(asked, server.port)
        assert server.accepted == 0
    assert found.state is State.MUTE
    assert found.trouble == (
        f"the node asks {asked} port {server.port}, where nothing listens, but something has that port at {at}, so no "
        f"epmd can be started: have that listen at {asked} too, or free the port"
    )


@pytest.mark.parametrize(("at", "asked"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "::1")])
def test_a_firewall_may_refuse(at: str, asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners, "addresses", lambda _port: [at])
    with create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert ask(asked, port).trouble == (
        f"{asked} port {port} refuses the connection, although something listens there: look for a firewall"
    )


def test_an_epmd_that_was_started_meanwhile_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeServer(epmd({})) as server:
        daemon = Daemon("127.0.0.1", server.port)
        assert obstacles.explain(daemon, DOWN, Deadline(60)) == Table(State.UP, {})
    # And one that has ended meanwhile is down.
    seen = iter([["127.0.0.2"], []])
    monkeypatch.setattr(owners, "addresses", lambda _port: next(seen))
    assert obstacles.explain(daemon, DOWN, Deadline(60)) == DOWN


def test_an_epmd_that_systemd_starts_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_given: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(owners, "is_awaited", lambda _port: True)
    monkeypatch.setattr(epmd_client, "ask_names", fail)
    found = ask("127.0.0.1", 4369)
    assert (found.state, found.trouble) == (
        State.DOWN,
        "systemd listens on its port, and starts it for the first who asks",
    )


@pytest.mark.parametrize(
    ("address", "is_up", "is_ours", "cure"),
    [
        ("127.0.0.1", True, True, ""),
        ("127.0.0.1", False, True, "the loopback interface is down: ip link set lo up"),
        ("::1", True, False, "::1 is no address of this host: sysctl net.ipv6.conf.lo.disable_ipv6=0"),
        ("::1", True, True, ""),
        ("127.0.0.1", True, False, ""),
    ],
)
def test_the_network_of_the_host_itself_may_be_in_the_way(
    address: str, is_up: bool, is_ours: bool, cure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loopback, "_is_up", lambda: is_up)
    monkeypatch.setattr(loopback, "_is_ours", lambda _address: is_ours)
    mute = Table(State.MUTE, {}, "no answer within 5 s")
    found = obstacles.explain(Daemon(address, 4369), mute, Deadline(60))
    assert found.trouble == (f"no answer within 5 s ({cure})" if cure else "no answer within 5 s")


def test_this_host_can_reach_itself() -> None:
    assert loopback.cure("127.0.0.1") == loopback.cure("::1") == ""
    assert "is no address of this host" in loopback.cure("2001:db8::1")
