# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of one question: to an epmd that is honest, slow, hostile or not there, at one address or at many.

For `_sweep/resolve.py`, too.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import socket
import threading
import time
from typing import Any
from unittest import mock

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._limits import (
    MAX_ADDRESSES,
    MAX_ATTEMPTS,
    MAX_LOOKUPS,
    MAX_SWEPT_REPLY,
)
from ansible_collections.beamops.epmd.plugins.module_utils._sweep import ask, resolve
from ansible_collections.beamops.epmd.plugins.module_utils._sweep.ask import Answer
from ansible_collections.beamops.epmd.plugins.module_utils._sweep.hosts import Target
from ansible_collections.beamops.epmd.plugins.module_utils._sweep.resolve import Resolver
from ansible_collections.beamops.epmd.tests.fakes import (
    FakeServer,
    Handler,
    answer,
    drip,
    epmd,
    epmd_server,
    flood,
    hang,
)

VIC = {"vic": 4711}
LINE = b"name vic at port 4711\n"


def asked(host: str, port: int, seconds: float = 60, resolver: Resolver | None = None) -> Answer:
    async def work() -> Answer:
        return await ask.ask(Target(host, host, port, None), resolver or Resolver(), seconds)

    return asyncio.run(work())


def asked_of(handler: Handler, seconds: float = 60) -> Answer:
    with FakeServer(handler) as server:
        return asked("127.0.0.1", server.port, seconds)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A resolver that knows these names alone: lists of addresses, errors, or functions. Numbers are as ever."""
    known: dict[str, Any] = {}
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, **options: Any) -> list[Any]:
        if options.get("flags") or host not in known:
            return real(host, port, **{**options, "flags": socket.AI_NUMERICHOST})
        found = known[host]() if callable(known[host]) else known[host]
        if isinstance(found, Exception):
            raise found
        return [entry for address in found for entry in real(address, port, type=socket.SOCK_STREAM)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


def test_an_honest_epmd() -> None:
    assert asked_of(epmd(VIC)) == Answer("up", VIC, "", "127.0.0.1")
    assert asked_of(epmd({})) == Answer("up", {}, "", "127.0.0.1")


def test_ipv6() -> None:
    with FakeServer(epmd(VIC), address="::1") as server:
        assert asked("::1", server.port) == Answer("up", VIC, "", "::1")


def test_nothing_listens_there() -> None:
    with FakeServer(hang) as server:
        port = server.port
    assert asked("127.0.0.1", port) == Answer("refused", {}, "nothing listens there", "127.0.0.1")


@pytest.mark.parametrize("handler", [hang, drip(epmd_server.names_reply(VIC) + LINE * 100, 0.1)])
def test_one_that_does_not_end_in_time(handler: Handler) -> None:
    assert asked_of(handler, 0.3) == Answer("timeout", {}, "no answer within 0.3 s", "127.0.0.1")


@pytest.mark.parametrize(
    ("handler", "complaint"),
    [
        (answer(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "the first line of its table is malformed"),
        (answer(b"SSH"), "its table is cut off"),
        (answer(epmd_server.names_reply(VIC)[:-1]), "its table is cut off in the last line"),
        (flood(LINE * 1000, epmd_server.names_reply({})), f"its answer has more than {MAX_SWEPT_REPLY} bytes"),
    ],
)
def test_one_that_is_no_epmd(handler: Handler, complaint: str) -> None:
    found = asked_of(handler)
    assert (found.state, found.names) == ("malformed", {})
    assert found.msg.startswith(f"what answers is no epmd: {complaint}")


def test_one_that_hangs_up_is_asked_again() -> None:
    handlers = iter([answer(b""), answer(b""), epmd(VIC)])

    def handler(connection: socket.socket) -> None:
        next(handlers)(connection)

    assert asked_of(handler) == Answer("up", VIC, "", "127.0.0.1")


def test_one_that_always_hangs_up_is_given_up() -> None:
    with mock.patch.object(ask, "AGAIN_SECONDS", 0.001), FakeServer(answer(b"")) as server:
        found = asked("127.0.0.1", server.port)
    assert found == Answer("malformed", {}, "it closed the connection without an answer", "127.0.0.1")
    assert server.accepted == MAX_ATTEMPTS


def test_a_machine_without_descriptors_waits_until_it_has_one() -> None:
    real, left = ask._socket, itertools.count()

    def scarce(family: int) -> socket.socket:
        if next(left) < 6:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(family)

    with FakeServer(epmd(VIC)) as server:
        with mock.patch.multiple(ask, _socket=scarce, AGAIN_SECONDS=0.001):
            assert asked("127.0.0.1", server.port).state == "up"
        none = mock.Mock(side_effect=OSError(errno.EMFILE, "Too many open files"))
        # The first pause would be longer than the time that is left.
        with mock.patch.multiple(ask, _socket=none, AGAIN_SECONDS=1000):
            found = asked("127.0.0.1", server.port)
    assert found.state == "unasked"
    assert found.msg == "this machine could not ask: Too many open files; lower at_once"


def test_a_host_that_can_not_be_reached() -> None:
    with mock.patch.object(ask, "_socket", side_effect=OSError(errno.ENETUNREACH, "Network is unreachable")):
        found = asked("192.0.2.1", 4369)
    assert found == Answer("down", {}, "it can't be reached: Network is unreachable", "192.0.2.1")


def test_a_name_with_several_addresses_is_asked_until_one_answers(names: dict[str, Any]) -> None:
    with FakeServer(epmd(VIC), address="127.0.0.3") as server:
        names["web1"] = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"]
        assert asked("web1", server.port) == Answer("up", VIC, "", "127.0.0.3")


def test_one_address_that_hangs_leaves_time_for_the_others(names: dict[str, Any]) -> None:
    with FakeServer(hang, address="127.0.0.2") as server, FakeServer(epmd(VIC), server.port, "127.0.0.3"):
        names["web1"] = ["127.0.0.2", "127.0.0.3"]
        assert asked("web1", server.port, 3) == Answer("up", VIC, "", "127.0.0.3")


def test_of_several_that_do_not_answer_the_one_that_got_furthest_is_told(names: dict[str, Any]) -> None:
    with FakeServer(hang, address="127.0.0.2") as server:
        names["web1"] = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
        found = asked("web1", server.port, 0.3)
    assert (found.state, found.address) == ("timeout", "127.0.0.2")


def test_of_a_name_with_fifty_addresses_a_few_are_tried(names: dict[str, Any]) -> None:
    names["web1"] = [f"127.0.1.{number}" for number in range(50)]

    async def work() -> list[resolve.Address]:
        return await Resolver().addresses("web1", 4369)

    found = asyncio.run(work())
    assert [address.place for address in found] == [(f"127.0.1.{number}", 4369) for number in range(MAX_ADDRESSES)]


@pytest.mark.parametrize(
    ("host", "error", "complaint"),
    [
        ("web1", socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        ("web1", UnicodeError("label empty or too long"), "label empty or too long"),
    ],
)
def test_a_name_without_an_address(host: str, error: Exception, complaint: str, names: dict[str, Any]) -> None:
    names[host] = error
    assert asked(host, 4369) == Answer("unresolved", {}, f"{host} has no address: {complaint}")


def test_a_resolver_that_hangs_holds_up_nothing_but_names(names: dict[str, Any]) -> None:
    over = threading.Event()
    names.update({f"web{number}": lambda: over.wait(60) and [] for number in range(2 * MAX_LOOKUPS)})

    async def work(port: int) -> list[Answer]:
        resolver = Resolver()
        questions = [ask.ask(Target(name, name, port, None), resolver, 0.3) for name in names]
        numbered = ask.ask(Target("vic", "127.0.0.1", port, None), resolver, 60)
        return list(await asyncio.gather(*questions, numbered))

    before = threading.active_count()
    with FakeServer(epmd(VIC)) as server:
        *hung, healthy = asyncio.run(work(server.port))
        assert threading.active_count() - before <= MAX_LOOKUPS + 1
    over.set()
    assert {found.state for found in hung} == {"unresolved"}
    assert hung[0].msg == "web0 has no address: the resolver gave none within 0.3 s"
    assert healthy.state == "up"


def test_addresses_are_kept_for_a_while_and_forgotten_after_a_failure(names: dict[str, Any]) -> None:
    lookups = []

    def look_up() -> list[str]:
        lookups.append(time.monotonic())
        return ["127.0.0.1"]

    names["web1"] = look_up
    resolver = Resolver(keep=3600)

    async def work(port: int) -> str:
        return (await ask.ask(Target("web1", "web1", port, None), resolver, 60)).state

    def both(port: int) -> list[str]:
        return [asyncio.run(work(port)) for _unused in range(2)]

    with FakeServer(epmd(VIC)) as server:
        assert both(server.port) == ["up", "up"]
        assert len(lookups) == 1
    assert both(server.port) == ["refused", "refused"]
    assert len(lookups) == 2


def test_who_ends_the_work_from_outside_is_not_answered_with_a_timeout() -> None:
    async def work(port: int) -> None:
        task = asyncio.ensure_future(ask.ask(Target("a", "127.0.0.1", port, None), Resolver(), 60))
        while not server.accepted:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with FakeServer(hang) as server:
        asyncio.run(work(server.port))
