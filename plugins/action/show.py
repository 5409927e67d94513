# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action `beamops.epmd.show`, on the controller: end a playbook with a table, a report and one sentence.

https://docs.ansible.com/ansible/latest/dev_guide/developing_plugins.html#action-plugins
"""

from __future__ import annotations

import time
from typing import Any

from ansible import constants
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils._words import in_iso
from ..plugin_utils import _report
from ..plugin_utils._failure import failed
from ..plugin_utils._fleet import KINDS, glance, swept, table

display = Display()

SWEEP = "sweep"
"""The playbook that has one result for all hosts, and another playbook after it."""


class ActionModule(ActionBase):
    """What Ansible looks for."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The sentence, in `msg`. Fails with it if a host needs somebody."""
        super().run(tmp, task_vars)
        _checked, given = self.validate_argument_spec(
            {
                "results": {"type": "str", "required": True},
                "playbook": {"type": "str", "choices": sorted([*KINDS, SWEEP]), "default": "audit"},
                "report": {"type": "path"},
                "is_last": {"type": "bool", "default": True},
            }
        )
        report, playbook = given["report"], given["playbook"]
        if playbook == SWEEP:
            # One for all hosts.
            (result, *_same) = _results(given["results"], task_vars or {}).values()
            lines = swept(result)
            display.display("\n".join(["", *lines, *([""] if lines else []), result["msg"]]))
            return {"changed": False, "msg": result["msg"], "_ansible_verbose_override": display.verbosity < 2}
        try:
            if report:
                _report.check(report)
            fleet = glance(
                _results(given["results"], task_vars or {}),
                playbook,
                made=in_iso(time.time()),
                check=bool(self._task.check_mode),
                inventory=[str(source) for source in (task_vars or {}).get("ansible_inventory_sources") or ()],
            )
            if not (given["is_last"] or fleet["failed"]):
                return {"changed": False}
            color: str = vars(constants)["COLOR_ERROR" if fleet["failed"] else "COLOR_OK"]
            display.display("\n".join(["", *table(fleet)]))
            display.display(f"\n{fleet['sentence']}", color=color)
            files = _report.write(report, fleet) if report else []
        except _report.ReportError as error:
            return failed(f"{playbook}_report: {error}", {"changed": False})
        if files:
            display.display(f"The page: {files[0]}")
        result = {"changed": False, "shown": True, "_ansible_verbose_override": display.verbosity < 2}
        if fleet["failed"]:
            return failed(fleet["sentence"], result)
        return {**result, "msg": fleet["sentence"]}


def _results(variable: str, task_vars: dict[str, Any]) -> dict[str, Any]:
    """What each host of the play has in this variable; None where it has none."""
    # As it is: a result holds no templates, and to look for some takes seconds in a large fleet.
    hostvars = task_vars["hostvars"]
    return {host: hostvars.raw_get(host).get(variable) for host in task_vars["ansible_play_hosts_all"]}
