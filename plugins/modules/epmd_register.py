#!/usr/bin/python
# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: epmd_register
short_description: Register running Erlang nodes at epmd again
version_added: 1.0.0
description:
  - Finds the Erlang nodes of a host that epmd has forgotten, and has each of them register itself again,
    without a restart.
  - Such a node runs on, but C(ejabberdctl), C(rabbitmqctl) or a remote shell say C(nodedown),
    and C(epmd -names) does not list it.
  - Speaks the distribution protocol itself, as a hidden node. No Erlang is needed on the target beside the node.
  - Nothing is stopped, killed or restarted. A node that is registered is only asked for its name.
    A node that is lost gets one short hidden connection in addition.
  - Nodes in containers and other network namespaces are looked after from the host too, if the module runs as root
    there.
  - Safe to run often. The second run changes nothing.
extends_documentation_fragment:
  - beamops.epmd._attributes
  - beamops.epmd._attributes.register
requirements:
  - psutil 5.4 or newer on the target, only where its kernel does not list its sockets (C(sock_diag), which gVisor and
    some unprivileged containers lack), or where it is not Linux.
  - Not even there, if O(name), O(port) and one of O(cookie) and O(cookie_file) are given.
options:
  name:
    description:
      - The nodes to look after, as V(ejabberd) or V(ejabberd@host).
      - A node that is named and does not run is a failure. The message lists those that do.
      - Without it, all running nodes.
    type: list
    elements: str
  port:
    description:
      - The distribution port of the one node in O(name), which is required then.
      - Without it, the port is searched for.
    type: int
  cookie:
    description:
      - The cookie of the nodes.
      - Without it and without O(cookie_file) the cookie comes from the node's command line, its environment
        (E(RELEASE_COOKIE)), C(releases/COOKIE) of its release, or C(.erlang.cookie) in its home or in
        C(.config/erlang) there.
      - Give it as a variable. Ansible shows the arguments of an ad hoc task that fails as they were typed.
      - It is never sent. A digest of it is sent to the node, which has to prove that it knows it too.
      - Mutually exclusive with O(cookie_file).
    type: str
  cookie_file:
    description:
      - A file on the target with the cookie of the nodes. Mutually exclusive with O(cookie).
    type: path
  epmd_port:
    description:
      - The port of epmd, for a node that is given by O(port) and a cookie, when it is not 4369.
      - Any other node uses the port that it was started with (E(ERL_EPMD_PORT), else 4369) and can use no other. Where
        that is not this one, nothing is done for a node that is lost, and the module fails.
    type: int
  start_epmd:
    description:
      - Whether to start an epmd that is down. With V(false), a node whose epmd is down is a failure.
      - It is started through a systemd unit, whatever its name, that runs an epmd on that port and is enabled or
        active. A unit that would listen at more addresses than the node's own epmd (E(ERL_EPMD_ADDRESS)), or not where
        the node asks, is not used.
      - Without such a unit it is started from the node's own installation and as the node's user. Under systemd, root
        starts it in a transient unit, which the message names. That unit ends by itself as soon as one that it stands
        in for is started.
      - A node in a container that uses the network of the host uses the host's epmd, through the unit of the host. If
        the host has none, epmd is started in the container, unless the node runs with C(-start_epmd false).
      - An epmd that can't start is a failure with its own words, and no change.
      - Run with become. An epmd that is started without it may end with the login that started it, if logind is set to
        kill what a login leaves behind (C(KillUserProcesses=yes)). Then there is a warning.
    type: bool
    default: true
  timeout:
    description:
      - Bound on all the work for one node, in seconds, at most 3600.
    type: float
    default: 10
  tls_certfile:
    description:
      - A file on the target with the certificate to show to nodes with TLS distribution, in PEM form.
      - Without it, the one that the node itself shows to other nodes (C(-ssl_dist_optfile), C(-ssl_dist_opt)).
      - Of a node that is given by O(port) and a cookie nothing is known. TLS is spoken with it only where this option
        or O(tls_cafile) is given.
    type: path
  tls_keyfile:
    description:
      - A file on the target with the key of O(tls_certfile), which is required then.
      - Without it, that file holds both.
    type: path
  tls_cafile:
    description:
      - A file on the target with the CA certificates that the certificate of a node has to pass.
      - Without it, the certificate of a node is not looked at. The node proves that it knows the cookie all the same.
    type: path
notes:
  - Run it with become, or as the user of the nodes. Without the rights to see the sockets of a node nothing can be done
    for it, and the module fails.
  - Root needs C(CAP_SYS_PTRACE), C(CAP_DAC_READ_SEARCH), C(CAP_SETUID) and C(CAP_SETGID) for nodes of other users, and
    for those in containers C(CAP_SYS_ADMIN), C(CAP_SYS_CHROOT) and C(CAP_SETPCAP) too. A message names what is missing.
seealso:
  - module: beamops.epmd.epmd_facts
    description: Only looks.
  - name: epmd
    description: The Erlang Port Mapper Daemon.
    link: https://www.erlang.org/doc/apps/erts/epmd_cmd.html
  - name: Distribution Protocol
    description: What this module speaks with epmd and with nodes.
    link: https://www.erlang.org/doc/apps/erts/erl_dist_protocol.html
author:
  - beamops contributors (@beamops)
"""

EXAMPLES = r"""
- name: Register every running node that epmd has forgotten
  beamops.epmd.epmd_register:
  become: true

- name: Look after one node, and leave epmd alone
  beamops.epmd.epmd_register:
    name: ejabberd
    start_epmd: false
  become: true

- name: Say where the node is, so that no process is searched for
  beamops.epmd.epmd_register:
    name: rabbit
    port: 25672
    cookie_file: /var/lib/rabbitmq/.erlang.cookie
  become: true
"""

RETURN = r"""
msg:
  description: What was found and done, in one line.
  returned: always
  type: str
  sample: "registered: ejabberd@web1"
nodes:
  description: The nodes that were looked at.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description:
        - Full name of the node, as the node itself gives it. The name on its command line if it does not answer.
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
        - What was found before anything was done.
        - V(registered) epmd has the name with the node's port. Nothing is done.
        - V(missing) epmd has no such name. The node is registered.
        - V(epmd_down) nothing listens on the node's epmd port at any address, or systemd does, and starts epmd when
          it is asked. epmd is started and the node registered. With O(start_epmd=false) nothing is done, and the
          module fails.
        - V(borrowed) epmd has the name, but another process holds it. Nothing is done, and there is a warning.
        - V(conflict) epmd has the name with another port. Nothing is done, and the module fails, unless it is the node
          itself that has registered a wrong port. Then it registers its own, if nothing listens on the wrong one or
          another node answers there.
        - V(epmd_unresponsive) something has the port of epmd and gives no table. It does not answer, answers garbage,
          or listens at another address than the one where the node asks. Nothing is done, and the module fails.
        - V(not_applicable) it was seen that the Erlang VM is no node, or does not use epmd. Nothing is done.
        - V(unidentified) an Erlang VM whose name can't be learnt, a node that listens nowhere or whose ports don't
          answer as a node, or one that can't be asked whether it uses epmd. Nothing is done. The module fails if it was
          asked for this node, or may not see its sockets, and warns otherwise.
      returned: always
      type: str
      sample: missing
    registered:
      description: Whether epmd has the name with the node's port now.
      returned: always
      type: bool
      sample: true
    changed:
      description: Whether something was done for this node, or would be in check mode.
      returned: always
      type: bool
      sample: true
    msg:
      description: What was found or done, or why it failed.
      returned: always
      type: str
      sample: registered
    namespace:
      description:
        - Network namespace of the node by its number, as C(lsns -t net) shows it.
        - V(null) for that of the module itself, which is that of the host unless the module runs in a container.
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
      registered: true
      changed: true
      msg: registered
      namespace: 4026532567
daemons:
  description:
    - The epmds of these nodes.
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
        - A service in which nothing but epmd runs is epmd's own, whatever its name. A container with a network of its
          own keeps its epmd for its own nodes, and does not count.
      returned: always
      type: bool
      sample: false
    state:
      description:
        - V(up) it gives its table.
        - V(mute) it gives none. It hangs, another program has its port, or it listens where its nodes do not ask.
        - V(down) nothing listens there, or systemd does, and starts it for the first who asks. A look does not ask.
        - In check mode, as it would be.
      returned: always
      type: str
      sample: up
    names:
      description:
        - Its table, name to distribution port, as it is now.
        - In check mode, as it would be.
        - V(null) unless the state is V(up).
      returned: always
      type: dict
      sample: {"ejabberd": 42815, "a_c_node": 35001}
    msg:
      description:
        - Why its table is not known, or which process answers in place of an epmd. There is a warning then, too.
          Or with what it ends, if C(in_application_unit) is true, and what to run.
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
    started:
      description: Whether it was started, or would be in check mode.
      returned: always
      type: bool
      sample: false
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
      started: false
ansible_facts:
  description: What M(beamops.epmd.epmd_facts) would return, as it is now.
  returned: success
  type: dict
  contains:
    epmd:
      description: RV(nodes) and RV(daemons).
      returned: success
      type: dict
      sample: {"nodes": [], "daemons": []}
  sample: {"epmd": {"nodes": [], "daemons": []}}
missing:
  description: The names in O(name) that no running node has.
  returned: always
  type: list
  elements: str
  sample: ["ghost"]
reason:
  description:
    - Why the module failed, in one word for programs.
    - V(several) nodes failed for different reasons, which RV(nodes[].msg) and RV(msg) have.
    - V(conflict), V(epmd_unresponsive), V(unidentified) the verdict on a node.
    - V(not_running) a name in O(name) is that of no running node. RV(missing) has it.
    - V(not_registered) a node did not register itself, or lost its name again at once.
    - V(epmd_not_started) epmd is down, and could not be started or O(start_epmd=false).
    - V(no_cookie) the cookie of a node can't be found or can't be read.
    - V(node_refused) a node does not accept the connection. Its cookie is another, for one.
    - V(tls_failed) no TLS connection to a node, because of a certificate, for one.
    - V(unreachable), V(timeout), V(protocol_error) a node or an epmd does not answer, not in time, or malformed.
    - V(not_permitted) the user may not see what is needed. Run with become. Where root lacks a capability, as in a
      container, RV(msg) names it.
    - V(psutil_missing) this host can't be read without psutil, and the Python on the target has none.
    - V(invalid_option) an option has a value that is not possible.
    - V(failed) anything else.
  returned: on failure, unless Ansible itself refuses the options
  type: str
  sample: conflict
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import _compiled_once  # noqa: F401 # pylint: disable=unused-import # makes the others cheaper
from ..module_utils._ensure import Mode, ensure
from ..module_utils._errors import EpmdError
from ..module_utils._options import Options


def main() -> None:
    """Options in, result out; the work is in module_utils."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "list", "elements": "str"},
            "port": {"type": "int"},
            "cookie": {"type": "str", "no_log": True},
            "cookie_file": {"type": "path"},
            "epmd_port": {"type": "int"},
            "start_epmd": {"type": "bool", "default": True},
            "timeout": {"type": "float", "default": 10},
            "tls_certfile": {"type": "path"},
            "tls_keyfile": {"type": "path"},
            "tls_cafile": {"type": "path"},
        },
        mutually_exclusive=[("cookie", "cookie_file")],
        required_by={"port": ["name"], "tls_keyfile": ["tls_certfile"]},
        supports_check_mode=True,
    )
    options = Options(**{**module.params, "name": module.params["name"] or []})
    try:
        outcome = ensure(options, Mode.PREDICT if module.check_mode else Mode.REPAIR)
    except EpmdError as error:
        module.fail_json(msg=str(error), reason=error.reason, nodes=[], daemons=[], missing=[])
    for warning in outcome.warnings:
        module.warn(warning)
    result: dict[str, t.Any] = {
        "changed": outcome.changed,
        "msg": outcome.msg,
        "nodes": outcome.nodes,
        "daemons": outcome.daemons,
        "missing": outcome.missing,
    }
    if module._diff:
        result["diff"] = outcome.diff
    if outcome.failed:
        module.fail_json(reason=outcome.reason, **result)
    module.exit_json(ansible_facts={"epmd": {"nodes": outcome.nodes, "daemons": outcome.daemons}}, **result)


if __name__ == "__main__":
    main()
