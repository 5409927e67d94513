#!/usr/bin/python
# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: epmd_restart
short_description: Replace the epmd of a host, and put every registration back
version_added: 1.0.0
description:
  - Replaces the epmd of this host by that of its own systemd unit, and puts every registration back. It is the only
    module of this collection that stops anything, and it stops nothing but epmd.
  - An epmd that was started by a node lives in the unit of an application, and dies with it. So does one that was
    started in a login. Afterwards epmd lives in a unit of its own.
  - Before the old epmd is touched, every node is connected to, as a hidden node, and has to prove its cookie. Over this
    connection it registers again as soon as the new epmd is there. Its process, its clients and its cluster stay as
    they are.
  - A name that could not be put back stops it before anything is touched. The names of C and Java nodes are among them.
  - If the new epmd does not start, or does not get every name, the old one is started again, and the module fails.
  - Nodes that are lost already are registered too.
  - Safe to run often. An epmd that already is what its unit would start is left alone.
extends_documentation_fragment:
  - beamops.epmd._attributes
  - beamops.epmd._attributes.restart
requirements:
  - systemd on the target.
options:
  epmd_port:
    description:
      - The port of the epmd to replace. 4369 by default.
    type: int
  unit:
    description:
      - The socket unit or the service that shall own epmd, as V(epmd.socket) or V(epmd.service).
      - Without it, the unit in which epmd lives now, or else the first unit that runs an epmd on this port and is
        enabled or active. The role P(beamops.epmd.epmd_service#role) makes one where there is none.
      - A unit that would listen where a node does not ask stops the module, with the name of that node.
    type: str
  state:
    description:
      - V(started) replaces an epmd that lives elsewhere than in its unit, that listens at other addresses than the unit
        says, or that was started before the files of the unit were changed. systemd reads changed files again.
      - V(restarted) replaces it in any case, after an upgrade of Erlang for one.
    type: str
    choices: [started, restarted]
    default: started
  allow_lost:
    description:
      - Names at epmd that may be lost, without the host. C and Java nodes for one. They register again only when they
        are started again, which you have to do.
    type: list
    elements: str
  timeout:
    description:
      - Bound on each step, in seconds, at most 3600. The steps are the wait for another run, the look at each node, the
        proof of all cookies, the replacement, and putting it back.
    type: float
    default: 10
notes:
  - Run it with become. Only root may stop and start epmd.
  - Across hosts, use the playbook C(beamops.epmd.restart_epmd). It goes host by host, and stops at the first that
    failed.
  - An epmd in a network namespace of its own, as in most containers, is not touched.
seealso:
  - module: beamops.epmd.epmd_register
    description: Registers nodes that are lost, and stops nothing.
  - module: beamops.epmd.epmd_facts
    description: Says whether the end of something else would end an epmd (C(in_application_unit)).
author:
  - beamops contributors (@beamops)
"""

EXAMPLES = r"""
- name: Have epmd live in its own unit
  beamops.epmd.epmd_restart:
  become: true

- name: Restart epmd after an upgrade of Erlang, although a C node will be lost
  beamops.epmd.epmd_restart:
    state: restarted
    allow_lost: [a_c_node]
  become: true
"""

RETURN = r"""
msg:
  description: What was done, in one line.
  returned: always
  type: str
  sample: epmd on port 4369 was handed over to epmd.service; 1 name (ejabberd) put back, each gone for 61 ms at most
unit:
  description: The service that owns epmd. V(null) in check mode, where that is still to be written.
  returned: always, unless nothing could be looked at
  type: str
  sample: epmd.service
before:
  description: The table of epmd before, name to distribution port. Empty if epmd was down.
  returned: always, unless nothing could be looked at
  type: dict
  sample: {"ejabberd": 42815}
after:
  description: The table afterwards, as it was seen. In check mode, as it would be.
  returned: always, unless nothing could be looked at
  type: dict
  sample: {"ejabberd": 42815}
gap_ms:
  description:
    - For how many milliseconds each name was gone, from the moment before the old epmd was stopped to the moment when
      the new one was seen to have it. In a failure, up to the moment when the old one had it again.
    - Empty if epmd was not replaced.
  returned: always, unless nothing could be looked at
  type: dict
  sample: {"ejabberd": 61.4}
lost:
  description: Names that epmd had before and does not have now.
  returned: always, unless nothing could be looked at
  type: list
  elements: str
  sample: ["a_c_node"]
reason:
  description:
    - Why the module failed, in one word for programs.
    - V(would_lose) names could not be put back. Nothing was touched. RV(msg) has them.
    - V(not_replaceable) the end of this epmd would be the end of more, or several epmds share the port. Nothing was
      touched.
    - V(no_unit), V(no_systemd) no unit of this host could own epmd. Nothing was touched.
    - V(epmd_unresponsive) something that is no epmd has the port. Nothing was touched.
    - V(busy) another run is at work. Nothing was touched.
    - V(names_lost) the new epmd did not get every name, so the old one was started again.
    - V(epmd_not_started) the new epmd did not start, so the old one was started again.
    - V(not_registered) epmd was replaced, and a node that was lost before could not be registered.
    - Any other as M(beamops.epmd.epmd_register) has it.
  returned: on failure, unless Ansible itself refuses the options
  type: str
  sample: would_lose
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import _compiled_once  # noqa: F401 # pylint: disable=unused-import # makes the others cheaper
from ..module_utils._errors import EpmdError
from ..module_utils._options import Options
from ..module_utils._steps.handover import Wish, hand_over


def main() -> None:
    """Options in, result out; the work is in module_utils."""
    module = AnsibleModule(
        argument_spec={
            "epmd_port": {"type": "int"},
            "unit": {"type": "str"},
            "state": {"type": "str", "choices": ["started", "restarted"], "default": "started"},
            "allow_lost": {"type": "list", "elements": "str"},
            "timeout": {"type": "float", "default": 10},
        },
        supports_check_mode=True,
    )
    given = module.params
    wish = Wish(given["unit"], given["state"] == "restarted", tuple(given["allow_lost"] or ()))
    try:
        outcome = hand_over(
            wish, Options([], epmd_port=given["epmd_port"], timeout=given["timeout"]), module.check_mode
        )
    except EpmdError as error:
        module.fail_json(msg=str(error), reason=error.reason)
    for warning in outcome.warnings:
        module.warn(warning)
    result: dict[str, t.Any] = outcome.result()
    if module._diff:
        result["diff"] = outcome.diff
    if outcome.failed:
        module.fail_json(reason=outcome.reason, **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
