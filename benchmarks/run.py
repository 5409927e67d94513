# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run costs on the target, as a ratio to an empty module, both measured in turns in one run.

Both are the very files that Ansible puts on a target (AnsiballZ), each in a process of its own.
`python benchmarks/run.py [ROUNDS]` prints medians, spread and ratio.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ansible_collections.beamops.epmd.tests.lab import Otp, forget

EMPTY = """
from ansible.module_utils.basic import AnsibleModule
def main():
    AnsibleModule({"name": {"type": "list", "elements": "str"}}).exit_json()
main()
"""


def payload(module: str, directory: Path) -> Path:
    """The file that Ansible would copy to a target for this module."""
    library = directory / "library"
    library.mkdir(exist_ok=True)
    (library / "empty.py").write_text(EMPTY)
    remote = directory / f"remote-{module}"
    subprocess.run(
        ["ansible", "localhost", "-m", module, "-a", json.dumps({"name": ["vic"]})],
        check=True,
        stdout=subprocess.DEVNULL,
        env={
            **os.environ,
            "ANSIBLE_KEEP_REMOTE_FILES": "1",
            "ANSIBLE_PIPELINING": "0",
            "ANSIBLE_REMOTE_TEMP": str(remote),
            "ANSIBLE_LIBRARY": f"{library}:plugins/modules",
        },
    )
    (found,) = remote.rglob(f"AnsiballZ_{module}.py")
    return found


def run(file: Path) -> dict[str, object]:
    """One run of a payload: what the module returned."""
    done = subprocess.run([sys.executable, str(file)], check=True, stdout=subprocess.PIPE)
    result: dict[str, object] = json.loads(done.stdout)
    return result


def seconds(file: Path, changed: bool) -> float:
    """How long one run takes, in seconds, if it gave what it should."""
    start = time.perf_counter()
    result = run(file)
    taken = time.perf_counter() - start
    if result.get("changed", False) is not changed:
        raise SystemExit(f"bench: {file.name} did not return changed={changed}: {result}")
    return taken


def compare(empty: Path, module: Path, rounds: int, changed: bool, before: Callable[[], None]) -> str:
    """A row of the table: both medians, and their ratio."""
    base, ours = [], []
    for _unused in range(rounds):
        before()
        base.append(seconds(empty, changed=False))
        ours.append(seconds(module, changed=changed))
    ratio = statistics.median(ours) / statistics.median(base)
    shown = " | ".join(
        f"{statistics.median(times) * 1000:.0f} ms ± {statistics.pstdev(times) * 1000:.0f}" for times in (base, ours)
    )
    return f"{shown} | {ratio:.2f}"


def main(rounds: int) -> None:
    """Measure and print."""
    otp = Otp.of(25)
    with (
        tempfile.TemporaryDirectory() as directory,
        otp.epmd() as epmd,
        otp.node("vic", epmd_port=epmd.port) as node,
    ):
        empty, module = (payload(name, Path(directory)) for name in ("empty", "epmd_register"))
        healthy = compare(empty, module, rounds, changed=False, before=lambda: None)
        lost = compare(empty, module, rounds, changed=True, before=lambda: forget(epmd, node))
    print(f"\n{rounds} rounds, medians ± standard deviation\n")
    print("| one host, one node | empty AnsibleModule | epmd_register | ratio |")
    print("| --- | --- | --- | --- |")
    print(f"| nothing to repair | {healthy} |")
    print(f"| epmd dead, node lost | {lost} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
