# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module of the collection as Ansible sends it to a target: its AnsiballZ, which one Python runs from standard input.

Built by ansible-core itself, as for a task with pipelining; only the arguments are put in afterwards, so that it is
built once for many runs. Where neither the Python nor its place matters, `_payload_server.py` runs it.
"""

from __future__ import annotations

import atexit
import base64
import functools
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ._process import Closable, LabError

# Several threads may be the first that need a server.
_starting = threading.Lock()

_ARGUMENTS = '{"ANSIBLE_MODULE_ARGS": {"beamops": "arguments"}}'

# In a process of its own: ansible-core's loader of collections would take the place of this one's.
_BUILD = """
import sys
from ansible.executor.module_common import modify_module
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader, module_loader
from ansible.template import Templar
init_plugin_loader()
name = "beamops.epmd." + sys.argv[1]
built = modify_module(
    module_name=name,
    module_path=module_loader.find_plugin_with_context(name).plugin_resolved_path,
    module_args={"beamops": "arguments"},
    templar=Templar(DataLoader()),
    task_vars={"ansible_python_interpreter": "python3"},
    module_compression="ZIP_DEFLATED",
)
# A tuple before 2.19.
sys.stdout.buffer.write(built[0] if isinstance(built, tuple) else built.b_module_data)
"""


def run_payload(
    module: str,
    options: dict[str, Any],
    *,
    check: bool = False,
    within: Sequence[str] = (),
    python: str = sys.executable,
    environment: dict[str, str] | None = None,
    controller: str = sys.executable,
) -> dict[str, Any]:
    """The result of a module that is run without a controller, in check mode or not, with these options.

    within: a command line that runs another one in the place that is meant. python: the interpreter there.
    environment: beside our own. controller: the interpreter with the ansible-core that builds the payload.
    """
    arguments = {"_ansible_check_mode": check, "_ansible_diff": True, **options}
    if within or environment or (python, controller) != (sys.executable, sys.executable):
        output, code = _run([*within, python], _payload(module, controller), arguments, environment or {})
    else:
        output, code = _ask_server(module, arguments)
    try:
        result = json.loads(output)
    except ValueError:
        raise LabError(f"{module} gave no result: {output}") from None
    if (code != 0) is not result.get("failed", False):
        raise LabError(f"{module} ended with exit code {code}: {output}")
    return dict(result)


def _run(command: list[str], payload: bytes, arguments: dict[str, Any], environment: dict[str, str]) -> tuple[str, int]:
    """The output and the exit code of a payload, run by this command."""
    program = payload.replace(repr(_ARGUMENTS).encode(), repr(json.dumps({"ANSIBLE_MODULE_ARGS": arguments})).encode())
    settings = {**os.environ, **environment}
    done = subprocess.run(command, check=False, env=settings, input=program, capture_output=True, timeout=120)
    return (done.stdout or done.stderr).decode(), done.returncode


def _ask_server(module: str, arguments: dict[str, Any]) -> tuple[str, int]:
    """The same from the server of this module."""
    request = {"arguments": arguments, "environment": dict(os.environ), "directory": os.getcwd()}
    with _starting:
        address = _server(module)
    with socket.socket(socket.AF_UNIX) as client, client.makefile("rw") as stream:
        client.settimeout(120)
        client.connect(address)
        stream.write(json.dumps(request) + "\n")
        stream.flush()
        output, _newline, code = stream.read().rpartition("\n")
    return output, int(code)


class NotTraceable(LabError):
    """No process can be traced on this machine; the text says why."""


class Traced(Closable):
    """A module that is run with an eye on its system calls. See `_tracer.py`, which does the work.

    Errors: NotTraceable.
    """

    def __init__(self, module: str) -> None:
        command = [sys.executable, str(Path(__file__).with_name("_tracer.py")), str(_zip(module)), module]
        self._program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        said = self._read().strip()
        if said != "ready":
            self.close()
            raise NotTraceable(said or f"the tracer of {module} did not start")

    def run(
        self,
        options: dict[str, Any],
        action: str,
        point: tuple[str, str, int] | None = None,
        patience: float = 60,
        environment: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Run it once with these options, and do this where it comes to the point; the reply of `_tracer.py`.

        action: KILL, or the name of an error; without a point, LIST or NOTHING. point: the process, the call, and the
        how manieth of it. patience: seconds after which it is ended. environment: beside our own.
        """
        request = {
            "arguments": {"_ansible_check_mode": False, "_ansible_diff": True, **options},
            "environment": {**os.environ, **(environment or {})},
            "directory": os.getcwd(),
            "point": point,
            "action": action,
            "patience": patience,
        }
        assert self._program.stdin
        self._program.stdin.write(json.dumps(request) + "\n")
        self._program.stdin.flush()
        return dict(json.loads(self._read()))

    def close(self) -> None:
        """End the tracer."""
        self._program.kill()
        self._program.communicate()

    def _read(self) -> str:
        assert self._program.stdout
        return self._program.stdout.readline()


@functools.cache
def _server(module: str) -> str:
    """The socket of the server for this module, which ends with this process."""
    payload = _zip(module)
    address = str(payload.with_name("socket"))
    program = Path(__file__).with_name("_payload_server.py")
    server = subprocess.Popen(
        [sys.executable, program, payload, module, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    atexit.register(server.kill)
    if not server.stdout or server.stdout.readline() != b"ready\n":
        raise LabError(f"the server of {module} did not start")
    return address


@functools.cache
def _zip(module: str) -> Path:
    """What the payload of this module contains, as a file which goes with this process."""
    directory = tempfile.TemporaryDirectory(prefix="beamops-payload-")
    atexit.register(directory.cleanup)
    packed = re.search(rb"zip_data='([^']+)'", _payload(module))
    if not packed:
        raise LabError(f"the payload of {module} contains no zip")
    file = Path(directory.name, f"{module}.zip")
    file.write_bytes(base64.b64decode(packed[1]))
    return file


@functools.cache
def _payload(module: str, controller: str = sys.executable) -> bytes:
    done = subprocess.run([controller, "-c", _BUILD, module], check=False, capture_output=True, timeout=120)
    if repr(_ARGUMENTS).encode() not in done.stdout:
        raise LabError(f"ansible-core built no payload of {module}: {done.stderr.decode()}")
    return done.stdout
