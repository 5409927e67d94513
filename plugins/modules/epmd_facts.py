#!/usr/bin/python
# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: epmd_facts
short_description: Gather which Erlang nodes run, and which of them epmd has lost
version_added: 1.0.0
description:
  - Returns every Erlang node of a host with its verdict, and every epmd with what keeps it alive.
  - Changes nothing. It costs each node one challenge, the first half of a handshake.
  - An epmd that systemd starts for the first who asks is not asked. Without root that can't be seen, and it is.
  - The role P(beamops.epmd.ensure_registered#role) leaves the same facts behind. No need to run both.
extends_documentation_fragment:
  - beamops.epmd._attributes
  - beamops.epmd._attributes.read_only
  - beamops.epmd._attributes.facts
requirements:
  - psutil 5.4 or newer on the target, only where its kernel does not list its sockets (C(sock_diag), which gVisor and
    some unprivileged containers lack), or where it is not Linux.
options:
  epmd_port:
    description:
      - The port of one more epmd to look at. 4369 and the ports that nodes use (E(ERL_EPMD_PORT) at their start) are
        looked at anyway.
    type: int
  timeout:
    description:
      - Bound on the work for each node and each epmd, in seconds, at most 3600.
    type: float
    default: 10
notes:
  - Run it with become, or as the user of the nodes. Without the rights to see its sockets, a node is V(unidentified).
    Of a root that lacks a capability, as in a container, C(msg) of the node names it.
seealso:
  - module: beamops.epmd.epmd_register
    description: Brings back those that are lost.
  - name: epmd
    description: The Erlang Port Mapper Daemon.
    link: https://www.erlang.org/doc/apps/erts/epmd_cmd.html
author:
  - beamops contributors (@beamops)
"""

EXAMPLES = r"""
- name: See which nodes run, and which are lost
  beamops.epmd.epmd_facts:
  become: true

- name: Name those that are lost
  ansible.builtin.debug:
    msg: "{{ ansible_facts.epmd.nodes | rejectattr('registered')
      | rejectattr('verdict', 'in', ['not_applicable', 'unidentified']) | map(attribute='name') }}"
"""

RETURN = r"""
msg:
  description: What was found, in one line.
  returned: always
  type: str
  sample: 1 missing; nothing to do
reason:
  description:
    - Why the module failed, in one word for programs, as M(beamops.epmd.epmd_register) has it.
    - What is wrong with a node or an epmd is a fact, and no failure.
  returned: on failure, unless Ansible itself refuses the options
  type: str
  sample: psutil_missing
ansible_facts:
  description: The facts.
  returned: success
  type: dict
  contains:
    epmd:
      description: What is known of epmd on this host.
      returned: success
      type: dict
      contains:
        nodes:
          description: The nodes that were looked at.
          returned: always
          type: list
          elements: dict
          contains:
            name:
              description:
                - Full name of the node, as the node itself gives it. The name on its command line if it does not
                  answer.
                - V(null) if it is not known.
              returned: always
              type: str
              sample: ejabberd@web1
            pid:
              description: Process of the Erlang VM. V(null) if only its port is known.
              returned: always
              type: int
              sample: 1432
            user:
              description:
                - User that the Erlang VM runs as, as its own container calls that. V(null) if that is not known.
              returned: always
              type: str
              sample: ejabberd
            address:
              description: Address that the node listens on for other nodes. V(null) if it listens nowhere.
              returned: always
              type: str
              sample: 0.0.0.0
            port:
              description: Distribution port of the node. V(null) if it listens nowhere.
              returned: always
              type: int
              sample: 42815
            tls:
              description: Whether the node speaks TLS with other nodes.
              returned: always
              type: bool
              sample: false
            hidden:
              description: Whether the node was started as a hidden node.
              returned: always
              type: bool
              sample: false
            epmd_port:
              description: Port of the epmd that the node uses.
              returned: always
              type: int
              sample: 4369
            verdict:
              description:
                - What was found, and what M(beamops.epmd.epmd_register) would do about it.
                - V(registered) epmd has the name with the node's port. Nothing is done.
                - V(missing) epmd has no such name. The node is registered.
                - V(epmd_down) nothing listens on the node's epmd port. epmd is started and the node registered.
                - V(borrowed) epmd has the name, but another process holds it. Nothing is done, and there is a warning.
                - V(conflict) epmd has the name with another port. Nothing is done, and the module fails, unless it is
                  the node itself that has registered a wrong port. Then it registers its own, if nothing listens on
                  the wrong one or another node answers there.
                - V(epmd_unresponsive) epmd does not answer, or answers garbage. Nothing is done, and the module fails.
                - V(not_applicable) it was seen that the Erlang VM is no node, or does not use epmd. Nothing is done.
                - V(unidentified) an Erlang VM whose name can't be learnt, a node that listens nowhere or whose ports
                  don't answer as a node, or one that can't be asked whether it uses epmd. Nothing is done. The module
                  fails if it was asked for this node, or may not see its sockets, and warns otherwise.
              returned: always
              type: str
              sample: missing
            registered:
              description: Whether epmd has the name with the node's port now.
              returned: always
              type: bool
              sample: false
            msg:
              description: What was found.
              returned: always
              type: str
              sample: epmd has no name ejabberd
            namespace:
              description:
                - Network namespace of the node by its number, as C(lsns -t net) shows it.
                - V(null) for that of the module itself, which is that of the host unless the module runs in a
                  container.
              returned: always
              type: int
              sample: 4026532567
          sample:
            - name: ejabberd@web1
              pid: 1432
              user: ejabberd
              address: 0.0.0.0
              port: 42815
              tls: false
              hidden: false
              epmd_port: 4369
              verdict: missing
              registered: false
              msg: epmd has no name ejabberd
              namespace: 4026532567
        daemons:
          description:
            - The epmds that the nodes use, and those on port 4369 and on O(epmd_port) if something listens there.
            - One entry for each epmd process, however many addresses it listens on.
          returned: always
          type: list
          elements: dict
          contains:
            port:
              description: Port that it listens on, or is down on.
              returned: always
              type: int
              sample: 4369
            addresses:
              description: Addresses that it listens on. Empty if it is down, unless systemd listens for it.
              returned: always
              type: list
              elements: str
              sample: ["0.0.0.0", "::"]
            pid:
              description:
                - Its process. V(null) if it is down, if what listens there is no epmd, or if it can't be seen.
                - If it listens only where its nodes do not ask, the process that has its port.
              returned: always
              type: int
              sample: 611
            user:
              description:
                - User that it runs as, as its own container calls that. V(null) if that can't be seen.
              returned: always
              type: str
              sample: epmd
            unit:
              description:
                - The systemd unit whose cgroup it lives in, or the cgroup of a container that has no unit, such as
                  V(docker/0123).
                - V(null) if there is none.
              returned: always
              type: str
              sample: epmd.service
            in_application_unit:
              description:
                - Whether that unit is another one than epmd's own, such as the service of an application, a login or a
                  container.
                - If so, the end or a restart of that kills this epmd, and all nodes lose their names.
                - A service in which nothing but epmd runs is epmd's own, whatever its name. A container with a network
                  of its own keeps its epmd for its own nodes, and does not count.
              returned: always
              type: bool
              sample: false
            state:
              description:
                - V(up) it gives its table.
                - V(mute) it gives none. It hangs, another program has its port, or it listens where its nodes do not
                  ask.
                - V(down) nothing listens there, or systemd does, and starts it for the first who asks. A look does not
                  ask.
              returned: always
              type: str
              sample: up
            names:
              description: Its table, name to distribution port. V(null) unless the state is V(up).
              returned: always
              type: dict
              sample: {"ejabberd": 42815, "a_c_node": 35001}
            msg:
              description:
                - Why its table is not known, or which process answers in place of an epmd, of which there is a warning,
                  too. Or with what it ends, if C(in_application_unit) is true, and what to run.
                - Empty if all is well.
              returned: always
              type: str
              sample: ""
            foreign:
              description:
                - Those of its names that belong to no node that was found. A C node, for one.
                - V(null) unless the state is V(up).
              returned: always
              type: list
              elements: dict
              contains:
                name:
                  description: The name.
                  returned: always
                  type: str
                  sample: a_c_node
                port:
                  description: The port that epmd has for it.
                  returned: always
                  type: int
                  sample: 35001
                pid:
                  description: The process that listens there. V(null) if none does, or if that can't be seen.
                  returned: always
                  type: int
                  sample: 812
                user:
                  description: User that this process runs as. V(null) if that is not known.
                  returned: always
                  type: str
                  sample: root
              sample:
                - name: a_c_node
                  port: 35001
                  pid: 812
                  user: root
            namespace:
              description: Network namespace that it serves, numbered as that of a node.
              returned: always
              type: int
              sample: 4026532567
          sample:
            - port: 4369
              addresses: ["0.0.0.0", "::"]
              pid: 611
              user: epmd
              unit: epmd.service
              in_application_unit: false
              state: up
              names: {"ejabberd": 42815, "a_c_node": 35001}
              msg: ""
              foreign: [{"name": "a_c_node", "port": 35001, "pid": 812, "user": "root"}]
              namespace: 4026532567
      sample: {"nodes": [], "daemons": []}
  sample: {"epmd": {"nodes": [], "daemons": []}}
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import _compiled_once  # noqa: F401 # pylint: disable=unused-import # makes the others cheaper
from ..module_utils._ensure import Mode, ensure
from ..module_utils._errors import EpmdError
from ..module_utils._options import Options


def main() -> None:
    """Options in, facts out; the work is in module_utils."""
    module = AnsibleModule(
        argument_spec={
            "epmd_port": {"type": "int"},
            "timeout": {"type": "float", "default": 10},
        },
        supports_check_mode=True,
    )
    try:
        outcome = ensure(Options([], **module.params), Mode.DIAGNOSE)
    except EpmdError as error:
        module.fail_json(msg=str(error), reason=error.reason)
    for warning in outcome.warnings:
        module.warn(warning)
    facts = {"nodes": _without(outcome.nodes, "changed"), "daemons": _without(outcome.daemons, "started")}
    module.exit_json(msg=outcome.msg, ansible_facts={"epmd": facts})


def _without(records: list[dict[str, t.Any]], key: str) -> list[dict[str, t.Any]]:
    return [{name: value for name, value in record.items() if name != key} for record in records]


if __name__ == "__main__":
    main()
