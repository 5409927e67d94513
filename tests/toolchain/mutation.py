# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Change files in every small way, one change at a time, and see whether a test fails: `mutation.py FOLDER [FILE...]`.

Called by the script `mutation`, which says what it is for. cosmic-ray makes the changes, hands them one by one to some
workers over HTTP, and keeps their results in a session in FOLDER. A worker has a copy of the checkout to itself, where
`mutation_tests.py` runs the tests. Prints the changes that no test noticed. Without FILE, all pure files are changed,
and the documentation gets a table of them if each change was noticed.

Standard: https://cosmic-ray.readthedocs.io/en/latest/how-tos/distributors.html
"""

from __future__ import annotations

import ast
import contextlib
import csv
import hashlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import cache
from pathlib import Path

from cosmic_ray.work_db import use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkerOutcome, WorkResult

CHECKOUT = Path(__file__).parents[2]
TOOLCHAIN = CHECKOUT / "tests/toolchain"
COLLECTION = Path("ansible_collections/beamops/epmd")

HEAD = ["file", "changes", "noticed", "explained at their line", "survivors", "seconds"]

# Longer than what `mutation_tests.py` allows, shorter than what the client of cosmic-ray's distributor waits.
TIMEOUT_SECONDS = 240.0
# What cosmic-ray starts for each change, in the worker's copy.
ASK = """\
import socket
asked = socket.socket(socket.AF_UNIX)
asked.connect("tests.socket")
answer = asked.makefile().read()
print(answer)
raise SystemExit(not answer.startswith("0 "))
"""
# Its first line, if the tests were run.
ANSWER = re.compile(r"-?\d+ (?P<seconds>[\d.]+)\n")

# Changes that never make a difference.
EQUIVALENT = re.compile(
    "|".join(
        (
            # For what CPython has only once: tags, small numbers, short words.
            "core/ReplaceComparisonOperator_(Eq_Is|NotEq_IsNot)",
            # For None, booleans and members of an Enum, and these files use "is" for nothing else.
            "core/ReplaceComparisonOperator_(Is_Eq|IsNot_NotEq)",
            # Between flags that have no bit in common, and these files use "|" for nothing else.
            "core/ReplaceBinaryOperator_BitOr_(Add|BitXor)",
        )
    )
)


def pure_files() -> list[str]:
    """The files whose docstring calls them pure in its first line: values in, values out."""
    found = []
    for path in sorted((CHECKOUT / "plugins").rglob("*.py")):
        first = (ast.get_docstring(ast.parse(path.read_bytes())) or "").partition("\n")[0]
        if re.search(r"\bPure\b", first):
            found.append(str(path.relative_to(CHECKOUT)))
    return found


@cache
def annotated(path: Path) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where this file has annotations, which nothing evaluates: line and column of begin and end of each."""
    found = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        for name in ("annotation", "returns"):
            at = getattr(node, name, None)
            if at is not None:
                found.append(((at.lineno, at.col_offset), (at.end_lineno, at.end_col_offset)))
    return found


def equivalent(mutation: MutationSpec) -> bool:
    """Whether a change can't make a difference, whatever the file does."""
    return bool(EQUIVALENT.fullmatch(mutation.operator_name)) or any(
        begin <= mutation.start_pos and mutation.end_pos <= end
        for begin, end in annotated(CHECKOUT / mutation.module_path)
    )


def fingerprint(files: list[str]) -> str:
    """Of everything that a verdict depends on."""
    seen = hashlib.sha256("\n".join([sys.version, *files]).encode())
    paths = [TOOLCHAIN / "mutation.py", TOOLCHAIN / "mutation_tests.py", CHECKOUT / "tests/requirements/mutation.txt"]
    for folder in ("plugins", "tests/unit", "tests/fakes"):
        paths += (path for path in (CHECKOUT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    for path in sorted(paths):
        seen.update(f"{path.relative_to(CHECKOUT)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return seen.hexdigest()[:12]


def configure(folder: Path, files: list[str], ports: list[int]) -> Path:
    """The configuration of cosmic-ray, as a file."""
    ask = folder / "ask.py"
    ask.write_text(ASK, encoding="utf-8")
    config = folder / "config.toml"
    config.write_text(
        f"""[cosmic-ray]
module-path = {json.dumps(files)}
timeout = {TIMEOUT_SECONDS}
excluded-modules = []
test-command = {json.dumps(f"{sys.executable} -I -S {ask}")}

[cosmic-ray.distributor]
name = "http"

[cosmic-ray.distributor.http]
worker-urls = {json.dumps([f"http://localhost:{port}" for port in ports])}
""",
        encoding="utf-8",
    )
    return config


def begin(config: Path, session: Path) -> None:
    """Make a session with all changes, where those that nothing can notice have their result already."""
    unfinished = session.with_suffix(".new")
    subprocess.run(["cosmic-ray", "init", "--force", config, unfinished], cwd=CHECKOUT, check=True)
    with use_db(unfinished) as database:
        skipped = [item.job_id for item in database.work_items if equivalent(item.mutations[0])]
        database.set_multiple_results(skipped, WorkResult(WorkerOutcome.SKIPPED))
    subprocess.run(["cr-filter-pragma", unfinished], cwd=CHECKOUT, check=True)
    unfinished.rename(session)


def free_ports(count: int) -> list[int]:
    """Numbers of ports where nothing listens."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _each in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


class Worker:
    """One of cosmic-ray's workers, in a copy of the checkout of its own, with what runs the tests there."""

    def __init__(self, root: Path, files: list[str], port: int):
        self._port = port
        self._copy = root / COLLECTION
        subprocess.run([sys.executable, str(TOOLCHAIN / "collection.py"), str(CHECKOUT), str(root)], check=True)
        # Compiled by their contents: two changes may have one time and one size.
        compiling = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "checked-hash", str(self._copy)]
        subprocess.run(compiling, check=True)
        # With the same order of sets in each run.
        own = {**dict.fromkeys(("HOME", "TMPDIR", "PYTHONPATH"), str(root)), "PYTHONHASHSEED": "0"}
        own["PYTHONDONTWRITEBYTECODE"] = "1"
        self._processes = [
            subprocess.Popen(command, cwd=self._copy, env={**os.environ, **own}, stdout=subprocess.DEVNULL)
            for command in (
                [sys.executable, str(TOOLCHAIN / "mutation_tests.py"), *files],
                ["cosmic-ray", "http-worker", "--port", str(port)],
            )
        ]

    def await_ready(self) -> None:
        """Wait until it takes work. Raises SystemExit if it ends instead."""
        while not ((self._copy / "tests.socket").exists() and self._listens()):
            if any(process.poll() is not None for process in self._processes):
                raise SystemExit("mutation: a worker ended.")
            time.sleep(0.2)

    def _listens(self) -> bool:
        with socket.socket() as asked:
            return not asked.connect_ex(("127.0.0.1", self._port))

    def end(self) -> None:
        for process in self._processes:
            process.terminate()
            process.wait()


def execute(config: Path, session: Path, files: list[str], ports: list[int]) -> None:
    """Run the tests of the changes that have no result yet. Can be interrupted at any time."""
    with contextlib.ExitStack() as stack:
        workers = []
        for port in ports:
            root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            workers.append(Worker(root, files, port))
            stack.callback(workers[-1].end)
        for worker in workers:
            worker.await_ready()
        process = subprocess.Popen(["cosmic-ray", "exec", config, session], cwd=CHECKOUT)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        stack.callback(signal.signal, signal.SIGTERM, signal.SIG_IGN)  # while all is put away
        while process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)
            with use_db(session) as database:
                done, all_of_them = database.num_results, database.num_work_items
            print(f"mutation: {done} of {all_of_them}", file=sys.stderr, flush=True)
        if process.returncode:
            raise SystemExit(f"mutation: cosmic-ray ended with {process.returncode}.")


def report(session: Path, files: list[str]) -> list[list[str]]:
    """Print each survivor, and return the table. Raises SystemExit if a change has no verdict."""
    counts: Counter[tuple[str, str]] = Counter()
    seconds: Counter[str] = Counter()
    undecided = 0
    with use_db(session) as database:
        undecided += database.num_work_items - database.num_results
        for item, result in database.completed_work_items:
            mutation = item.mutations[0]
            file = str(mutation.module_path)
            if equivalent(mutation):
                continue
            counts[file, "changes"] += 1
            answer = ANSWER.match(result.output or "")
            if result.worker_outcome == WorkerOutcome.SKIPPED:
                counts[file, "explained"] += 1
            elif not answer:
                print(f"mutation: {file}: no verdict: {result.output}", file=sys.stderr)
                undecided += 1
            else:
                seconds[file] += float(answer["seconds"])  # type: ignore[assignment]
                survived = result.test_outcome == TestOutcome.SURVIVED
                counts[file, "survivors" if survived else "noticed"] += 1
                if survived:
                    print(f"{file}:{mutation.start_pos[0]}: {mutation.operator_name}\n{result.diff}\n")
    if undecided:
        raise SystemExit(f"mutation: {undecided} changes have no verdict; delete {session} and run again.")
    kinds = ("changes", "noticed", "explained", "survivors")
    rows = [[file, *(str(counts[file, kind]) for kind in kinds), f"{seconds[file]:.0f}"] for file in files]
    total = [str(sum(counts[file, kind] for file in files)) for kind in kinds]
    return [HEAD, *rows, ["all", *total, f"{sum(seconds.values()):.0f}"]]


def main(folder: Path, given: list[str]) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("mutation: ended; what was found is kept"))
    begun = time.monotonic()
    files = given or pure_files()
    session = folder / f"{fingerprint(files)}.sqlite"
    took = session.with_suffix(".seconds")
    ports = free_ports(2 * len(os.sched_getaffinity(0)))  # some tests wait
    with tempfile.TemporaryDirectory() as scratch:
        config = configure(Path(scratch), files, ports)
        if not session.exists():
            begin(config, session)
        with use_db(session) as database:
            left = database.num_work_items - database.num_results
        if left:
            print(f"mutation: {left} changes of {len(files)} files", file=sys.stderr, flush=True)
            try:
                execute(config, session, files, ports)
            finally:
                earlier = float(took.read_text(encoding="ascii")) if took.exists() else 0.0
                took.write_text(str(earlier + time.monotonic() - begun), encoding="ascii")
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(rows := report(session, files))
    print(table.getvalue(), end="")
    if rows[-1][HEAD.index("survivors")] != "0":
        raise SystemExit("mutation: there are changes that no test notices.")
    if not given:
        recording = [sys.executable, str(TOOLCHAIN / "record.py"), "mutation", took.read_text(encoding="ascii")]
        subprocess.run(recording, input=table.getvalue(), text=True, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
