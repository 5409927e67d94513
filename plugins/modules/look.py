#!/usr/bin/python
# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The documentation of the action plugin of this name, which does the work on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: look
short_description: Run a module, and make a result of whatever happens
version_added: 1.0.0
description:
  - Runs a module of this collection on a host. A host that can't be reached or has no Python, and a module that fails,
    do not fail the task. They are results like any other, so that a play goes on, and ends with one table.
  - Prints one line for a host that needs somebody, and nothing for the others.
  - It is what the playbooks of this collection run on each host. M(beamops.epmd.show) is the task after it.
extends_documentation_fragment:
  - beamops.epmd._look
options:
  module:
    description:
      - The module.
    type: str
    required: true
  arguments:
    description:
      - The options of the module.
    type: dict
    default: {}
seealso:
  - plugin: beamops.epmd.fleet
    plugin_type: filter
    description: What the results are for.
author:
  - beamops contributors (@beamops)
attributes:
  action:
    description: Runs on the controller, and runs the module on the host.
    support: full
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
    details:
      - As far as the module supports it.
  diff_mode:
    description:
      - Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
    support: full
    details:
      - As far as the module supports it.
"""

EXAMPLES = r"""
- name: Look at the nodes of each host
  beamops.epmd.look:
    module: beamops.epmd.epmd_facts
  register: seen
  become: true

- name: Show the fleet, and fail if a host needs somebody
  beamops.epmd.show:
    results: seen
  run_once: true
"""

RETURN = r"""
msg:
  description: What the module says. Beside it, everything else that the module returned.
  returned: always
  type: str
  sample: 1 missing; nothing to do
needs_somebody:
  description: Whether a person has to do something.
  returned: always
  type: bool
  sample: true
looked:
  description: What is not as the module returned it.
  returned: always
  type: dict
  contains:
    failed:
      description: Whether the module failed.
      returned: always
      type: bool
      sample: false
    unreachable:
      description: Whether the host could not be reached.
      returned: always
      type: bool
      sample: false
    tolerated:
      description: As O(tolerated).
      returned: always
      type: bool
      sample: false
    at:
      description: When the module had looked, in UTC by the clock of the controller.
      returned: always
      type: str
      sample: "2026-11-27T03:31:07Z"
"""
