# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The unit of a process is read from its cgroup, and an epmd in somebody else's is noticed."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._host import listeners, owners, processes
from ansible_collections.beamops.epmd.plugins.module_utils._steps import daemons
from ansible_collections.beamops.epmd.tests.fakes import FakeServer, epmd


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("0::/system.slice/epmd.service\n", "epmd.service"),
        ("0::/system.slice/ejabberd.service\n", "ejabberd.service"),
        ("0::/system.slice/system-epmd.slice/epmd@0.0.0.0.service\n", "epmd@0.0.0.0.service"),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", "session-3.scope"),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/app.service\n", "app.service"),
        ("12:cpu:/x\n1:name=systemd:/system.slice/rabbitmq-server.service\n0::/\n", "rabbitmq-server.service"),
        ("0::/\n", None),
        ("0::/docker/0123\n", None),
        ("", None),
        ("garbage\n", None),
    ],
)
def test_the_innermost_unit_counts(cgroup: str, unit: str | None) -> None:
    assert daemons.unit_in(cgroup) == unit


def test_a_thousand_foreign_names_cost_one_look_at_the_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Any] = []
    real = listeners.tcp

    def counted(source: Any) -> list[Any]:
        looks.append(source)
        return real(source)

    with socket.create_server(("127.0.0.1", 0)) as epmd, socket.create_server(("127.0.0.1", 0)) as squatter:
        port, at = epmd.getsockname()[1], squatter.getsockname()[1]
        monkeypatch.setattr(owners, "tcp", counted)
        names = {**{f"n{number}": 1 for number in range(1000)}, "own": 2, "squatted": at}
        found = daemons.describe(port, names, {2}, None, 10)
    assert found is not None
    assert len(looks) <= 2
    assert [name["name"] for name in found["foreign"]] == sorted({*names} - {"own"})
    (one,) = [name for name in found["foreign"] if name["name"] == "squatted"]
    assert (one["pid"], one["port"]) == (os.getpid(), at)


@pytest.mark.parametrize(
    ("unit", "application"),
    [
        ("epmd.service", False),
        ("epmd@0.0.0.0.service", False),
        ("beamops-epmd-4370.service", False),
        ("ejabberd.service", True),
        ("epmdish.service", True),
        ("session-3.scope", False),
        (None, False),
    ],
)
def test_an_epmd_belongs_into_a_unit_of_its_own(unit: str | None, application: bool) -> None:
    assert daemons.is_application(unit) is application


def test_where_nothing_listens_there_is_no_epmd() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    assert daemons.describe(free, None, set(), None, 60) is None


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_an_epmd_is_told_with_what_it_says_and_where_it_lives(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "epmd_pid", lambda _port: os.getpid())
    with FakeServer(epmd({"vic": 4711}), address=address) as server:
        found = daemons.describe(server.port, None, {4711}, 7, 60)
    assert found == {
        "port": server.port,
        "addresses": [address],
        "pid": os.getpid(),
        "user": processes.user_name(os.geteuid()),
        "unit": daemons.unit_of(os.getpid()),
        "in_application_unit": daemons.is_application(daemons.unit_of(os.getpid())),
        "names": {"vic": 4711},
        "foreign": [],
        "namespace": 7,
    }


def test_a_process_that_has_ended_has_no_user_and_no_unit() -> None:
    gone = 2**22 + 1
    assert daemons.user_of(gone) is None
    assert daemons.unit_of(gone) is None
