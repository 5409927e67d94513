# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real Erlang nodes and epmds, and fakes of both, which tests start and stop.

What the lab reports is a second opinion: it comes from Erlang, the kernel and a few bytes of its
own. Only the fakes speak with the codec of the collection.
"""

from __future__ import annotations

from ._applications import Application, Ejabberd, RabbitMq
from ._c_node import CNode
from ._certificates import Authority, Certificate
from ._client import client_pings
from ._container import Container, system
from ._elixir import HOME_COOKIE, Elixir, Release
from ._epmd import Epmd
from ._fakes import FakeServer, Handler, Squatter, answer, drip, flood, hang, node, say
from ._faults import cut_silently, exhausted, forget, overwrite_command_line, unreachable
from ._memory import HOSTILE_MEBIBYTES, grows_by_less_than
from ._node import EvalError, Node
from ._old_node import OldNode
from ._otp import Otp
from ._peer import NodePeer
from ._process import LabError, bound, dialled, free_port, holders, listeners, wait_until

__all__ = [
    "HOME_COOKIE",
    "HOSTILE_MEBIBYTES",
    "Application",
    "Authority",
    "CNode",
    "Certificate",
    "Container",
    "Ejabberd",
    "Elixir",
    "Epmd",
    "EvalError",
    "FakeServer",
    "Handler",
    "LabError",
    "Node",
    "NodePeer",
    "OldNode",
    "Otp",
    "RabbitMq",
    "Release",
    "Squatter",
    "answer",
    "bound",
    "client_pings",
    "cut_silently",
    "dialled",
    "drip",
    "exhausted",
    "flood",
    "forget",
    "free_port",
    "grows_by_less_than",
    "hang",
    "holders",
    "listeners",
    "node",
    "overwrite_command_line",
    "say",
    "system",
    "unreachable",
    "wait_until",
]
