# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of epmd that takes the name of another node."""

from __future__ import annotations

import socket

from ansible_collections.beamops.epmd.tests.fakes import epmd_server

from ._process import Closable, LabError


class Squatter(Closable):
    """A client that registers a name at an epmd on 127.0.0.1, and holds it until closed."""

    def __init__(self, epmd_port: int, name: str, port: int) -> None:
        self.name = name
        self.port = port
        self._connection = socket.create_connection(("127.0.0.1", epmd_port), timeout=10)
        try:
            self._connection.sendall(epmd_server.alive2_request(name, port))
            # ALIVE2_X_RESP or ALIVE2_RESP, and the result, which is 0 for success.
            if self._connection.recv(6)[:2] not in (b"v\x00", b"y\x00"):
                raise LabError(f"epmd refused to register {name}")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the name up."""
        self._connection.close()
