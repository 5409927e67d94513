#!/usr/bin/python
# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The documentation of the action plugin of this name, which does the work on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: rehearse
short_description: Have scratch nodes lose their names, and bring them back
version_added: 1.0.0
description:
  - Runs M(beamops.epmd.epmd_scratch) and M(beamops.epmd.epmd_register) on a host, in turn. Scratch nodes are started,
    lose their names, get them back and are ended, whatever happened in between.
  - Otherwise it is as M(beamops.epmd.look), and M(beamops.epmd.show) is the task after it.
  - With C(-v), each step is shown.
  - It is what the playbook C(beamops.epmd.rehearse) runs on each host.
options:
  module:
    description:
      - The module that starts the scratch nodes, M(beamops.epmd.epmd_scratch).
    type: str
    required: true
  arguments:
    description:
      - Its options. Its O(ignore:name) and O(ignore:state) are set for each step. Its O(ignore:timeout) holds for all
        steps.
    type: dict
    default: {}
  playbook:
    description:
      - Whose words and whose idea of a failure are used. V(rehearse) is the one for this.
    type: str
    choices: [audit, recover, rehearse, restart_epmd]
    default: audit
  tolerated:
    description:
      - As M(beamops.epmd.look) has it.
    type: bool
    default: false
  fails_for:
    description:
      - As M(beamops.epmd.look) has it.
    type: list
    elements: str
    default: []
  report:
    description:
      - A directory on the controller. If it can't be written, nothing is done on the host.
    type: path
seealso:
  - module: beamops.epmd.epmd_scratch
    description: Starts and ends the scratch nodes.
  - module: beamops.epmd.show
    description: What comes after it.
author:
  - beamops contributors (@beamops)
attributes:
  action:
    description: Runs on the controller, and runs the modules on the host.
    support: full
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
    details:
      - Nothing is started, so nothing is rehearsed.
  diff_mode:
    description:
      - Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
    support: none
"""

EXAMPLES = r"""
- name: Would the recovery work here?
  beamops.epmd.rehearse:
    module: beamops.epmd.epmd_scratch
    arguments:
      like_nodes: true
    playbook: rehearse
  register: rehearsed
  become: true

- name: Show the fleet, and fail if it would not work somewhere
  beamops.epmd.show:
    results: rehearsed
    playbook: rehearse
  run_once: true
"""

RETURN = r"""
msg:
  description: The line about a host on which the recovery would not work. Empty for others.
  returned: always
  type: str
  sample: "web1: rabbit@web1: would not work: no cookie at /var/lib/rabbitmq/.erlang.cookie"
needs_somebody:
  description: Whether a person has to do something.
  returned: always
  type: bool
  sample: true
result:
  description:
    - In C(rows) an entry for each node of the host, with C(name), C(verdict) and C(msg). C(failed) if one of them would
      not come back.
  returned: always
  type: dict
seen:
  description: When this was, in UTC by the clock of the controller.
  returned: always
  type: str
  sample: "2026-11-27T03:31:07Z"
"""
