# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node that believes that it is registered while epmd does not have its name: no release recovers by itself."""

from __future__ import annotations

import pytest

from ansible_collections.beamops.epmd.tests.integration.kinds_table import Saw
from ansible_collections.beamops.epmd.tests.integration.support import COOKIE, Register, life
from ansible_collections.beamops.epmd.tests.lab import Otp, cut_silently, holders


@pytest.mark.parametrize("backend", ["inet", "socket"])
def test_the_dead_connection_is_cut_and_the_node_registered(
    otp: Otp, register: Register, saw: Saw, backend: str
) -> None:
    with (
        otp.epmd() as epmd,
        otp.node("vic", epmd_port=epmd.port, cookie=COOKIE, args=["-kernel", "inet_backend", backend]) as node,
    ):
        before, ports = life(node), node.eval("erlang:system_info(port_count)")
        with cut_silently(epmd, node):
            believed = f"erl_epmd:register_node(vic, {node.port})"
            assert node.eval(believed) == "{error,already_registered}"
            assert epmd.names() == {}

            predicted = register("--check", name="vic")
            assert (predicted.changed, predicted.node["verdict"]) == (True, "missing")
            assert epmd.names() == {}

            done = register(name="vic")
            assert (done.changed, done.node["verdict"], done.node["registered"]) == (True, "missing", True)
            assert "its dead connection to an earlier epmd was cut" in done.node["msg"]
            assert epmd.names() == {"vic": node.port}
            assert holders(epmd.port) == {node.pid}
            assert not register(name="vic").changed
            assert life(node) == before
            assert node.eval("erlang:system_info(port_count)") == ports
            saw(f"silent cut, inet_backend {backend}", otp.release, f"{done.node['verdict']}, registered again")
