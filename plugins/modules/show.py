#!/usr/bin/python
# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The documentation of the action plugin of this name, which does the work on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: show
short_description: End a play with a table, one sentence and a report
version_added: 1.0.0
description:
  - Prints a table with a row for each node of all hosts of the play, and one sentence. Fails with that sentence if a
    host needs somebody, once for all of them. Ansible counts the failure at the host where the task runs, which is the
    first.
  - On request writes the same as a page, as JSON and as metrics, on the controller.
  - Use it with C(run_once).
options:
  results:
    description:
      - The name of the variable in which each host has its result, as M(beamops.epmd.look) or a module of this
        collection returned it.
    type: str
    required: true
  playbook:
    description:
      - Whose words and whose idea of a failure are used. The files of the report have its name.
      - V(sweep) shows the one result of M(beamops.epmd.epmd_sweep). It writes no report, and is never a failure.
    type: str
    choices: [audit, recover, rehearse, restart_epmd, sweep]
    default: audit
  report:
    description:
      - A directory on the controller, which is made if it is missing. A page C(audit.html), which needs no other file
        and no network, C(audit.json) as C(docs/report.schema.json) of the collection describes it, and C(audit.prom)
        for the textfile collector of Prometheus' node_exporter are written there. Each takes the place of the one
        before at once.
      - They are written in check mode, too.
      - Without it, nothing is written.
    type: path
  is_last:
    description:
      - Whether no other batch of hosts follows, in a play with C(serial). If one does, it prints nothing, unless a host
        needs somebody.
    type: bool
    default: true
seealso:
  - module: beamops.epmd.look
    description: What comes before it.
author:
  - beamops contributors (@beamops)
attributes:
  action:
    description: Runs on the controller, and does not use the host.
    support: full
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
    details:
      - It never touches a host. A report is written.
  diff_mode:
    description:
      - Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
    support: none
"""

EXAMPLES = r"""
- name: Show the fleet, and write a page
  beamops.epmd.show:
    results: seen
    report: /srv/www/epmd
  become: false
  run_once: true
"""

RETURN = r"""
msg:
  description: The sentence.
  returned: always
  type: str
  sample: 3 of 412 nodes are lost, on 2 of 100 hosts; 1 host could not be reached
shown:
  description: Whether the table and the sentence were printed.
  returned: when they were
  type: bool
  sample: true
"""
