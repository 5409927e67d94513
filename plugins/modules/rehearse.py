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
extends_documentation_fragment:
  - beamops.epmd._look
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
  description: Why the recovery would not work on this host. Empty where it would.
  returned: always
  type: str
  sample: no cookie at /var/lib/rabbitmq/.erlang.cookie
needs_somebody:
  description: Whether a person has to do something.
  returned: always
  type: bool
  sample: true
rows:
  description: An entry for each node of the host.
  returned: unless the host could not be asked
  type: list
  elements: dict
  contains:
    name:
      description: The node.
      returned: always
      type: str
      sample: rabbit@web1
    verdict:
      description: V(would work), V(would not work) or V(not rehearsed).
      returned: always
      type: str
      sample: would work
    msg:
      description: How it was brought back, or why it would not be.
      returned: always
      type: str
      sample: "user rabbitmq, Erlang /usr/lib/erlang/erts-13.1.5/bin: epmd was started; registered"
looked:
  description: As M(beamops.epmd.look) returns it.
  returned: always
  type: dict
  sample: {"failed": false, "unreachable": false, "tolerated": false, "at": "2026-11-27T03:31:07Z"}
"""
