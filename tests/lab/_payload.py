# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module of the collection as Ansible sends it to a target: its AnsiballZ, which one Python runs from standard input.

Built by ansible-core itself, as for a task with pipelining; only the arguments are put in afterwards, so that it is
built once for many runs.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from ._process import LabError

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
sys.stdout.buffer.write(built.b_module_data)
"""


def run_payload(
    module: str,
    options: dict[str, Any],
    *,
    check: bool = False,
    within: Sequence[str] = (),
    python: str = "python3",
    environment: dict[str, str] | None = None,
) -> dict[str, Any]:
    """The result of a module that is run without a controller, in check mode or not, with these options.

    within: a command line that runs another one in the place that is meant. environment: beside our own.
    """
    arguments = {"_ansible_check_mode": check, "_ansible_diff": True, **options}
    program = _payload(module).replace(
        repr(_ARGUMENTS).encode(), repr(json.dumps({"ANSIBLE_MODULE_ARGS": arguments})).encode()
    )
    done = subprocess.run(
        [*within, python],
        check=False,
        env={**os.environ, **(environment or {})},
        input=program,
        capture_output=True,
        timeout=120,
    )
    output = done.stdout.decode()
    try:
        result = json.loads(output)
    except ValueError:
        raise LabError(f"{module} gave no result: {output}{done.stderr.decode()}") from None
    if (done.returncode != 0) is not result.get("failed", False):
        raise LabError(f"{module} ended with exit code {done.returncode}: {output}")
    return dict(result)


@functools.cache
def _payload(module: str) -> bytes:
    done = subprocess.run([sys.executable, "-c", _BUILD, module], check=False, capture_output=True, timeout=120)
    if repr(_ARGUMENTS).encode() not in done.stdout:
        raise LabError(f"ansible-core built no payload of {module}: {done.stderr.decode()}")
    return done.stdout
