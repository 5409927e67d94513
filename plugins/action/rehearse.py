# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action `beamops.epmd.rehearse`, on the controller: as `beamops.epmd.look`, with several modules in turn.

A scratch node is started, loses its name, gets it back by epmd_register, and is ended, whatever happened in between.
With -v, each step is shown. https://docs.ansible.com/ansible/latest/dev_guide/developing_plugins.html#action-plugins
"""

from __future__ import annotations

from typing import Any

from ansible.utils.display import Display

from ..plugin_utils import _rehearsal
from . import look

display = Display()

SCRATCH, REGISTER = "beamops.epmd.epmd_scratch", "beamops.epmd.epmd_register"


class ActionModule(look.ActionModule):
    """What Ansible looks for."""

    def _execute_module(self, **given: Any) -> dict[str, Any]:
        """What `look` takes for the result of one module."""
        arguments = {**given["module_args"], "name": _rehearsal.NAME}
        task_vars = given["task_vars"]
        host = task_vars.get("inventory_hostname", "-")

        def run(module: str, **options: Any) -> dict[str, Any]:
            result: dict[str, Any] = super(ActionModule, self)._execute_module(
                module_name=module, module_args=options, task_vars=task_vars
            )
            for line in _rehearsal.words(options.get("state", "registered"), result):
                display.v(line, host=host)
            return result

        started = run(SCRATCH, **{**arguments, "state": "started"})
        nodes = _rehearsal.started(started)
        if not nodes:
            return _rehearsal.result(started)
        same = {key: arguments[key] for key in ("timeout",) if key in arguments}
        lost: dict[str, Any] = {}
        registered: dict[str, Any] = {}
        ended: dict[str, Any] = {}
        try:
            lost = run(SCRATCH, name=_rehearsal.NAME, state="lost", **same)
            if not lost.get("failed"):
                registered = run(REGISTER, name=[node["name"] for node in nodes], **same)
        finally:
            ended = run(SCRATCH, name=_rehearsal.NAME, state="absent", **same)
        return _rehearsal.result(started, lost, registered, ended)
