# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of nodes that are not there, or that have names to deceive a person. Without Erlang."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils import _command_line, _ensure, _listeners, _processes
from ansible_collections.beamops.epmd.plugins.module_utils._ensure import diagnose, ensure
from ansible_collections.beamops.epmd.plugins.module_utils._listeners import Sockets
from ansible_collections.beamops.epmd.plugins.module_utils._options import Options
from ansible_collections.beamops.epmd.plugins.module_utils._processes import Vm
from ansible_collections.beamops.epmd.tests.fakes import FakeServer, hang

ROOMS = Path(_ensure.__file__).parent
LATE = re.compile(r"^ +from \. ?(?:import )?(_\w+(?:, _\w+)*)", re.MULTILINE)
"""Imports inside of functions."""


def test_no_thread_imports_a_room() -> None:
    """A child that another one forks at that moment would hang. What explains missing names comes after all threads."""
    rooms = [room.read_text() for room in ROOMS.glob("_*.py")]
    late = {name for room in rooms for names in LATE.findall(room) for name in names.split(", ")}
    assert {"_control", "_culprits", "_missing", "_repair", "_tls"} <= late
    script = (
        f"import sys; from {_ensure.__package__} import _ensure; _ensure.import_rooms(tls=True); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.PIPE, text=True)
    loaded = done.stdout.split()
    assert {name for name in late if f"{_ensure.__package__}.{name}" not in loaded} == {"_missing"}


@pytest.fixture
def vms(monkeypatch: pytest.MonkeyPatch) -> list[Vm]:
    """The Erlang VMs that seem to run, without a socket."""
    found: list[Vm] = []
    monkeypatch.setattr(_processes, "find_vms", lambda: found)
    monkeypatch.setattr(_listeners, "of", lambda _vm, _port: Sockets([], set()))
    return found


@pytest.mark.usefixtures("vms")
def test_a_silent_epmd_is_asked_once_for_all_names_that_are_missing() -> None:
    with FakeServer(hang) as epmd:
        outcome = ensure(Options(["one", "two", "three"], epmd_port=epmd.port, timeout=0.1), check_mode=True)
        assert epmd.accepted == 1
    assert outcome.msg == "one, two, three: no such node runs here; no Erlang node is running"


def test_a_name_cannot_reach_the_terminal(vms: list[Vm]) -> None:
    said = _command_line.parse(["beam.smp", "--", "-sname", "evil\x1b[2J\nchanged=0"], {})
    vms.append(_processes.UNKNOWN._replace(pid=os.getpid(), uid=0, user="root", said=said))
    with FakeServer(hang) as epmd:
        outcome = ensure(Options(["vic"], epmd_port=epmd.port, timeout=0.1), check_mode=True)
    assert outcome.msg == "vic: no such node runs here; running: evil?[2J?changed=0"
    said = said._replace(epmd_module="x\x1b[2J\n" + "y" * 10_000)
    vms[:] = [vms[0]._replace(said=said)]
    (found,) = diagnose(None, 0.1).nodes
    assert found["verdict"] == "not_applicable"
    assert found["msg"].isprintable()
    assert len(found["msg"]) < 5000
