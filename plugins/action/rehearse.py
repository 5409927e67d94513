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

REGISTER = "beamops.epmd.epmd_register"


class ActionModule(look.ActionModule):
    """What Ansible looks for."""

    def _work(self, module: str, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """What all steps together give, in place of one module. module: epmd_scratch, with its options."""

        def step(called: str, its_module: str, **options: Any) -> dict[str, Any]:
            result = super(ActionModule, self)._work(its_module, options, task_vars)
            for line in _rehearsal.words(called, result):
                display.v(line, host=task_vars.get("inventory_hostname", "-"))
            return result

        same = {key: value for key, value in arguments.items() if key == "timeout"}
        own = {**same, "name": _rehearsal.NAME}
        started = step("started", module, **{**arguments, **own})
        nodes = _rehearsal.started(started)
        if not nodes:
            return _rehearsal.result(started)
        lost: dict[str, Any] = {}
        registered: dict[str, Any] = {}
        try:
            lost = step("lost", module, **own, state="lost")
            if not lost.get("failed"):
                registered = step("registered", REGISTER, **same, name=[node["name"] for node in nodes])
        finally:
            # Also where the host could not be reached meanwhile; what is then left ends by itself.
            ended = step("absent", module, **own, state="absent")
        return _rehearsal.result(started, lost, registered, ended)
