# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the time of the module's process goes, layer by layer: the clock is read whenever the next layer begins.

It runs the very file that Ansible copies to a target. Python's audit events (PEP 578) show when a layer begins, so the
measured code is unchanged; the hook makes all of it a little slower.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from ansible_collections.beamops.epmd.benchmarks.harness import Result, Row, Table, in_turns, payloads, scratch
from ansible_collections.beamops.epmd.tests.lab import Otp, forget

NAME = "layers"
RELEASE = 23  # its nodes do not register themselves again

# Each begins at its event in the probe, and ends where the next one begins.
LAYERS = {
    "start": "Python starts",
    "payload": "Ansible's wrapper unpacks itself",
    "basic": "import of AnsibleModule",
    "ours": "import of our code",
    "options": "AnsibleModule reads its options",
    "walk": "the Erlang VMs among the processes (/proc)",
    "epmd": "asking epmd for its table",
    "sockets": "the sockets of the node (sock_diag)",
    "node": "asking the node for its name",
    "repair": "import of the code that repairs; registering the node, and the proof",
    "result": "the result is printed, and Python ends",
}

_PROBE = """
import sys, time
payload, epmd, node, netlink = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), 16
marks = {"payload": time.monotonic()}
def begins(event, arguments):
    if event == "import":
        if arguments[0] == "ansible.module_utils.basic":
            return "basic"
        if arguments[0].startswith("ansible_collections.beamops.epmd.plugins.module_utils."):
            return "repair" if arguments[0].endswith("._steps.repair") else "ours"
    elif event == "os.listdir" and "options" in marks:
        return "walk" if arguments[0] == "/proc" else None
    elif event == "socket.__new__" and arguments[1] == netlink:
        # The first only shows that the kernel answers.
        return "sockets" if "walk" in marks else None
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        return {epmd: "epmd", node: "node"}.get(arguments[1][1])
def marked(name, method):
    def once(*arguments, **options):
        marks.setdefault(name, time.monotonic())
        return method(*arguments, **options)
    return once
def hook(event, arguments):
    name = begins(event, arguments)
    if name and name not in marks:
        marks[name] = time.monotonic()
        if name == "ours":
            module = sys.modules["ansible.module_utils.basic"].AnsibleModule
            module.__init__ = marked("options", module.__init__)
            module.exit_json = marked("result", module.exit_json)
sys.addaudithook(hook)
sys.argv = [payload]
__file__ = payload
try:
    with open(payload, "rb") as file:
        exec(compile(file.read(), payload, "exec"))
finally:
    print(repr(marks).replace("'", '"'), file=sys.stderr)
"""


def measure(smoke: bool) -> Result:
    """One node, healthy and lost, in turns."""
    rounds = 1 if smoke else 20
    otp = Otp.of(RELEASE)
    found: dict[str, list[dict[str, float]]] = {"healthy": [], "lost": []}
    with scratch() as directory, otp.epmd() as epmd, otp.node("vic", epmd_port=epmd.port) as node:
        file = payloads(Path(directory), {"epmd_register": {}})["epmd_register"]

        def way(case: str) -> Callable[[], float]:
            def once() -> float:
                if case == "lost":
                    forget(epmd, node)
                    epmd.start()
                found[case].append(_layers(file, epmd.port, node.port, changed=case == "lost"))
                return sum(found[case][-1].values())

            return once

        totals = in_turns(rounds, {case: way(case) for case in found})
    healthy, lost = (found[case][-rounds:] for case in ("healthy", "lost"))
    rows = [
        Row(
            {"layer": title},
            [each[layer] for each in healthy],
            [each[layer] for each in lost],
            [100 * each[layer] / total for each, total in zip(lost, totals["lost"], strict=True)],
        )
        for layer, title in LAYERS.items()
    ]
    rows.append(Row({"layer": "the whole process"}, totals["healthy"], totals["lost"], [100.0] * rounds))
    head = ("nothing to repair", "one to repair", "share of the latter")
    note = "A target keeps no compiled code of what Ansible sends, so most of an import is compiling."
    table = Table("The process of the module", head, ("ms", "%"), rows, note)
    return Result(NAME, "Where the time goes on a host", [table])


def _layers(payload: Path, epmd_port: int, node_port: int, changed: bool) -> dict[str, float]:
    """The milliseconds that each layer took; 0 for one that did not begin."""
    command = [sys.executable, "-c", _PROBE, str(payload), str(epmd_port), str(node_port)]
    marks = {"start": time.monotonic()}
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    end = time.monotonic()
    try:
        result = json.loads(done.stdout)
        marks |= json.loads(done.stderr)
    except ValueError:
        raise SystemExit(f"bench: {payload.name} failed: {done.stdout}{done.stderr}") from None
    begun = [layer for layer in LAYERS if layer in marks]
    times = [marks[layer] for layer in begun] + [end]
    # A healthy node lacks the repair, and nothing else.
    missing = set(LAYERS) - set(begun) - (set() if changed else {"repair"})
    if missing or times != sorted(times) or result.get("changed") is not changed:
        raise SystemExit(f"bench: the layers did not begin in their order: {marks}, {result}")
    taken = dict(zip(begun, (1000 * (after - at) for at, after in pairwise(times)), strict=True))
    return {layer: taken.get(layer, 0.0) for layer in LAYERS}
