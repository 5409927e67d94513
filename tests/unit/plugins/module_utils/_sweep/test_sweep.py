# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Very many epmds at once: bounded, flat in memory, and each hostile one costs its own slot alone."""

from __future__ import annotations

import asyncio
import collections
import resource
import socket
import threading
import tracemalloc
from typing import Iterator
from unittest import mock

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._errors import InvalidOption
from ansible_collections.beamops.epmd.plugins.module_utils._sweep import sweep
from ansible_collections.beamops.epmd.plugins.module_utils._sweep.ask import Answer
from ansible_collections.beamops.epmd.plugins.module_utils._sweep.hosts import Target
from ansible_collections.beamops.epmd.tests.fakes import (
    FakeServer,
    Handler,
    answer,
    create_server,
    epmd,
    epmd_server,
    flood,
    hang,
)


@pytest.fixture
def port() -> Iterator[int]:
    """The port of an epmd at every loopback address, which has one name and answers one after the other."""
    with create_server(("0.0.0.0", 0), backlog=1024) as listener:
        reply = epmd_server.names_reply({"vic": 4711})

        def serve() -> None:
            while True:
                connection, _peer = listener.accept()
                with connection:
                    if not connection.recv(16):
                        return
                    connection.sendall(reply)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        number: int = listener.getsockname()[1]
        yield number
        with socket.create_connection(("127.0.0.1", number)) as last:
            last.shutdown(socket.SHUT_WR)
            thread.join(60)


def many(number: int, port: int) -> Iterator[Target]:
    return (Target(f"h{n}", f"127.1.{n // 256}.{n % 256}", port, None) for n in range(number))


def states(targets: Iterator[Target], timeout: float, at_once: int) -> dict[str, int]:
    found: dict[str, int] = collections.Counter()

    def count(_target: Target, answer: Answer) -> None:
        found[answer.state] += 1

    asyncio.run(sweep.sweep(targets, timeout, at_once, count))
    return dict(found)


def test_more_epmds_take_no_more_memory(port: int) -> None:
    def peak(number: int) -> int:
        tracemalloc.start()
        try:
            assert states(many(number, port), 60, 20) == {"up": number}
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(50)  # what is made once
    assert peak(1000) < 2 * peak(50)


def test_no_more_are_asked_at_once_than_there_are_slots() -> None:
    there, most, lock = 0, [0], threading.Lock()

    def handler(connection: socket.socket) -> None:
        nonlocal there
        with lock:
            there += 1
            most[0] = max(most[0], there)
        connection.recv(16)
        with lock:
            there -= 1
        connection.sendall(epmd_server.names_reply({}))

    with FakeServer(handler, address="127.0.0.1") as server:
        targets = (Target(str(number), "127.0.0.1", server.port, None) for number in range(40))
        assert states(targets, 60, 4) == {"up": 40}
    assert 1 <= most[0] <= 4


@pytest.mark.parametrize(
    "hostile", [hang, flood(b"name x at port 1\n" * 4096, epmd_server.names_reply({})), answer(b"\xff" * 65000)]
)
def test_hostile_ones_cost_nobody_else_anything(hostile: Handler) -> None:
    """Each in its slot until its time is up, while all others are asked in what slots are left."""
    with FakeServer(hostile, address="127.0.0.2") as bad, FakeServer(epmd({}), address="127.0.0.3") as good:
        order = [Target(f"bad{number}", "127.0.0.2", bad.port, None) for number in range(3)]
        order += [Target(f"good{number}", "127.0.0.3", good.port, None) for number in range(50)]
        seen: list[str] = []
        asyncio.run(sweep.sweep(order, 5, 4, lambda target, answer: seen.append(f"{target.name} {answer.state}")))
    assert sorted(seen[:50] if hostile is hang else seen)[-50:] == sorted(f"good{number} up" for number in range(50))
    assert len(seen) == 53


def test_fewer_slots_than_wanted_if_there_are_not_enough_descriptors() -> None:
    with mock.patch.object(resource, "getrlimit", return_value=(1024, 4096)):
        assert 1 <= sweep.slots(1000) < 1000
        assert sweep.slots(5) == 5
    with mock.patch.object(resource, "getrlimit", return_value=(16, 16)):
        assert sweep.slots(1000) == 1
    with mock.patch.object(resource, "getrlimit", return_value=(resource.RLIM_INFINITY, 0)):
        assert sweep.slots(1000) == 1000


@pytest.mark.parametrize(
    ("timeout", "at_once", "complaint"),
    [
        (0, 1, "timeout 0 is not a time to wait: give seconds above 0, up to 3600"),
        (float("nan"), 1, "timeout nan is not a time to wait: give seconds above 0, up to 3600"),
        (1, 0, "at_once 0 is not a number of epmds: give 1 to 1024"),
        (1, 1025, "at_once 1025 is not a number of epmds: give 1 to 1024"),
    ],
)
def test_values_that_make_no_sense_are_refused(timeout: float, at_once: int, complaint: str) -> None:
    with pytest.raises(InvalidOption) as raised:
        sweep.check(timeout, at_once)
    assert str(raised.value) == complaint
