# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module of the collection in a new process for each request, from its payload, whose imports are done once.

To start a Python and to compile what the module imports takes ten times as long as all of the module's work. A program
of its own, for `_payload.py`: its arguments are the payload's zip, the name of the module and the path of a socket. It
prints `ready`, and ends with its standard input. A request is one line of JSON: the module's arguments, environment and
directory. The reply is what the module prints, and a last line with its exit code.

`_tracer.py` takes its functions, to run a module step by step.

Standard: `_loader.py` in `ansible/module_utils/_internal/_ansiballz`, which the payload calls on a target.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import socketserver
import sys
from types import ModuleType
from typing import Any

PACKAGE = "ansible_collections.beamops.epmd.plugins"


def load(payload: str) -> ModuleType:
    """Import what every run needs, from the payload alone, as on a target; returns the loader of its module."""
    sys.path[0] = payload
    loader = importlib.import_module("ansible.module_utils._internal._ansiballz._loader")
    importlib.import_module(f"{PACKAGE}.module_utils._ensure")
    return loader


def run(loader: ModuleType, payload: str, module: str, request: dict[str, Any], output: int) -> object:
    """Run the module in this process, which is its own, so it may change everything; returns its exit code."""
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["directory"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    code: object = 0
    try:
        loader.run_module(
            json_params=json.dumps({"ANSIBLE_MODULE_ARGS": request["arguments"]}).encode(),
            profile="legacy",
            module_fqn=f"{PACKAGE}.modules.{module}",
            modlib_path=payload,
            extensions={},
        )
    except SystemExit as end:
        code = end.code or 0
    sys.stdout.flush()
    return code


class Request(socketserver.StreamRequestHandler):
    """One run."""

    def handle(self) -> None:
        request = json.loads(self.rfile.readline())
        loader: ModuleType = self.server.loader  # type: ignore[attr-defined]
        code = run(loader, sys.argv[1], sys.argv[2], request, self.connection.fileno())
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
    loader = load(sys.argv[1])
    with Server(sys.argv[3], Request) as server:
        server.loader = loader  # type: ignore[attr-defined]
        print("ready", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
