# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The event source `beamops.epmd.names` for ansible-rulebook; the work is in plugins/module_utils/_sweep/watch.py.

Standard: https://docs.ansible.com/projects/rulebook/en/latest/sources.html. ansible-rulebook runs this file by its
path, in a Python that need not have Ansible, so the collection is not where an import would look for it.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import types
from pathlib import Path
from typing import Any

DOCUMENTATION = r"""
---
short_description: Watch the epmds of a fleet, and tell when the name of an Erlang node is lost.
description:
  - An ansible-rulebook event source plugin that asks every epmd for its names, over the network, once an interval.
  - "Each event has what happened in I(event.epmd), and the host in I(event.meta.hosts), to which ansible-rulebook
    limits a playbook. I(event.epmd.type) is one of:"
  - "C(lost): a name is gone. I(node) says whether the node still runs, as its port shows: C(running), C(stopped), or
    C(unknown) where a firewall may be in between. I(expected) says whether the name should be there."
  - "C(back): a name of which there was a C(lost) is there again."
  - "C(moved): a name has another port, although something still listens on the old one."
  - "C(epmd_down): epmd gives no table; I(state) says why, as in M(beamops.epmd.epmd_sweep), and I(names) what it had."
  - "C(epmd_up): it gives one again."
  - "C(call): a person is needed; I(reason) is C(fleet_limit), C(host_limit), or C(not_healed)."
  - "C(unwatched): once, after the first round: the I(number) of hosts that did not answer, and which."
  - "C(hosts_file) and C(state_file): the file can't be read, or written."
  - "All have I(time), in ISO 8601, and those of a host have I(host), I(epmd_port), I(since) and I(seconds), the time
    that it has lasted. I(port) is the port of the node, and I(was) the one before. I(msg) is for a person."
  - "I(event.epmd.heal) is true if the playbook C(beamops.epmd.recover) is to be run on the host now: for a name that is
    expected and whose node was not stopped, or an epmd that is down on a host that answers. It is true once for a host,
    within the limits O(heal_per_host) and O(heal_per_fleet). Beyond them there is one C(call) instead."
  - A name is watched from the second time that it was seen, or from the start if it is expected. An epmd is watched
    from the first time that it answered.
options:
  hosts:
    description:
      - The epmds, a list as the option hosts of M(beamops.epmd.epmd_sweep) is one. Either this or O(hosts_file).
      - Without I(expected), every name that is there is expected.
    type: list
    elements: raw
  hosts_file:
    description:
      - The path of a file of JSON with such a list, or with what C(ansible-inventory --list) prints. There, the
        variable C(epmd_expected) has the names that should be there.
      - It is read again when it changes.
    type: str
  interval:
    description: How often each epmd is asked, in seconds, from 1. One that does not answer is asked less often.
    type: float
    default: 30
  grace:
    description:
      - For how many seconds a name or an epmd has to be gone until that is an event. A node that is restarted should be
        back by then.
    type: float
    default: 60
  timeout:
    description: How long each epmd has to answer, in seconds.
    type: float
    default: 10
  at_once:
    description: How many are asked at the same time, at most 1024.
    type: int
    default: 500
  state_file:
    description:
      - The path of a file that keeps what is known, so that nothing is told twice, or not at all, after a restart.
      - It is made for its owner alone.
    type: str
  heal_per_host:
    description: How many times within O(heal_within) a host may be recovered. 0 is never, and nobody is called.
    type: int
    default: 2
  heal_per_fleet:
    description: The same for all hosts together.
    type: int
    default: 5
  heal_within:
    description: The time of these limits, in seconds.
    type: float
    default: 3600
"""

EXAMPLES = r"""
- beamops.epmd.names:
    hosts_file: /etc/epmd-watch/hosts.json
    state_file: /var/lib/epmd-watch/state.json

- beamops.epmd.names:
    hosts:
      - web1
      - name: web2
        host: 192.0.2.2
        expected: [ejabberd]
    interval: 10
    grace: 30
"""

_PLUGINS = Path(__file__).resolve().parents[4] / "plugins"
_PACKAGE = "_beamops_epmd_plugins"


def _watch() -> Any:
    """The module `watch` of this very checkout or installation, wherever that is."""
    if _PACKAGE not in sys.modules:
        package = types.ModuleType(_PACKAGE)
        package.__path__ = [str(_PLUGINS)]
        sys.modules[_PACKAGE] = package
    return importlib.import_module(f"{_PACKAGE}.module_utils._sweep.watch")


async def main(queue: asyncio.Queue[Any], args: dict[str, Any]) -> None:
    """Put events into the queue until cancelled. Errors: EpmdError, one sentence, for arguments that can't be meant."""
    watch = _watch()
    given = {name: value for name, value in args.items() if name != "eda_feedback_queue"}
    await watch.Watch(watch.options(given), queue.put).run()


if __name__ == "__main__":  # to try it: names.py HOST...

    class _Printed(asyncio.Queue[Any]):
        """A queue that prints."""

        async def put(self, item: Any) -> None:
            print(item)

    asyncio.run(main(_Printed(), {"hosts": sys.argv[1:]}))
