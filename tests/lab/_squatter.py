# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of epmd which takes the name of somebody else."""

from __future__ import annotations

import socket

from ansible_collections.beamops.epmd.plugins.module_utils._wire import epmd

from ._process import Closable, LabError


class Squatter(Closable):
    """A client which registers a name at an epmd on 127.0.0.1, and holds it until closed."""

    def __init__(self, epmd_port: int, name: str, port: int) -> None:
        self.name = name
        self.port = port
        request = epmd.encode_request(epmd.Alive2(name, port))
        self._connection = socket.create_connection(("127.0.0.1", epmd_port), timeout=10)
        try:
            self._connection.sendall(request)
            reply = epmd.decode_alive2_reply(self._connection.recv(6))
            if reply.result != 0:
                raise LabError(f"epmd refused to register {name}")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give the name up."""
        self._connection.close()
