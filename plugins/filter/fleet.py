# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter `beamops.epmd.fleet`; the work is in plugin_utils/_fleet.py.

https://docs.ansible.com/ansible/latest/dev_guide/developing_plugins.html#filter-plugins
"""

from __future__ import annotations

DOCUMENTATION = r"""
name: fleet
short_description: A fleet at a glance, from what a module returned on each host
version_added: 1.0.0
description:
  - One sentence, counts, a row for each node, and the command that repairs exactly the hosts that need it. It is what
    the playbooks of this collection end with.
  - C(docs/report.schema.json) of the collection describes what it returns, which is what C(audit.json) has.
positional: playbook
options:
  _input:
    description:
      - By host, what M(beamops.epmd.epmd_facts), M(beamops.epmd.epmd_register) or M(beamops.epmd.look) returned there.
        A failure is one more result, and no error.
    type: dict
    required: true
  playbook:
    description: Whose words and whose idea of a failure it uses.
    type: str
    choices: [audit, recover, rehearse, restart_epmd]
    default: audit
author:
  - beamops contributors (@beamops)
"""

EXAMPLES = r"""
- name: Name the hosts with a lost node
  ansible.builtin.debug:
    msg: "{{ ({inventory_hostname: epmd_result} | beamops.epmd.fleet).limit }}"
"""

RETURN = r"""
_value:
  description: The fleet.
  type: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..plugin_utils._fleet import KINDS, Record, glance


def fleet(results: Any, playbook: str = "audit") -> Record:
    """Errors: AnsibleFilterError unless these are results by host, and a playbook of ours."""
    if not isinstance(results, Mapping):
        raise AnsibleFilterError("beamops.epmd.fleet needs a dict of results by host, as {inventory_hostname: result}")
    if playbook not in KINDS:
        raise AnsibleFilterError(f"beamops.epmd.fleet knows no playbook {playbook!r}, but {', '.join(sorted(KINDS))}")
    return glance(results, playbook)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Record]]:
        return {"fleet": fleet}
