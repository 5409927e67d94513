# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the unit tests use of the standard library and CPython 3.7 does not have."""

from __future__ import annotations

import socket
from typing import Any


def _create_server(
    address: tuple[Any, ...], *, family: int = socket.AF_INET, backlog: int | None = None
) -> socket.socket:
    server = socket.socket(family)
    server.bind(address)
    server.listen(128 if backlog is None else backlog)
    return server


if not hasattr(socket, "create_server"):
    socket.create_server = _create_server  # type: ignore[assignment]
