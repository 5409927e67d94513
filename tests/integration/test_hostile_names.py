# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any user of a host can register any name at a real epmd: lines of other names, and control characters."""

from __future__ import annotations

import pytest

from ansible_collections.beamops.epmd.tests.integration.support import AdHoc, Register, life
from ansible_collections.beamops.epmd.tests.lab import Epmd, Node, Squatter, cut_silently, holders

FORGERIES = {
    "its line with another port": "x at port 1\nname vic at port 4711\nname y",
    "its line with its port": "x at port 1\nname vic at port {port}\nname y",
    "its name at the end": "x at port 1\nname vic",
    "its line in the dump": "x> at port 1, fd = 5\nactive name     <vic> at port {port}, fd = 6\ny",
}


@pytest.fixture(params=FORGERIES)
def forgery(request: pytest.FixtureRequest, node: Node) -> str:
    """A name that contains the node's line."""
    return FORGERIES[request.param].format(port=node.port)


def test_a_registered_node_is_not_a_conflict_for_a_forged_line(
    epmd: Epmd, node: Node, register: Register, forgery: str
) -> None:
    before = life(node), holders(epmd.port)
    with Squatter(epmd.port, forgery, 4711):
        done = register(name="vic")
        assert (done.failed, done.changed, done.node["verdict"]) == (False, False, "registered")
    assert (life(node), holders(epmd.port)) == before


def test_a_lost_node_is_registered_in_spite_of_a_forged_line(
    epmd: Epmd, node: Node, register: Register, forgery: str
) -> None:
    """The node does not notice that it is lost; otherwise it might be back before the forger comes."""
    with cut_silently(epmd, node), Squatter(epmd.port, forgery, 4711):
        done = register(name="vic")
        assert done.changed, done.output
        assert (done.node["verdict"], done.node["registered"]) == ("missing", True)
        assert not register(name="vic").changed
    assert epmd.names() == {"vic": node.port}


@pytest.mark.one_release
def test_control_characters_are_not_shown(epmd: Epmd, node: Node, ad_hoc: AdHoc) -> None:
    title = "\x1b]0;owned\x07\r\nchanged=1\xc2\x9b2J"  # epmd takes nothing but UTF-8
    with Squatter(epmd.port, title, 4711):
        done = ad_hoc("--diff", "-vvv", name="other")
        assert done.failed
        assert "no such node runs here" in done.msg
        facts = ad_hoc(module="epmd_facts")
    for output in (done.output, facts.output):
        assert not {"\x1b", "\x07", "\r", "\x9b"} & set(output)
    assert f"running: {node.short}" in done.msg
