# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action `beamops.epmd.look`, on the controller: run a module, and make a result of whatever happens.

https://docs.ansible.com/ansible/latest/dev_guide/developing_plugins.html#action-plugins
"""

from __future__ import annotations

import re
import time
from typing import Any

from ansible import constants
from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils._words import in_iso
from ..plugin_utils import _report
from ..plugin_utils._failure import failed
from ..plugin_utils._fleet import KINDS, TROUBLE, glance, line

display = Display()


class ActionModule(ActionBase):
    """What Ansible looks for."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The result of the module. Errors: only those that the task has to fail with."""
        super().run(tmp, task_vars)
        _checked, given = self.validate_argument_spec(
            {
                "module": {"type": "str", "required": True},
                "arguments": {"type": "dict", "default": {}},
                "playbook": {"type": "str", "choices": sorted(KINDS), "default": "audit"},
                "tolerated": {"type": "bool", "default": False},
                "fails_for": {"type": "list", "elements": "str", "default": []},
                "report": {"type": "path"},
            }
        )
        try:
            if given["report"]:
                _report.check(given["report"])
        except _report.ReportError:
            # Before any work is done. beamops.epmd.show says it, once for all hosts.
            return {"skipped": True, "changed": False}
        try:
            result = self._work(given["module"], given["arguments"], task_vars or {})
        except AnsibleConnectionFailure as error:
            # With -v, ssh adds what it does.
            words = re.sub(r"(OpenSSH_|debug\d: ).*", "", str(error))
            result = {"unreachable": True, "msg": words}
        except AnsibleError as error:
            result = {"failed": True, "msg": str(error)}
        return self._kept(result, given, (task_vars or {}).get("inventory_hostname", "-"))

    def _work(self, module: str, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """The result of the module. Errors: AnsibleError."""
        result: dict[str, Any] = self._execute_module(module_name=module, module_args=arguments, task_vars=task_vars)
        return result

    def _kept(self, result: dict[str, Any], given: dict[str, Any], host: str) -> dict[str, Any]:
        # What Ansible would print of it for each host: that it failed, once more, and what the table says, too.
        dropped = ("exception",) if display.verbosity > 1 else ("exception", "warnings", "deprecations")
        result = {key: value for key, value in result.items() if key not in dropped}
        facts = result.get("ansible_facts", {})
        if result.get("nodes") or result.get("daemons"):
            # Ansible drops the facts of a module that failed.
            facts["epmd"] = {"nodes": result.get("nodes", []), "daemons": result.get("daemons", [])}
        kept = {
            **result,
            "changed": bool(result.get("changed")),
            "failed": False,
            "unreachable": False,
            "ansible_facts": facts,
            "looked": {
                "failed": bool(result.get("failed")),
                "unreachable": bool(result.get("unreachable")),
                "tolerated": given["tolerated"],
                "at": in_iso(time.time()),
            },
            "_ansible_verbose_override": display.verbosity < 2,
        }
        (found,) = glance({host: kept}, given["playbook"])["hosts"]
        sentence = line(found)
        if result.get("reason") in given["fails_for"]:
            return failed(sentence, {**result, "ansible_facts": facts})
        if sentence:
            display.display(sentence, color=vars(constants)["COLOR_ERROR"])
        elif KINDS[given["playbook"]].tells:
            display.display(f"{host}: {result.get('msg', '')}")
        # Nothing is known of its nodes.
        return {**kept, "needs_somebody": found["needs_somebody"], "skipped": found["state"] in TROUBLE}
