# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a test may fake: the other end of a connection, honest or hostile, and never our own decoders or steps.

A unit test may also say what the host says of processes, sockets, files and users. An integration test takes real nodes
and epmds, and fakes only what those never do. Runs on every CPython of a target, without Erlang.
"""

from __future__ import annotations

from ._memory import HOSTILE_MEBIBYTES, grows_by_less_than
from ._node_peer import NodePeer
from ._server import FakeServer, Handler, answer, create_server, drip, flood, hang, node, say
from .epmd_server import epmd
from .rex import rpc

__all__ = [
    "HOSTILE_MEBIBYTES",
    "FakeServer",
    "Handler",
    "NodePeer",
    "answer",
    "create_server",
    "drip",
    "epmd",
    "flood",
    "grows_by_less_than",
    "hang",
    "node",
    "rpc",
    "say",
]
