# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For all unit tests: a function that CPython 3.7 lacks, and the same examples in every run of a property test.

`make fuzz` looks for new examples.
"""

from __future__ import annotations

import socket
from typing import Any

from hypothesis import settings

settings.register_profile("same", derandomize=True, database=None, deadline=None)
settings.load_profile("same")


def _create_server(
    address: tuple[Any, ...], *, family: int = socket.AF_INET, backlog: int | None = None
) -> socket.socket:
    server = socket.socket(family)
    server.bind(address)
    server.listen(128 if backlog is None else backlog)
    return server


if not hasattr(socket, "create_server"):
    socket.create_server = _create_server  # type: ignore[assignment]
