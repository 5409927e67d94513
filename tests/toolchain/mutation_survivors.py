# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""mutation_survivors.py FILE DUMP EXPLAINED: report the changes that no test noticed; fails if one is unexplained.

Standard: `cosmic-ray dump` prints a line of JSON for each change: the change, and the result of the tests. EXPLAINED is
TOML, a list `survivor` of `file`, `was`, `now` (lines of code, without their indentation), `why`.
"""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple


class Change(NamedTuple):
    """Lines of code before and after."""

    was: str
    now: str


def main(file: str, dump: Path, explained: Path) -> int:
    """Print the unexplained survivors, and the totals; returns the exit code, 1 if there is such a survivor."""
    known = {
        Change(item["was"].strip(), item["now"].strip())
        for item in tomllib.loads(explained.read_text())["survivor"]
        if item["file"] == file
    }
    outcomes: dict[str, int] = {}
    survivors: list[Change] = []
    for line in dump.read_text().splitlines():
        _work, result = json.loads(line)
        outcome = str(result and (result["test_outcome"] or result["worker_outcome"]))
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        if outcome == "survived":
            survivors.append(change_of(result["diff"]))
    unexplained = [change for change in survivors if change not in known]
    for change in unexplained:
        print(f"{file} survived: {change.was}\n{' ' * len(file)}      now: {change.now}")
    for change in known - set(survivors):
        print(f"{file}: explained, but noticed by a test, or gone: {change.was}  now: {change.now}")
    numbers = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    print(f"{file}: {numbers}; {len(unexplained)} not explained")
    return min(len(unexplained), 1)


def change_of(diff: str) -> Change:
    """The lines that a diff removes and adds."""
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++"))]
    taken = [line[1:].strip() for line in lines if line.startswith("-")]
    put = [line[1:].strip() for line in lines if line.startswith("+")]
    return Change("\n".join(taken), "\n".join(put))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
