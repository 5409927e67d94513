# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An epmd that gets a unit of its own under running nodes, on a host with a real systemd and Debian's units for epmd.

The host is booted once for each release. Each test leaves it as it was.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.beamops.epmd.tests.integration.support import COOKIE, RELEASES, run_ansible
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


SSH = """#!/bin/sh
# Stands in for ssh(1): the last argument is the command, and the place is always the same.
for command; do :; done
exec {enter} sh -c "$command"
"""


class Play:
    """`ansible-playbook` against the host, with extra variables as keywords."""

    def __init__(self, box: Systemd, directory: Path) -> None:
        self._directory = directory
        ssh = directory / "ssh"
        ssh.write_text(SSH.format(enter=shlex.join(box.command([]))))
        ssh.chmod(0o700)
        (directory / "hosts.ini").write_text(
            f"box ansible_connection=ssh ansible_ssh_executable={ssh} ansible_ssh_transfer_method=piped "
            "ansible_python_interpreter=/usr/bin/python3 ansible_become_method=su\n"
        )

    def __call__(self, playbook: str, *flags: str, **extra: Any) -> subprocess.CompletedProcess[str]:
        hosts = str(self._directory / "hosts.ini")
        return run_ansible(
            ["ansible-playbook", "-i", hosts, playbook, *flags, "-e", json.dumps(extra)], self._directory, None
        )


@pytest.fixture
def play(box: Systemd, tmp_path: Path) -> Play:
    """The role and the playbooks."""
    return Play(box, tmp_path)


ROLE = """
- name: Give epmd a unit of its own
  hosts: all
  gather_facts: false
  roles:
    - role: beamops.epmd.epmd_service
"""


@pytest.fixture
def role(play: Play, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A playbook with the role alone."""
    playbook = tmp_path / "role.yml"
    playbook.write_text(ROLE)

    def run(*flags: str, **extra: Any) -> subprocess.CompletedProcess[str]:
        return play(str(playbook), *flags, **extra)

    return run


def test_role(box: Systemd, crowd: Crowd, role) -> None:
    print(role("--check", "--diff").stdout)
    done = role("--diff", "-v")
    print(done.stdout, done.stderr)
    print(box.run("cat", "/etc/systemd/system/epmd.socket.d/beamops.conf"))
    print(box.run("ss", "-ltn"))
    again = role("--diff", "-v")
    print(again.stdout)
    assert 0

