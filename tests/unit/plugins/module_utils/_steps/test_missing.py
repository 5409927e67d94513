# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a node that was asked for is not there: what epmd has under its name, and what runs instead."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._host import processes
from ansible_collections.beamops.epmd.plugins.module_utils._options import Options
from ansible_collections.beamops.epmd.plugins.module_utils._steps.missing import explain
from ansible_collections.beamops.epmd.plugins.module_utils._wire import epmd
from ansible_collections.beamops.epmd.tests.fakes import FakeServer, epmd


@pytest.fixture(autouse=True)
def _all_can_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "hidden", lambda: "")


def daemon(port: int, names: dict[str, int], namespace: int | None = None) -> dict[str, Any]:
    """An epmd as it was seen."""
    return {"port": port, "names": names, "namespace": namespace}


def test_a_port_of_somebody_else_is_said_with_what_runs() -> None:
    said = explain(["vic"], Options(["vic"], port=4711), ["wim@h", "ann@h", "wim@h"], [])
    assert said == ["vic: port 4711 does not belong to it; running: ann@h, wim@h"]


def test_a_name_that_runs_at_another_host_is_not_looked_for_at_epmd() -> None:
    said = explain(["vic@far"], Options(["vic@far"], epmd_port=1), ["vic@near"], [])
    assert said == ["vic@far: no such node runs here; running: vic@near"]


def test_who_has_a_name_that_no_vm_goes_by_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        port = squatter.getsockname()[1]
        said = explain(["vic@h", "wim"], Options([], epmd_port=4369), [], [daemon(4369, {"vic": port})])
    start = f"vic@h: epmd has this name with port {port}, which belongs to pid {os.getpid()} of user "
    assert said[0].startswith(start)
    assert said[0].endswith("; no node of an Erlang VM goes by it")
    assert said[1:] == ["wim: no such node runs here; no Erlang node is running"]


def test_a_name_whose_port_nobody_listens_on_belongs_to_nobody() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    (said,) = explain(["vic"], Options([], epmd_port=4369), [], [daemon(4369, {"wim": 1, "vic": port})])
    assert f"with port {port}, which belongs to nobody who can be seen" in said


@pytest.mark.parametrize("given", [True, False])
def test_an_epmd_that_was_not_seen_yet_is_asked_and_those_of_other_places_do_not_count(
    given: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeServer(epmd({"vic": 1})) as server:
        if not given:
            monkeypatch.setattr(epmd, "DEFAULT_PORT", server.port)
        options = Options([], epmd_port=server.port if given else None)
        (said,) = explain(["vic"], options, [], [daemon(server.port, {}, namespace=7), daemon(1, {})])
        assert server.accepted == 1
    assert said.startswith("vic: epmd has this name with port 1, ")
