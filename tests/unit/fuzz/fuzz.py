# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Throws bytes at every target, guided by the code that they reach (atheris, libFuzzer). See tests/toolchain/fuzz."""

from __future__ import annotations

import csv
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from ansible_collections.beamops.epmd.tests.unit.fuzz import corpus

COLLECTION = "ansible_collections.beamops.epmd"
SECONDS = 5
"""No input may take longer."""

MEBIBYTES = 64
"""No input may make the process larger than by this much."""


FULL = 10_000_000
"""Executions over all targets, from which on a run is recorded in the documentation."""

HEAD = ("target", "executions", "a second", "seconds", "MiB", "branches", "new")
"""branches: that the inputs reach. new: those of them that no input reached that was kept before this run."""


class Done(NamedTuple):
    """The result of one process of the fuzzer: peak in MiB; finding: the input on which it failed, None if on none.

    branches: how many the inputs reach. new: how many of them the known inputs do not.
    """

    runs: int
    seconds: int
    peak: int
    branches: int
    new: int
    finding: bytes | None
    output: str


def modules_of_tests() -> list[str]:
    """The names of all modules of tests/fakes and of this folder."""
    root = Path(__file__).parents[2]
    files = [*root.glob("fakes/*.py"), *root.glob("unit/fuzz/*.py")]
    return [f"{COLLECTION}.tests.{'.'.join(file.relative_to(root).with_suffix('').parts)}" for file in files]


def fuzz_one(name: str, options: list[str]) -> None:
    """Be the fuzzer of one target; never returns."""
    import atheris  # type: ignore[import-untyped]  # noqa: PLC0415 # only this process needs it

    # Of what is included, it looks at the first word alone. Our own code would cost as much as the decoders.
    with atheris.instrument_imports(include=[f"{COLLECTION}.plugins"], exclude=modules_of_tests()):
        from ansible_collections.beamops.epmd.tests.unit.fuzz.targets import TARGETS  # noqa: PLC0415
    # For -merge, the fuzzer starts itself again, through a shell.
    atheris.Setup([shlex.join([sys.executable, __file__, "one", name]), *options], TARGETS[name].run)
    with TARGETS[name].around():
        atheris.Fuzz()


def start(name: str, options: list[str]) -> Done:
    """Fuzz one target in a process of its own, and read its statistics."""
    with tempfile.TemporaryDirectory() as artifacts:
        done = subprocess.run(
            [sys.executable, __file__, "one", name, f"-artifact_prefix={artifacts}/", "-print_final_stats=1", *options],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        (finding, *_more) = [*(path.read_bytes() for path in Path(artifacts).iterdir()), None]
    found = re.search(r"Done (\d+) runs in (\d+) second", done.stdout)
    peak = re.search(r"peak_rss_mb:\s+(\d+)", done.stdout)
    covered = [int(number) for number in re.findall(r"(?:INITED|NEW|DONE) +cov: (\d+)", done.stdout)] or [0]
    if done.returncode == 0 and not (found and peak) and "MERGE-OUTER: successful" not in done.stdout:
        raise SystemExit(f"{name}: the fuzzer printed no statistics:\n{done.stdout[-2000:]}")
    if done.returncode != 0 and finding is None:
        raise SystemExit(f"{name}: the fuzzer ended with exit code {done.returncode}:\n{done.stdout[-2000:]}")
    return Done(
        int(found.group(1)) if found else 0,
        int(found.group(2)) if found else 0,
        int(peak.group(1)) if peak else 0,
        max(covered),
        max(covered) - covered[0],
        finding if done.returncode != 0 else None,
        done.stdout,
    )


def found_by(name: str) -> Path:
    """The directory of the inputs that earlier runs found."""
    directory = Path(os.environ["BEAMOPS_CACHE"], "fuzz", name)
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def seeds(name: str, directory: Path) -> str:
    """The corpus of a target as files, in this directory."""
    for number, data in enumerate(corpus.load(name)):
        (directory / str(number)).write_bytes(data)
    return str(directory)


def fuzz_in_full(name: str, share: int) -> tuple[Done, list[str]]:
    """Fuzz a target this many times; with its row of the table."""
    from ansible_collections.beamops.epmd.tests.unit.fuzz.targets import TARGETS  # noqa: PLC0415

    target = TARGETS[name]
    with tempfile.TemporaryDirectory() as scratch, tempfile.NamedTemporaryFile("w") as words:
        for word in target.words:
            words.write('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n')
        words.flush()
        kept = seeds(name, Path(scratch))
        options = [f"-timeout={SECONDS}", f"-max_len={target.longest}", f"-dict={words.name}"]
        # The memory of the process itself, with the inputs that are known already.
        small = start(name, [*options, "-runs=0", kept])
        options += [f"-rss_limit_mb={small.peak + MEBIBYTES}", f"-malloc_limit_mb={MEBIBYTES}"]
        done = small if small.finding else start(name, [*options, f"-runs={share}", str(found_by(name)), kept])
    rate = done.runs // max(1, done.seconds)
    numbers = (done.runs, rate, done.seconds, done.peak - small.peak, done.branches, done.new)
    return done, [name, *map(str, numbers)]


def fuzz(names: list[str], runs: int, table: Path | None = None) -> int:
    """Fuzz these targets, as many at once as there are processors, and print a table. Gives the exit code.

    table: a file that gets the table as CSV, if nothing was found.
    """
    from ansible_collections.beamops.epmd.tests.unit.fuzz.targets import TARGETS  # noqa: PLC0415

    # Those with the most to do come first, so that no processor is left without work at the end.
    names = sorted(names, key=lambda name: -TARGETS[name].weight)
    weights = sum(TARGETS[name].weight for name in names)
    shares = [-(-runs * TARGETS[name].weight // weights) for name in names]
    total, code, rows = 0, 0, [list(HEAD)]
    print(_line(HEAD), flush=True)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for done, row in pool.map(fuzz_in_full, names, shares):
            total += done.runs
            rows.append(row)
            print(_line(row), flush=True)
            if done.finding is not None:
                code = 1
                print(f"{done.output[-4000:]}\n{row[0]}: this input is a finding: {done.finding!a}", flush=True)
    print(f"{total} executions in all, {'with findings' if code else 'no crash, no hang'}", flush=True)
    if table and not code:
        with table.open("w", newline="") as file:
            csv.writer(file).writerows([*rows, ["all", str(total), *[""] * (len(HEAD) - 2)]])
    return code


def _line(cells: Sequence[str]) -> str:
    return f"{cells[0]:14}" + "".join(f"{cell:>12}" for cell in cells[1:])


def keep(names: list[str], directory: Path) -> int:
    """Add to the corpus those inputs of the last runs that reach code that the corpus does not."""
    for name in names:
        with tempfile.TemporaryDirectory() as merged:
            start(name, ["-merge=1", seeds(name, Path(merged)), str(found_by(name))])
            inputs = [path.read_bytes() for path in Path(merged).iterdir()]
        corpus.save(name, inputs, directory)
        print(f"{name}: {len(inputs)} inputs, {sum(map(len, inputs))} bytes", flush=True)
    return 0


def main(arguments: list[str]) -> int:
    """Read the command line; see tests/toolchain/fuzz."""
    from ansible_collections.beamops.epmd.tests.unit.fuzz.targets import TARGETS  # noqa: PLC0415

    what, *rest = arguments
    if what == "keep":
        return keep(rest[1:] or list(TARGETS), Path(rest[0]))
    full = not rest and int(what) >= FULL
    return fuzz(rest or list(TARGETS), int(what), Path(os.environ["BEAMOPS_TABLE"]) if full else None)


if __name__ == "__main__":
    if sys.argv[1] == "one":
        fuzz_one(sys.argv[2], sys.argv[3:])
    sys.exit(main(sys.argv[1:]))
