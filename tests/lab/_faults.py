# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to a node and its epmd in the field."""

from __future__ import annotations

from ._epmd import Epmd
from ._node import Node
from ._process import holders, wait_until


def forget(epmd: Epmd, node: Node) -> None:
    """Kill epmd, and wait until the node has noticed that it is without one."""
    epmd.kill()
    wait_until(lambda: node.pid not in holders(epmd.port), "the node to notice that its epmd is gone")
