# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module epmd_scratch: a node like each kind of real ones loses its name and gets it back, and nothing is left."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from ansible_collections.beamops.epmd.tests.integration.support import COOKIE, Register, Run, life
from ansible_collections.beamops.epmd.tests.lab import Epmd, Node, Otp, wait_until

SOCKETS = ["ss", "--no-header", "--numeric", "--listening", "--tcp", "--processes"]


def processes() -> dict[int, str]:
    """The processes of this private host, without those of the tests."""
    found = {
        each.pid: each.info["name"]
        for each in psutil.process_iter(["name", "status"])
        if each.info["status"] != "zombie"
    }
    return {pid: name for pid, name in found.items() if name in ("beam.smp", "epmd")}


def listening() -> set[str]:
    return set(subprocess.run(SOCKETS, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines())


@pytest.fixture
def scratch(register: Register) -> Iterator[Any]:
    """Run the module. Whatever it has started is gone afterwards."""
    before = processes(), listening()

    def run(**options: Any) -> Run:
        return register(module="epmd_scratch", **{"name": "rehearse", **options})

    yield run
    run(state="absent")
    assert (processes(), listening()) == before


def test_a_node_like_a_real_one(epmd: Epmd, node: Node, register: Register, scratch: Any) -> None:
    before = life(node)
    started = scratch(like_nodes=True)
    assert not started.failed, started.output
    (found,) = started.result["scratch_nodes"]
    assert found["reason"] == "", started.output
    assert found["like"] == [node.name]
    lost = scratch(state="lost")
    assert lost.changed, lost.output
    done = register(name="rehearse_1")
    assert done.changed, done.output
    assert life(node) == before
    assert epmd.names() == {"vic": node.port}
    command = " ".join(psutil.Process(found["pid"]).cmdline())
    assert COOKIE not in command


def test_an_erlang_by_its_program(otp: Otp, register: Register, scratch: Any) -> None:
    started = scratch(erl=str(otp.root / "bin" / "erl"))
    assert not started.failed, started.output
    scratch(state="lost")
    done = register(name="rehearse")
    assert done.changed, done.output


def test_it_ends_by_itself_with_its_epmd(otp: Otp, scratch: Any) -> None:
    before = processes()
    started = scratch(erl=str(otp.root / "bin" / "erl"), lifetime=1)
    assert not started.failed, started.output
    wait_until(lambda: processes() == before, "the scratch node and its epmd to end")
