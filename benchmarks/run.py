# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run benchmarks at full size and keep their results: `run.py FILE [NAME...]`, for `make bench`.

FILE gets the results as JSON, from which `report.py` writes the documentation. With names, only these are measured,
and the results of the others stay in the file.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from pathlib import Path

import ansible.release

from ansible_collections.beamops.epmd.benchmarks import connections, fleet, layers, module, nodes, sweep, wire
from ansible_collections.beamops.epmd.benchmarks.harness import Result

BENCHMARKS = {bench.NAME: bench for bench in (module, layers, wire, nodes, connections, fleet, sweep)}


def machine() -> dict[str, str]:
    """The properties of this machine on which the numbers depend; nothing that identifies it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory:.0f} GiB",
        "Linux": ".".join(platform.release().split(".")[:2]),
        "Python": platform.python_version(),
        "ansible-core": ansible.release.__version__,
        "Erlang/OTP": "23 and 25",
    }


def keep(file: Path, result: Result) -> None:
    """Put a result into the file, in place of an earlier one of the same benchmark."""
    kept = json.loads(file.read_text()) if file.exists() else {"results": {}}
    kept["machine"] = machine()
    kept["results"][result.name] = {
        "title": result.title,
        "tables": [{**table._asdict(), "rows": [row._asdict() for row in table.rows]} for table in result.tables],
        "constants": result.constants,
    }
    kept["results"] = {name: kept["results"][name] for name in BENCHMARKS if name in kept["results"]}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(kept, indent=1))


def main(file: Path, names: list[str]) -> None:
    """Run the benchmarks, and keep each result."""
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        raise SystemExit(f"bench: there is no {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    for name in names or BENCHMARKS:
        print(f"bench: {name}", end="", flush=True)
        start = time.monotonic()
        keep(file, BENCHMARKS[name].measure(smoke=False))
        print(f": {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
