# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An epmd that gets a unit of its own under running nodes, on a host with a real systemd and Debian's units for epmd.

The host is booted once for each release. Each test leaves it as it was.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.beamops.epmd.tests.integration.support import COOKIE, RELEASES
from ansible_collections.beamops.epmd.tests.lab import Systemd, UnitNode, system, wait_until

BOOTED = {int(release) for release in os.environ.get("BEAMOPS_BOOTED", "").split()} or set(RELEASES)

UNITS = ("epmd.socket", "epmd.service")

PUT_BACK = """
systemctl --quiet stop 'beamops-epmd-*' epmd.socket epmd.service
while pkill --signal KILL --exact epmd; do sleep 0.1; done
rm -rf /etc/systemd/system/epmd.* /etc/systemd/system/*.wants/epmd.* /run/systemd/system/epmd.* /run/beamops-epmd-*
systemctl --quiet unmask epmd.socket epmd.service
systemctl --quiet enable epmd.socket epmd.service
systemctl daemon-reload
systemctl reset-failed
"""


@pytest.fixture(
    scope="module",
    params=sorted({23, *BOOTED} & set(RELEASES)),  # OTP 23 never comes back by itself
    ids=lambda release: f"otp{release}",
)
def host(request: pytest.FixtureRequest) -> Iterator[Systemd]:
    """The host."""
    with Systemd(system(request.param)) as running:
        running.run("sh", "-e", "-c", PUT_BACK)
        yield running


@pytest.fixture
def box(host: Systemd) -> Iterator[Systemd]:
    """The host, with no epmd, and as it was after the test."""
    yield host
    host.run("sh", "-e", "-c", PUT_BACK)
    assert not host.listeners()


class Crowd:
    """An application with epmd in its cgroup, and a node of somebody else that is connected to another one."""

    def __init__(self, box: Systemd, app: UnitNode, vic: UnitNode, client: UnitNode) -> None:
        self.box = box
        self.app, self.vic, self.client = app, vic, client
        self.nodes = (app, vic, client)
        self.table = {"app": app.port, "vic": vic.port, "client": client.port}

    def lives(self) -> list[Any]:
        """What must not change."""
        return [self.box.life(node) for node in self.nodes]


CONNECT = 'net_kernel:connect_node(list_to_atom("vic@" ++ tl(string:find(atom_to_list(node()), "@"))))'
WATCH = (
    "spawn(fun() -> net_kernel:monitor_nodes(true), true = %s, "
    'receive {nodedown, N} -> os:cmd("echo down >/tmp/down") end end).'
)


@pytest.fixture
def crowd(box: Systemd) -> Iterator[Crowd]:
    """`app` has started epmd; `client` is connected to `vic`, and would tell if it lost that connection."""
    watch = ["-eval", WATCH % CONNECT]
    with box.node("app", COOKIE) as app, box.node("vic", COOKIE, user="rabbitmq") as vic:
        with box.node("client", COOKIE, user="rabbitmq", args=watch) as client:
            found = Crowd(box, app, vic, client)
            assert box.names() == found.table
            before = found.lives()
            yield found
            assert found.lives() == before
            assert box.completed(["test", "-e", "/tmp/down"]).returncode != 0


def restart(box: Systemd, **options: Any) -> dict[str, Any]:
    """The result of `epmd_restart`."""
    result = box.module("epmd_restart", **options)
    assert COOKIE not in str(result)
    return result


def daemon(box: Systemd) -> dict[str, Any]:
    """The only epmd, by `epmd_facts`."""
    (found,) = box.module("epmd_facts")["ansible_facts"]["epmd"]["daemons"]
    return dict(found)


def test_an_epmd_in_the_unit_of_an_application_gets_its_own(box: Systemd, crowd: Crowd) -> None:
    assert daemon(box)["unit"] == "app.service"
    result = restart(box)
    print(result)
    assert result["changed"]
    assert result["before"] == result["after"] == box.names() == crowd.table
    assert daemon(box)["unit"] == "epmd.service"
    again = restart(box)
    print(again)
    assert not again["changed"]
    third = restart(box, state="restarted")
    print(third)
