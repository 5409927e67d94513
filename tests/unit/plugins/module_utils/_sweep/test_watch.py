# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A watch over fake epmds, in a loop of its own: events, arguments, and the files of its hosts and of its state.

For `_sweep/state_file.py`, too. What follows from which answer is tested in `test_known.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import stat
from pathlib import Path
from typing import Any, AsyncIterator, Callable
from unittest import mock

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._errors import InvalidOption
from ansible_collections.beamops.epmd.plugins.module_utils._sweep import healing, state_file, watch
from ansible_collections.beamops.epmd.plugins.module_utils._sweep.watch import Options, Watch, options
from ansible_collections.beamops.epmd.tests.fakes import FakeServer, epmd, hang


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"hosts": [], "intervals": 5}, "there is no argument intervals: did you mean interval? (there are hosts, "),
        ({"hosts": [], "x": 5}, "there is no argument x (there are hosts, hosts_file, interval, grace, "),
        ({}, "give either hosts, a list, or hosts_file, the path of a file with one"),
        ({"hosts": [], "hosts_file": "x"}, "give either hosts, a list, or hosts_file"),
        ({"hosts": [], "interval": 0}, "interval is 0: give 1 to 3600"),
        ({"hosts": [], "interval": "soon"}, "interval is 'soon': give 1 to 3600"),
        ({"hosts": [], "interval": True}, "interval is True: give 1 to 3600"),
        ({"hosts": [], "interval": float("nan")}, "interval is nan: give 1 to 3600"),
        ({"hosts": [], "grace": -1}, "grace is -1: give 0 to 86400"),
        ({"hosts": [], "timeout": 0}, "timeout is 0: give 0.001 to 3600"),
        ({"hosts": [], "at_once": 5000}, "at_once is 5000: give 1 to 1024"),
        ({"hosts": [], "heal_per_fleet": -1}, "heal_per_fleet is -1: give 0 to 1000"),
        ({"hosts_file": 5}, "hosts_file is 5: give the path of a file"),
        ({"hosts": [], "state_file": ""}, "state_file is '': give the path of a file"),
    ],
)
def test_arguments_that_can_not_be_meant_are_refused_in_one_sentence(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidOption) as raised:
        options(arguments)
    assert str(raised.value).startswith(complaint)


def test_numbers_may_come_as_text_as_templates_give_them() -> None:
    found = options({"hosts": ["a"], "interval": "5", "at_once": "10", "state_file": None})
    assert found == Options(hosts=["a"], interval=5.0, at_once=10)


@contextlib.asynccontextmanager
async def watching(wanted: Options) -> AsyncIterator[Any]:
    """A watch that asks as often as it can; its events come as they do to a rule."""
    queue: asyncio.Queue[Any] = asyncio.Queue()
    with mock.patch.object(watch, "SOON_SECONDS", 0.01), mock.patch.object(watch, "SAVE_SECONDS", 0.01):
        task = asyncio.get_event_loop().create_task(Watch(wanted, queue.put).run())
        try:
            yield queue
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def next_of(queue: Any) -> dict[str, Any]:
    event: dict[str, Any] = await asyncio.wait_for(queue.get(), 60)
    return event


async def until(condition: Callable[[], object]) -> None:
    for _unused in range(6000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it does not come true")


def entry(name: str, server: FakeServer, **more: Any) -> dict[str, Any]:
    return {"name": name, "host": "127.0.0.1", "port": server.port, **more}


def test_a_name_that_is_lost_and_comes_back_with_what_its_port_tells_of_the_node() -> None:
    async def work(names: dict[str, int], server: FakeServer, node: FakeServer) -> None:
        wanted = Options(hosts=[entry("web1", server)], interval=0.01, grace=0.05)
        async with watching(wanted) as queue:
            await until(lambda: server.accepted > 1)  # so that the first answer was seen
            del names["vic"]
            event = await next_of(queue)
            assert event["meta"] == {"hosts": "web1"}
            assert {key: event["epmd"][key] for key in ("type", "name", "port", "node", "heal")} == {
                "type": "lost",
                "name": "vic",
                "port": node.port,
                "node": "running",
                "heal": True,
            }
            names["vic"] = node.port
            back = (await next_of(queue))["epmd"]
            assert (back["type"], back["heal"]) == ("back", False)
            node.close()
            del names["vic"]
            stopped = (await next_of(queue))["epmd"]
            assert (stopped["type"], stopped["node"], stopped["heal"]) == ("lost", "stopped", False)
            assert (event["epmd"]["msg"], stopped["msg"]) == (
                "its node runs on without the name",
                "its node does not run any more",
            )

    with FakeServer(hang) as node:
        names = {"vic": node.port}
        with FakeServer(epmd(names)) as server:
            asyncio.run(work(names, server, node))


def test_a_node_that_is_restarted_with_another_port_is_no_event_and_one_that_still_runs_has_moved() -> None:
    async def work(names: dict[str, int], server: FakeServer, nodes: list[FakeServer]) -> None:
        async with watching(Options(hosts=[entry("web1", server)], interval=0.01, grace=0.02)) as queue:
            await until(lambda: server.accepted > 1)  # so that the first answer was seen
            nodes[0].close()
            names["vic"] = nodes[1].port
            asked = server.accepted
            await until(lambda: server.accepted > asked + 20)
            assert queue.empty()
            names["vic"] = nodes[2].port
            moved = (await next_of(queue))["epmd"]
            assert (moved["type"], moved["was"], moved["port"]) == ("moved", nodes[1].port, nodes[2].port)
            assert moved["msg"] == "something still listens on the old port: two nodes may want this name"

    with FakeServer(hang) as one, FakeServer(hang) as two, FakeServer(hang) as three:
        names = {"vic": one.port}
        with FakeServer(epmd(names)) as server:
            asyncio.run(work(names, server, [one, two, three]))


def test_hosts_that_never_answered_are_named_once_and_no_alarm() -> None:
    async def work(up: FakeServer, down: FakeServer) -> None:
        down.close()
        hosts = [entry("fine", up), entry("loopback", down, expected=["vic"])]
        async with watching(Options(hosts=hosts, interval=0.01, grace=0)) as queue:
            event = await next_of(queue)
            asked = up.accepted
            await until(lambda: up.accepted > asked + 20)
            assert queue.empty()
        assert "meta" not in event
        assert {key: event["epmd"][key] for key in ("type", "hosts", "number", "heal")} == {
            "type": "unwatched",
            "hosts": ["loopback"],
            "number": 1,
            "heal": False,
        }

    with FakeServer(epmd({})) as up, FakeServer(hang) as down:
        asyncio.run(work(up, down))


def test_the_file_of_hosts_is_followed_and_one_that_can_not_be_used_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "hosts.json"

    async def work(one: FakeServer, two: FakeServer) -> None:
        file.write_text(json.dumps([entry("one", one)]))
        async with watching(Options(hosts_file=str(file), interval=0.01)) as queue:
            await until(lambda: one.accepted)
            inventory = {"one": {"ansible_host": "127.0.0.1", "epmd_port": one.port}}
            inventory["two"] = {"ansible_host": "127.0.0.1", "epmd_port": two.port}
            file.write_text(json.dumps({"_meta": {"hostvars": inventory}}))
            await until(lambda: two.accepted)
            file.write_text(json.dumps([entry("two", two)]))
            file.write_text("[")
            event = (await next_of(queue))["epmd"]
            assert event["type"] == "hosts_file"
            assert event["msg"].startswith(f"hosts_file {file} is not JSON: write it with ansible-inventory --list; ")
            asked = two.accepted
            await until(lambda: two.accepted > asked)
            file.write_text(json.dumps([entry("two", two)]))
            asked = two.accepted
            await until(lambda: two.accepted > asked + 20)
            asked = one.accepted
            await until(lambda: two.accepted > asked + 20)
            assert one.accepted == asked

    with FakeServer(epmd({})) as one, FakeServer(epmd({})) as two:
        asyncio.run(work(one, two))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "can't be read: No such file or directory"),
        ("x", "is not JSON: write it with ansible-inventory --list"),
        pytest.param("[" * 100_000, "is not JSON: write it with ansible-inventory --list", id="deep"),
        ("{}", ": the inventory has no _meta.hostvars: write it with ansible-inventory --list"),
        ('["a:0"]', ": entry 1 of hosts is '0', which is not a TCP port: give 1 to 65535"),
    ],
)
def test_a_file_of_hosts_that_can_not_be_used_at_the_start_is_refused(
    text: str | None, complaint: str, tmp_path: Path
) -> None:
    file = tmp_path / "hosts.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InvalidOption) as raised:
        Watch(Options(hosts_file=str(file)), mock.Mock())
    assert str(raised.value) in (f"hosts_file {file} {complaint}", f"hosts_file {file}{complaint}")


def test_what_is_known_survives_a_restart_and_is_told_once(tmp_path: Path) -> None:
    state = tmp_path / "state.json"

    async def first(names: dict[str, int]) -> None:
        async with watching(wanted) as queue:
            await until(state.exists)
            del names["vic"]
            assert (await next_of(queue))["epmd"]["heal"] is True
            await until(lambda: json.loads(state.read_text())["healing"]["granted"])

    async def second(names: dict[str, int], server: FakeServer) -> None:
        async with watching(wanted) as queue:
            asked = server.accepted
            await until(lambda: server.accepted > asked + 20)
            assert queue.empty()
            names["vic"] = 4711
            assert (await next_of(queue))["epmd"]["type"] == "back"
            del names["vic"]
            again = [(await next_of(queue))["epmd"] for _unused in range(2)]
            assert [(event["type"], event["heal"], event.get("reason")) for event in again] == [
                ("lost", False, None),
                ("call", False, "host_limit"),
            ]

    names = {"vic": 4711}
    with FakeServer(epmd(names)) as server, mock.patch.object(watch, "runs", side_effect=_unknown):
        wanted = Options(
            hosts=[entry("web1", server)], interval=0.01, grace=0.02, state_file=str(state), heal_per_host=1
        )
        asyncio.run(first(names))
        assert stat.S_IMODE(state.stat().st_mode) == 0o600
        assert os.listdir(tmp_path) == ["state.json"]
        asyncio.run(second(names, server))


async def _unknown(*_place: object) -> str:
    return "unknown"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "it is not JSON"),
        pytest.param("[" * 100_000, "it is not JSON", id="deep"),
        ("[]", "it is not a state file of version 1"),
        ('{"version": 2, "epmds": {}, "healing": {}}', "it is not a state file of version 1"),
        ('{"version": 1, "epmds": {"a 1": {}}, "healing": {}}', "it is not what a watch writes"),
        ('{"version": 1, "epmds": [], "healing": {}}', "it is not what a watch writes"),
        ('{"version": 1, "epmds": {}, "healing": {}}', "it is not what a watch writes"),
    ],
)
def test_a_damaged_state_file_is_refused_and_stays(text: str, complaint: str, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    state.write_text(text)
    with pytest.raises(InvalidOption) as raised:
        Watch(Options(hosts=["a"], state_file=str(state)), mock.Mock())
    assert str(raised.value) == (
        f"state_file {state} can't be used: {complaint}; move it away, and the watch starts anew"
    )
    assert state.read_text() == text


def test_a_state_file_that_can_not_be_written_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match=r"nothing can be written in .*: create it, or give another one"):
        Watch(Options(hosts=["a"], state_file=str(tmp_path / "no" / "state.json")), mock.Mock())


def test_a_state_file_that_can_not_be_written_later_is_an_event(tmp_path: Path) -> None:
    async def work(server: FakeServer) -> None:
        wanted = Options(hosts=[entry("web1", server)], interval=0.01, state_file=str(tmp_path / "state.json"))
        with mock.patch.object(state_file, "write", side_effect=OSError(28, "No space left on device")):
            queue: asyncio.Queue[Any] = asyncio.Queue()
            with mock.patch.object(watch, "SAVE_SECONDS", 0.01):
                task = asyncio.get_event_loop().create_task(Watch(wanted, queue.put).run())
                event = (await next_of(queue))["epmd"]
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        assert event["msg"] == f"state_file {tmp_path}/state.json can't be written: No space left on device"

    with FakeServer(epmd({})) as server:
        asyncio.run(work(server))


def test_a_person_is_called_where_a_recovery_did_not_help() -> None:
    async def work(names: dict[str, int], server: FakeServer) -> None:
        async with watching(Options(hosts=[entry("web1", server)], interval=0.01, grace=0)) as queue:
            await until(lambda: server.accepted > 1)  # so that the first answer was seen
            names.clear()
            assert (await next_of(queue))["epmd"]["heal"] is True
            event = await next_of(queue)
            assert (event["epmd"]["type"], event["epmd"]["reason"]) == ("call", "not_healed")
            assert event["meta"] == {"hosts": "web1"}

    names = {"vic": 4711}
    soon = mock.patch.object(healing, "RECOVERY_SECONDS", 0.05)
    with soon, mock.patch.object(watch, "runs", side_effect=_unknown), FakeServer(epmd(names)) as server:
        asyncio.run(work(names, server))


def test_an_epmd_that_is_up_again_may_be_recovered_again_and_is_no_call() -> None:
    async def work(server: FakeServer) -> None:
        hosts = [entry("web1", server)]
        async with watching(Options(hosts=hosts, interval=0.01, grace=0)) as queue:
            await until(lambda: server.accepted > 1)  # so that the first answer was seen
            for _unused in range(2):
                server.close()
                down = (await next_of(queue))["epmd"]
                assert (down["type"], down["names"], down["heal"]) == ("epmd_down", ["vic"], True)
                server = FakeServer(epmd({"vic": 4711}), server.port)
                assert (await next_of(queue))["epmd"]["type"] == "epmd_up"
            server.close()

    with mock.patch.object(watch, "runs", side_effect=_unknown):
        asyncio.run(work(FakeServer(epmd({"vic": 4711}))))


def test_a_mistake_of_ours_ends_the_watch_and_is_not_swallowed() -> None:
    async def work(server: FakeServer) -> None:
        with mock.patch.object(watch, "ask", side_effect=ZeroDivisionError), pytest.raises(ZeroDivisionError):
            await Watch(Options(hosts=[entry("a", server)], interval=0.01), mock.Mock()).run()

    with FakeServer(epmd({})) as server:
        asyncio.run(work(server))
