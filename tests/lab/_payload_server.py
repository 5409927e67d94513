# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module of the collection in a new process for each request, from its payload, whose imports are done once.

To start a Python and to compile what the module imports takes ten times as long as all of the module's work. A program
of its own, for `_payload.py`: its arguments are the payload's zip, the name of the module and the path of a socket. It
prints `ready`, and ends with its standard input. A request is one line of JSON: the module's arguments, environment and
directory. The reply is what the module prints, and a last line with its exit code.

Standard: `_loader.py` in `ansible/module_utils/_internal/_ansiballz`, which the payload calls on a target.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import socketserver
import sys

PACKAGE = "ansible_collections.beamops.epmd.plugins"


class Request(socketserver.StreamRequestHandler):
    """One run. The process is its own, so it may change everything."""

    def handle(self) -> None:
        request = json.loads(self.rfile.readline())
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["directory"])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(self.connection.fileno(), 1)
        code: object = 0
        try:
            self.server.loader.run_module(  # type: ignore[attr-defined]
                json_params=json.dumps({"ANSIBLE_MODULE_ARGS": request["arguments"]}).encode(),
                profile="legacy",
                module_fqn=f"{PACKAGE}.modules.{sys.argv[2]}",
                modlib_path=sys.argv[1],
                extensions={},
            )
        except SystemExit as end:
            code = end.code or 0
        sys.stdout.flush()
        os.write(1, f"\n{code}".encode())


class Server(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    """A process for each request, as many at once as there are."""

    max_children = request_queue_size = 128

    def service_actions(self) -> None:
        super().service_actions()
        if select.select([0], [], [], 0)[0]:
            sys.exit()


def main() -> None:
    """Import what every run needs, then wait for requests."""
    # Not from the checkout: only from the payload, as on a target.
    sys.path[0] = sys.argv[1]
    with Server(sys.argv[3], Request) as server:
        server.loader = importlib.import_module("ansible.module_utils._internal._ansiballz._loader")  # type: ignore[attr-defined]
        importlib.import_module(f"{PACKAGE}.module_utils._ensure")
        print("ready", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
