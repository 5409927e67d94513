#!/usr/bin/python
# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: epmd_scratch
short_description: An Erlang node for a test or a rehearsal, which loses its name
version_added: 1.0.0
description:
  - Starts an Erlang node with an epmd of its own, has it lose its name, and ends both.
  - No other node and no other epmd is touched. An epmd belongs to a scratch node if it was started for it, which a
    variable in its environment tells (E(ERL_EPMD_SCRATCH)). If others have names there, it is left alone.
  - Node and epmd listen on the loopback interface only. The node is hidden, connects to no other node, and runs
    nothing.
  - It ends by itself when its O(lifetime) is over, and its epmd with it, so that a run that was killed leaves nothing
    for long. What is left by then, the next run ends.
  - With O(like_nodes) it is started as the nodes of this host are, so that bringing it back shows what would happen
    with them. The playbook C(beamops.epmd.rehearse) does that on a fleet.
extends_documentation_fragment:
  - beamops.epmd._attributes
  - beamops.epmd._attributes.scratch
options:
  name:
    description:
      - The name of the scratch node, without a host. Letters, digits, V(_) and V(-).
      - With O(like_nodes) it is followed by V(_1), V(_2) and so on.
    type: str
    default: scratch
  state:
    description:
      - V(started) starts it, and waits until epmd has its name. If it runs, nothing is done.
      - V(lost) kills its epmd. It runs on, without a name.
      - V(absent) ends it and its epmd.
    type: str
    choices: [started, lost, absent]
    default: started
  like_nodes:
    description:
      - Start one for each kind of node that runs on this host, with the user, the Erlang, the cookie, the environment
        and the TLS options of such a node. Nodes are of one kind if they agree in user, Erlang, cookie, home, TLS and
        IPv6. The environment is that of the first. Not more than 8 kinds.
      - Scratch nodes of this O(name) that an earlier run has left are ended first.
      - A cookie in a file is read from that file, by the scratch node and by M(beamops.epmd.epmd_register). One that is
        on the command line of the node gets into the environment of the scratch node, which only its user and root
        can read.
      - For nodes in containers, and in networks of their own, nothing is started.
    type: bool
    default: false
  erl:
    description: The program that starts Erlang, run as the user that the module runs as. Not with O(like_nodes).
    type: str
    default: erl
  epmd_port:
    description:
      - The port of its epmd. Without it, one that is free. With O(like_nodes), each has a free one.
    type: int
  lifetime:
    description: The seconds after which the node and its epmd end by themselves, at most 86400.
    type: int
    default: 600
  timeout:
    description:
      - Bound on the start, and on the end, in seconds, at most 3600. On a busy host an Erlang takes long to boot.
    type: float
    default: 10
notes:
  - Run it with become, or as the user of the nodes.
seealso:
  - module: beamops.epmd.epmd_register
    description: Brings the name back.
author:
  - beamops contributors (@beamops)
"""

EXAMPLES = r"""
- name: Start a node, with an epmd of its own
  beamops.epmd.epmd_scratch:

- name: Lose its name
  beamops.epmd.epmd_scratch:
    state: lost

- name: Bring it back
  beamops.epmd.epmd_register:
    name: scratch

- name: End it
  beamops.epmd.epmd_scratch:
    state: absent
"""

RETURN = r"""
msg:
  description: What was done, in one line.
  returned: always
  type: str
  sample: "started: scratch"
reason:
  description: Why the module failed, in one word for programs, as M(beamops.epmd.epmd_register) has it.
  returned: on failure, unless Ansible itself refuses the options
  type: str
  sample: epmd_not_started
scratch_nodes:
  description: The scratch nodes, and why there is none for a node of this host.
  returned: if O(state) is V(started), outside check mode
  type: list
  elements: dict
  contains:
    name:
      description: Its name, with a host where that is that of another node.
      type: str
      returned: always
      sample: rehearse_1@web1
    pid:
      description: Its process. V(null) if none was started.
      type: int
      returned: always
      sample: 4711
    user:
      description: The user that it runs as.
      type: str
      returned: always
      sample: rabbitmq
    epmd_port:
      description: The port of its epmd. V(null) if none was started.
      type: int
      returned: always
      sample: 40123
    program:
      description: The directory of the programs of its Erlang.
      type: str
      returned: always
      sample: /usr/lib/erlang/erts-13.1.5/bin
    like:
      description: The nodes of this host that it is made like.
      type: list
      elements: str
      returned: always
      sample: [rabbit@web1]
    msg:
      description: How it was started, or why not.
      type: str
      returned: always
      sample: "started: pid 4711, user rabbitmq, Erlang /usr/lib/erlang/erts-13.1.5/bin, epmd on port 40123"
    reason:
      description: Why it was not started, in one word for programs. V(not_rehearsed) if there is nothing wrong.
      type: str
      returned: always
      sample: ""
  sample:
    - name: rehearse_1@web1
      pid: 4711
      user: rabbitmq
      epmd_port: 40123
      program: /usr/lib/erlang/erts-13.1.5/bin
      like: [rabbit@web1]
      msg: "started: pid 4711, user rabbitmq, Erlang /usr/lib/erlang/erts-13.1.5/bin, epmd on port 40123"
      reason: ""
ended:
  description: The processes that were ended, first nodes, then epmds.
  returned: success
  type: list
  elements: int
  sample: [4711, 4712]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import _compiled_once  # noqa: F401 # pylint: disable=unused-import # makes the others cheaper
from ..module_utils._deadline import Deadline
from ..module_utils._ensure import Mode, ensure
from ..module_utils._errors import EpmdError, InvalidOption, NotPermitted, in_words
from ..module_utils._host import vms
from ..module_utils._host.likeness import Wanted
from ..module_utils._legible import all_legible
from ..module_utils._options import Options, check
from ..module_utils._steps import models, scratch
from ..module_utils._steps.models import Model
from ..module_utils._steps.records import NOT_APPLICABLE, UNIDENTIFIED
from ..module_utils._steps.scratch import Scratch
from ..module_utils._words import number_of

MAX_LIFETIME = 86400


def main() -> None:
    """Options in, result out; the work is in module_utils."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "default": "scratch"},
            "state": {"type": "str", "choices": ["started", "lost", "absent"], "default": "started"},
            "like_nodes": {"type": "bool", "default": False},
            "erl": {"type": "str", "default": "erl"},
            "epmd_port": {"type": "int"},
            "lifetime": {"type": "int", "default": 600},
            "timeout": {"type": "float", "default": 10},
        },
        supports_check_mode=True,
    )
    given = module.params
    work = {"started": _start_like if given["like_nodes"] else _start, "lost": _lose, "absent": _end}[given["state"]]
    try:
        _check(given)
        result = _predict(given) if module.check_mode else work(given)
    except Exception as error:
        found = in_words(error)
        module.fail_json(msg=str(found), reason=found.reason)
    module.exit_json(**all_legible(result))


def _check(given: dict[str, t.Any]) -> None:
    """Errors: InvalidOption."""
    scratch.check_name(given["name"])
    check(Options([], epmd_port=given["epmd_port"], timeout=given["timeout"]))
    if not 0 < given["lifetime"] <= MAX_LIFETIME:
        raise InvalidOption(
            f"lifetime {given['lifetime']} is not a time to live: give seconds from 1 to {MAX_LIFETIME}"
        )


def _predict(given: dict[str, t.Any]) -> dict[str, t.Any]:
    runs = bool(scratch.running(given["name"]))
    changed = (given["like_nodes"] or not runs) if given["state"] == "started" else runs
    return {"changed": changed, "msg": "nothing is started, killed or ended in check mode"}


def _start(given: dict[str, t.Any]) -> dict[str, t.Any]:
    name = given["name"]
    if scratch.running(name):
        return {"changed": False, "msg": f"{name} runs already", "scratch_nodes": [], "ended": []}
    model = models.of_program(given["erl"], Deadline(given["timeout"]))
    (found,) = _started([(name, model)], given)
    if found.reason:
        error = EpmdError(found.msg)
        error.reason = found.reason
        raise error
    return {"changed": True, "msg": found.msg, "scratch_nodes": [found._asdict()], "ended": []}


def _start_like(given: dict[str, t.Any]) -> dict[str, t.Any]:
    ended = scratch.end(given["name"], Deadline(given["timeout"]))
    running = {vm.pid: vm for vm in vms.find() if not scratch.is_scratch(vm)}
    nodes = [node for node in ensure(Options([]), Mode.DIAGNOSE).nodes if node["pid"] in running]
    found: list[Model] = []
    left_out: list[Scratch] = []
    for node in nodes:
        name, vm = str(node["name"] or f"pid {node['pid']}"), running[node["pid"]]
        try:
            if node["verdict"] == NOT_APPLICABLE:
                raise models.NotRehearsed(node["msg"])
            if node["verdict"] == UNIDENTIFIED:
                raise NotPermitted(node["msg"])
            found.append(models.of_node(name, vm, Deadline(given["timeout"])))
        except (EpmdError, OSError) as error:
            trouble = in_words(error)
            left_out.append(Scratch("", None, vm.user, None, None, (name,), str(trouble), trouble.reason))
    kinds = models.distinct(found)
    too_many = f"there are more than {scratch.MOST} kinds of nodes here, and not more are started at once"
    left_out += [
        Scratch("", None, model.vm.user, None, model.bindir, model.names, too_many, models.NotRehearsed.reason)
        for model in kinds[scratch.MOST :]
    ]
    named = []
    for number, model in enumerate(kinds[: scratch.MOST], 1):
        host = f"@{model.host}" if model.host else ""
        named.append((f"{given['name']}_{number}{host}", model))
    started = _started(named, {**given, "epmd_port": None})
    count = sum(not each.reason for each in started)
    return {
        "changed": bool(count or ended.nodes or ended.epmds),
        "msg": f"{number_of(count, 'scratch node')} started, for {number_of(len(nodes), 'Erlang VM')}",
        "scratch_nodes": [each._asdict() for each in [*started, *left_out]],
        "ended": ended.nodes + ended.epmds,
    }


def _started(named: list[tuple[str, Model]], given: dict[str, t.Any]) -> list[Scratch]:
    ports = [given["epmd_port"] or scratch.free_port() for _each in named]
    wanted = [
        Wanted(name, port, given["name"], given["lifetime"], bool(model.settings), model.vm.command_line.inet6)
        for (name, model), port in zip(named, ports)
    ]
    return scratch.start([(each, model) for each, (_name, model) in zip(wanted, named)], given["timeout"])


def _lose(given: dict[str, t.Any]) -> dict[str, t.Any]:
    ended = scratch.lose(given["name"], Deadline(given["timeout"]))
    pids = ", ".join(map(str, ended))
    msg = f"killed its epmd (pid {pids}): it runs on, and its name is lost"
    if not ended:
        msg = "it has no epmd: its name is lost already"
    return {"changed": bool(ended), "msg": msg, "ended": ended}


def _end(given: dict[str, t.Any]) -> dict[str, t.Any]:
    ended = scratch.end(given["name"], Deadline(given["timeout"]))
    if ended.left:
        raise EpmdError("; ".join(ended.left))
    pids = ended.nodes + ended.epmds
    msg = f"ended: pid {', '.join(map(str, pids))}" if pids else f"no scratch node {given['name']} runs here"
    return {"changed": bool(pids), "msg": msg, "ended": pids}


if __name__ == "__main__":
    main()
