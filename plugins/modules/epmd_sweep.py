#!/usr/bin/python
# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: epmd_sweep
short_description: Ask the epmds of a whole fleet for their names, over the network
version_added: 1.0.0
description:
  - Asks very many epmds at once which names they have, and says which are missing. Ten thousand take a few seconds.
  - Runs once, on the controller or on a host that reaches the others, and not on each host. It logs in nowhere.
  - Changes nothing. An epmd gets the same question that C(epmd -names) asks.
  - The playbook C(beamops.epmd.sweep) starts with it, and then runs the role P(beamops.epmd.ensure_registered#role) on
    exactly the hosts that need that.
extends_documentation_fragment:
  - beamops.epmd._attributes
  - beamops.epmd._attributes.read_only
  - beamops.epmd._attributes.sweep
options:
  hosts:
    description:
      - The epmds to ask. Each is a host, C(host:port), or a dictionary with these keys.
      - C(name) is what the host is called in the result, and C(host) its address, or a name that has one. One of them
        is enough. Of a host with several addresses, the first that answers counts, and at most 8 are tried.
      - C(port) is the port of its epmd, by default O(epmd_port).
      - C(expected) is a list of the names that should be there, such as V(ejabberd). What follows an C(@) is ignored.
        Without it, no name is reported as missing there.
      - The filter P(beamops.epmd.epmds#filter) makes this list from an inventory.
    type: list
    elements: raw
    required: true
  epmd_port:
    description: The port of those epmds for which no other is given. By default 4369.
    type: int
  timeout:
    description: How long each epmd has, in seconds, at most 3600. The lookup of its name is a part of that.
    type: float
    default: 10
  at_once:
    description:
      - How many are asked at the same time, at most 1024. Fewer are asked if the module may not open as many
        descriptors (C(ulimit -n)); RV(at_once) says how many were.
    type: int
    default: 500
notes:
  - An epmd that listens on loopback alone is V(refused) from outside. That is no error, and its host is in RV(look_at).
  - A user of a host can register a name that contains the line of another name, so that this seems to be there.
    M(beamops.epmd.epmd_facts) is not fooled.
seealso:
  - module: beamops.epmd.epmd_facts
    description: Looks at a host from inside.
  - plugin: beamops.epmd.epmds
    plugin_type: filter
    description: Makes the list of O(hosts) from an inventory.
author:
  - beamops contributors (@beamops)
"""

EXAMPLES = r"""
- name: Ask two epmds
  beamops.epmd.epmd_sweep:
    hosts:
      - web1
      - name: web2
        host: 192.0.2.2
        expected: [ejabberd]
  delegate_to: localhost
  run_once: true

- name: Ask all epmds of the play for what is expected there
  beamops.epmd.epmd_sweep:
    hosts: "{{ ansible_play_hosts_all | beamops.epmd.epmds(hostvars) }}"
  delegate_to: localhost
  run_once: true
  register: swept

- name: Name the hosts that need a look from inside
  ansible.builtin.debug:
    msg: "{{ swept.look_at }}"
  run_once: true
"""

RETURN = r"""
msg:
  description: What was found, in one line.
  returned: always
  type: str
  sample: 412 epmds asked, 410 up, 1 refused, 1 timeout; 3 names missing; 4 hosts to be looked at from inside
reason:
  description: Why the module failed, in one word for programs. What is wrong with an epmd is a result, and no failure.
  returned: on failure, unless Ansible itself refuses the options
  type: str
  sample: invalid_option
hosts:
  description: What became of each question, in the order of O(hosts).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: What the host is called.
      returned: always
      type: str
      sample: web2
    host:
      description: Its address, or a name that has one, as given.
      returned: always
      type: str
      sample: 192.0.2.2
    port:
      description: The port that was asked.
      returned: always
      type: int
      sample: 4369
    address:
      description: The address that was asked. V(null) if there was none.
      returned: always
      type: str
      sample: 192.0.2.2
    state:
      description:
        - V(up) epmd gives its table.
        - V(refused) nothing listens there. epmd is down, or listens on loopback alone.
        - V(timeout) no answer in time. The host is down, a firewall drops the packets, or epmd hangs.
        - V(down) the host can't be reached.
        - V(unresolved) its name has no address.
        - V(malformed) what answers is no epmd, or hangs up.
        - V(unasked) the machine that asks had no descriptor or port left. Lower O(at_once).
      returned: always
      type: str
      sample: up
    names:
      description: Its table, name to distribution port. V(null) unless the state is V(up).
      returned: always
      type: dict
      sample: {"rabbit": 25672}
    missing:
      description:
        - Expected names that are not there. All of them, unless the state is V(up).
        - V(null) if it is not known what to expect.
      returned: always
      type: list
      elements: str
      sample: ["ejabberd"]
    extra:
      description: Names that are there and were not expected. V(null) if it is not known what to expect.
      returned: always
      type: list
      elements: str
      sample: ["rabbit"]
    msg:
      description: Why there is no table. Empty if there is one.
      returned: always
      type: str
      sample: ""
  sample:
    - name: web2
      host: 192.0.2.2
      port: 4369
      address: 192.0.2.2
      state: up
      names: {"rabbit": 25672}
      missing: ["ejabberd"]
      extra: ["rabbit"]
      msg: ""
states:
  description: How many epmds are in each state.
  returned: success
  type: dict
  sample: {"up": 410, "refused": 1, "timeout": 1, "down": 0, "unresolved": 0, "malformed": 0, "unasked": 0}
look_at:
  description: The hosts that miss a name or could not be asked, by name. What is wrong there shows only from inside.
  returned: success
  type: list
  elements: str
  sample: ["web2"]
unknown:
  description: The hosts that gave a table and of which it is not known what to expect, by name.
  returned: success
  type: list
  elements: str
  sample: ["web1"]
at_once:
  description: How many were asked at the same time.
  returned: success
  type: int
  sample: 500
"""

import asyncio
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import _compiled_once  # noqa: F401 # pylint: disable=unused-import # makes the others cheaper
from ..module_utils._errors import EpmdError, in_words
from ..module_utils._legible import all_legible
from ..module_utils._sweep import sweep
from ..module_utils._sweep.ask import STATES, UP, Answer
from ..module_utils._sweep.hosts import Target, compare, targets
from ..module_utils._words import number_of


def main() -> None:
    """Options in, what the epmds say out; the work is in module_utils."""
    module = AnsibleModule(
        argument_spec={
            "hosts": {"type": "list", "elements": "raw", "required": True},
            "epmd_port": {"type": "int"},
            "timeout": {"type": "float", "default": 10},
            "at_once": {"type": "int", "default": 500},
        },
        supports_check_mode=True,
    )
    timeout, at_once = module.params["timeout"], module.params["at_once"]
    try:
        sweep.check(timeout, at_once)
        asked = targets(module.params["hosts"], module.params["epmd_port"])
    except EpmdError as error:
        module.fail_json(msg=str(in_words(error)), reason=error.reason)
    at_once = sweep.slots(at_once)
    answers: dict[str, Answer] = {}

    def keep(target: Target, answer: Answer) -> None:
        answers[target.key] = answer

    asyncio.run(sweep.sweep(asked, timeout, at_once, keep))
    module.exit_json(changed=False, at_once=at_once, **report([(target, answers[target.key]) for target in asked]))


def report(found: list[tuple[Target, Answer]]) -> dict[str, t.Any]:
    """The result of the module, from each epmd with its answer."""
    states = dict.fromkeys(STATES, 0)
    hosts, look_at, unknown, missed = [], {}, {}, 0
    for target, answer in found:
        states[answer.state] += 1
        missing, extra = (None, None) if target.expected is None else compare(target.expected, answer.names)
        if missing or answer.state != UP:
            look_at[target.name] = True
        elif missing is None:
            unknown[target.name] = True
        missed += len(missing or ())
        hosts.append(
            {
                "name": target.name,
                "host": target.host,
                "port": target.port,
                "address": answer.address or None,
                "state": answer.state,
                "names": answer.names if answer.state == UP else None,
                "missing": missing,
                "extra": extra,
                "msg": answer.msg,
            }
        )
    parts = [
        number_of(len(found), "epmd") + " asked",
        *(f"{number} {state}" for state, number in states.items() if number),
    ]
    told = [", ".join(parts), f"{number_of(missed, 'name')} missing"]
    if look_at:
        told.append(f"{number_of(len(look_at), 'host')} to be looked at from inside")
    if unknown:
        told.append(f"not known what to expect on {number_of(len(unknown), 'host')}")
    lists = {"hosts": hosts, "look_at": list(look_at), "unknown": list(unknown)}
    return {"msg": "; ".join(told), "states": states, **all_legible(lists)}


if __name__ == "__main__":
    main()
