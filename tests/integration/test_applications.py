# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real ejabberd and RabbitMQ: looked at without a line in their logs, recovered with their clients connected."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from ansible_collections.beamops.epmd.tests.integration.kinds_table import Saw
from ansible_collections.beamops.epmd.tests.integration.support import Register, rehearse
from ansible_collections.beamops.epmd.tests.lab import Application, Container, Ejabberd, Otp, RabbitMq, system

CLI = {Ejabberd: ("/usr/sbin/ejabberdctl", "status"), RabbitMq: ("/usr/lib/rabbitmq/bin/rabbitmqctl", "status")}
HELLO = {
    Ejabberd: (
        5222,
        b"<?xml version='1.0'?><stream:stream to='localhost' xmlns='jabber:client' "
        b"xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>",
    ),
    RabbitMq: (5672, b"AMQP\x00\x00\x09\x01"),
}


@pytest.fixture(params=[Ejabberd, RabbitMq], ids=["ejabberd", "rabbitmq"])
def application(request: pytest.FixtureRequest, otp: Otp) -> Iterator[Application]:
    """Both in turn, on the host's network as an installed service is, with their own files and users."""
    with Container(system(otp.release), "localhost", own=("mount", "uts")) as box, request.param(box) as running:
        yield running


@contextlib.contextmanager
def client(application: Application) -> Iterator[socket.socket]:
    """A connection to the application's main service, which has answered."""
    port, hello = HELLO[type(application)]
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(hello)
        assert connection.recv(65536)
        yield connection


def is_open(connection: socket.socket) -> bool:
    """Whether the other side has not closed it. What it has sent is read and dropped."""
    connection.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while connection.recv(65536):
            pass
        return False
    return True


@pytest.mark.one_release
def test_nothing_is_logged_and_its_clients_stay_connected(
    application: Application, otp: Otp, register: Register, saw: Saw
) -> None:
    box, kind = application.container, type(application)
    alive, port = application.name.partition("@")[0], application.port
    assert all(box.listeners(each) == {application.pid} for each in application.ports)
    with client(application) as connection:
        complaints = application.complaints
        for _unused in range(3):
            healthy = register()
            assert not healthy.changed, healthy.output
            assert (healthy.node["name"], healthy.node["port"]) == (application.name, port)
            assert healthy.node["verdict"] == "registered"
        for user in ("root", application.user):
            (scratch,) = rehearse(register, within=box.command([], user=user), python="/usr/bin/python3")
            assert (scratch["user"], scratch["like"]) == (application.user, [application.name])
        box.kill_epmd()
        tool = application.ctl(*CLI[kind], seconds=20)
        # Their tools are nodes and start an epmd, and then newer nodes register themselves again.
        assert tool.returncode != 0 or otp.release > 23, tool.stdout
        box.kill_epmd()
        done = register(name=alive)
        assert done.changed, done.output
        assert (done.node["name"], done.node["port"]) == (application.name, port)
        assert box.names()[alive] == port
        assert box.holders(4369) == {application.pid}
        assert application.cookie not in done.output
        tool = application.ctl(*CLI[kind], seconds=60)
        assert tool.returncode == 0, tool.stdout
        assert application.complaints == complaints
        assert is_open(connection)
        name = "ejabberd, with six listeners" if kind is Ejabberd else "RabbitMQ, whose name is only in the challenge"
        saw(name, otp.release, "looked at without a line in its log; registered again with its clients connected")
