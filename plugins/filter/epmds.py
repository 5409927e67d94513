# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter `beamops.epmd.epmds`; the work is in module_utils/_sweep/hosts.py.

https://docs.ansible.com/ansible/latest/dev_guide/developing_plugins.html#filter-plugins
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils._errors import EpmdError
from ..module_utils._sweep.hosts import audited, targets_of_host

DOCUMENTATION = r"""
name: epmds
short_description: Make the list of epmds that epmd_sweep asks, from an inventory
version_added: 1.0.0
description:
  - Makes O(beamops.epmd.epmd_sweep#module:hosts) of M(beamops.epmd.epmd_sweep) from the variables of hosts.
  - The address is C(ansible_host), and the port C(epmd_port), by default 4369.
  - The names that are expected are those of the variable C(epmd_expected), a list of names. Of a host with several
    epmds it is a dictionary from port to such a list.
  - Without that variable, they are those of the last audit, if O(audit) has the host. Otherwise those of the last facts
    of M(beamops.epmd.epmd_facts) or M(beamops.epmd.epmd_register), if a facts cache keeps them.
  - Nodes in containers with a network of their own are left out. They have an epmd of their own.
positional: _input, hostvars, audit
options:
  _input:
    description: The hosts, by their names in the inventory.
    type: list
    elements: str
    required: true
  hostvars:
    description: The variables of all hosts, as Ansible's variable of this name has them.
    type: dict
    required: true
  audit:
    description: What the playbook C(beamops.epmd.audit) wrote into C(audit.json).
    type: dict
seealso:
  - module: beamops.epmd.epmd_sweep
    description: Asks them.
author:
  - beamops contributors (@beamops)
"""

EXAMPLES = r"""
- name: Ask all epmds of the play
  beamops.epmd.epmd_sweep:
    hosts: "{{ ansible_play_hosts_all | beamops.epmd.epmds(hostvars) }}"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
_value:
  description: An entry for each epmd.
  type: list
  elements: dict
  sample: [{"name": "web1", "host": "192.0.2.1", "port": 4369, "expected": ["ejabberd"]}]
"""


def epmds(hosts: Iterable[str], hostvars: Mapping[str, Any], audit: Any = None) -> list[dict[str, Any]]:
    """The documentation above says it all. Errors: AnsibleFilterError."""
    try:
        names = audited(audit) if audit else {}
        found = [target for host in hosts for target in targets_of_host(host, hostvars[host], names.get(host))]
    except EpmdError as error:
        raise AnsibleFilterError(str(error)) from error
    return [target.entry for target in found]


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters of this file by name."""
        return {"epmds": epmds}
