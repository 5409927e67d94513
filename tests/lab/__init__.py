# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real Erlang nodes and epmds, and fakes of both, which tests start and stop.

What the lab reports is a second opinion: it comes from Erlang, the kernel and a few bytes of its own, never from the
code of the collection.
"""

from __future__ import annotations

from ansible_collections.beamops.epmd.tests.fakes import FakeServer, Handler, answer, hang

from ._applications import Application, Ejabberd, RabbitMq
from ._c_node import CNode
from ._certificates import Authority, Certificate
from ._client import client_pings
from ._container import Container, system
from ._elixir import HOME_COOKIE, Elixir, Release
from ._environment import Environment
from ._epmd import Epmd, epmd_at
from ._fault_injection import cut_silently, exhausted, forget, misregister, overwrite_command_line, unreachable
from ._fleet import SMALL, Fleet, Host, Plan
from ._node import EvalError, Node
from ._old_node import OldNode
from ._otp import Otp
from ._payload import NotTraceable, Traced, run_payload
from ._podman import docker_like
from ._process import LabError, bound, completed, dialled, free_port, holders, listeners, wait_until
from ._reference import ENDED, Read, Reference
from ._squatter import Squatter
from ._systemd import Systemd, UnitNode

__all__ = [
    "ENDED",
    "HOME_COOKIE",
    "SMALL",
    "Application",
    "Authority",
    "CNode",
    "Certificate",
    "Container",
    "Ejabberd",
    "Elixir",
    "Environment",
    "Epmd",
    "EvalError",
    "FakeServer",
    "Fleet",
    "Handler",
    "Host",
    "LabError",
    "Node",
    "NotTraceable",
    "OldNode",
    "Otp",
    "Plan",
    "RabbitMq",
    "Read",
    "Reference",
    "Release",
    "Squatter",
    "Systemd",
    "Traced",
    "UnitNode",
    "answer",
    "bound",
    "client_pings",
    "completed",
    "cut_silently",
    "dialled",
    "docker_like",
    "epmd_at",
    "exhausted",
    "forget",
    "free_port",
    "hang",
    "holders",
    "listeners",
    "misregister",
    "overwrite_command_line",
    "run_payload",
    "system",
    "unreachable",
    "wait_until",
]
