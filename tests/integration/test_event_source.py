# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The event source beamops.epmd.names with real epmds and nodes, run as ansible-rulebook runs it: by its path.

ansible-rulebook itself is in `test_rulebook.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import runpy
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._sweep.ask import runs
from ansible_collections.beamops.epmd.tests.integration.support import CHECKOUT, COOKIE, NEWEST, settle
from ansible_collections.beamops.epmd.tests.lab import Epmd, Node, Otp

SOURCE = CHECKOUT / "extensions" / "eda" / "plugins" / "event_source" / "names.py"


def source() -> Callable[..., Any]:
    """Its entry point, as ansible-rulebook gets it."""
    return runpy.run_path(str(SOURCE))["main"]  # type: ignore[no-any-return]


@contextlib.asynccontextmanager
async def watching(state: Path, *hosts: dict[str, Any]) -> AsyncIterator[Callable[[], Any]]:
    """The event source over these epmds, which have all been asked; what it yields waits for the next event."""
    queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    arguments = {"hosts": list(hosts), "interval": 1, "grace": 5, "state_file": str(state)}
    main = source()
    task = asyncio.create_task(main(queue, arguments))

    async def event() -> dict[str, Any]:
        found: dict[str, Any] = (await asyncio.wait_for(queue.get(), 60))["epmd"]
        return found

    def asked() -> bool:
        return state.exists() and all(epmd["seen"] for epmd in json.loads(state.read_text())["epmds"].values())

    try:
        while not asked():
            await asyncio.wait([task], timeout=0.1)
            assert not task.done()
        yield event
        assert queue.empty()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def at(name: str, epmd: Epmd) -> dict[str, Any]:
    return {"name": name, "host": "127.0.0.1", "port": epmd.port}


@NEWEST
def test_what_befalls_real_nodes(otp: Otp, tmp_path: Path) -> None:
    """One story, since most of it is waiting. Each epmd is as on a host of its own."""

    async def story(a: Epmd, b: Epmd) -> None:
        def node(name: str, epmd: Epmd) -> Node:
            return otp.node(name, epmd_port=epmd.port, cookie=COOKIE)

        with node("ann", a) as before, node("bob", b) as stopped, node("bea", b) as stays:
            log = stays.log
            async with watching(tmp_path / "state.json", at("a", a), at("b", b)) as event:
                # A restart, on another port, of which there is no event in all that follows.
                before.close()
                with node("ann", a):
                    stopped.close()
                    lost = await event()
                    assert {key: lost[key] for key in ("type", "host", "name", "node", "heal")} == {
                        "type": "lost",
                        "host": "b",
                        "name": "bob",
                        "node": "stopped",
                        "heal": False,
                    }
                    b.kill()
                    down = await event()
                    assert {key: down[key] for key in ("type", "host", "state", "names", "heal")} == {
                        "type": "epmd_down",
                        "host": "b",
                        "state": "refused",
                        "names": ["bea"],
                        "heal": True,
                    }
                    b.start()
                    assert (await event())["type"] == "epmd_up"
                    assert stays.log == log

    with otp.epmd() as a, otp.epmd() as b:
        asyncio.run(story(a, b))


@NEWEST
def test_looking_at_the_port_of_a_node_leaves_nothing_in_its_log(node: Node) -> None:
    log = node.log
    for _unused in range(3):
        assert asyncio.run(runs(("127.0.0.1", node.port), 60)) == "running"
    settle(node)
    assert node.log == log


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"hosts": ["a"], "intervals": 5}, "there is no argument intervals: did you mean interval?"),
        ({"hosts": ["a"], "interval": 0}, "interval is 0: give 1 to 3600"),
    ],
)
def test_a_misspelt_argument_is_one_sentence(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(Exception, match=complaint.replace("?", r"\?")):
        asyncio.run(source()(asyncio.Queue(), arguments))
