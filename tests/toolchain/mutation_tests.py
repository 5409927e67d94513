# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the unit tests of a changed file in tenths of a second: `mutation_tests.py FILE...`, in a copy of the checkout.

This process imports pytest, Hypothesis and what else the tests need of others, and nothing of the collection. Then it
answers at the socket `tests.socket` in the copy. For each connection it sees which of the files was changed, forks, and
runs that file's tests in the child. The answer is a line "CODE SECONDS", with 0 as CODE if all passed, and what pytest
said.

The tests of a file are its own, `test_NAME.py`, or without these all that import it. The verdict is that of `pytest
-x`, sooner: the fastest tests come first, Hypothesis takes the same examples as in `make unit` without making a failure
smaller, and a test ends that takes ten times as long as it did before the change.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import hypothesis
import pytest

COLLECTION = Path("ansible_collections/beamops/epmd")
SOCKET = "tests.socket"

# What takes long to import.
OTHERS = ("ansible.module_utils.basic", "asyncio", "ctypes", "ssl", "trustme", "unittest.mock", "yaml")

# A test that loops ends after these seconds and this many times what it takes; of the processor, so that other load
# does not count. One that waits for ever ends with all others after WAIT_SECONDS.
LOOP_SECONDS, LOOP_TIMES = 3.0, 10
WAIT_SECONDS = 180.0
MEMORY = 4 << 30


def imported(path: Path) -> set[str]:
    """The full names that this file imports, of modules and of what is in them."""
    names = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def tests_of(file: str) -> list[str]:
    """The files with the tests of this one, all relative to the copy. Raises SystemExit if there are none."""
    own = Path("tests/unit", file)
    own = own.with_name(f"test_{own.name.lstrip('_')}")
    if own.exists():
        return [str(own)]
    module = ".".join([*COLLECTION.parts, *Path(file).with_suffix("").parts])
    importing = [str(path) for path in sorted(Path("tests/unit").rglob("test_*.py")) if module in imported(path)]
    if not importing:
        raise SystemExit(f"mutation: no unit test imports {file}.")
    return importing


class Run(NamedTuple):
    """code: pytest's, or minus the number of the signal that ended it. took: seconds of each test that was run."""

    code: int
    output: str
    took: dict[str, float]


class Watch:
    """A plugin of pytest: takes the time of each test. With the times of an earlier run, makes this one short."""

    def __init__(self, expected: dict[str, float]):
        self.took: dict[str, float] = {}
        self._expected = expected

    def pytest_sessionstart(self) -> None:
        phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
        same = hypothesis.settings.get_profile("same")  # of tests/unit/conftest.py
        hypothesis.settings.register_profile("once", same, phases=phases, report_multiple_bugs=False)
        hypothesis.settings.load_profile("once")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: self._expected.get(item.nodeid, 0.0))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        limit = LOOP_SECONDS + LOOP_TIMES * self._expected.get(item.nodeid, WAIT_SECONDS)
        signal.setitimer(signal.ITIMER_PROF, limit)
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.took[report.nodeid] = self.took.get(report.nodeid, 0.0) + report.duration


def run(tests: list[str], expected: dict[str, float]) -> Run:
    """Run these tests in a child. `expected`: how many seconds each of them takes, empty if that is not known."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as times:
        child = os.fork()
        if not child:
            code = 70
            try:
                os.setsid()
                for standard in (1, 2):
                    os.dup2(output.fileno(), standard)
                resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
                signal.setitimer(signal.ITIMER_PROF, WAIT_SECONDS)
                watch = Watch(expected)
                options = ["-x", "-q", "--tb=line", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:xdist"]
                code = int(pytest.main([*options, f"--basetemp={os.environ['HOME']}/{os.getpid()}", *tests], [watch]))
                json.dump(watch.took, times)
                times.flush()
            finally:
                sys.stdout.flush()
                os._exit(code)
        code = end(child)
        output.seek(0)
        times.seek(0)
        return Run(code, output.read(), json.loads(times.read() or "{}"))


def end(child: int) -> int:
    """The exit code of this child when it has ended, by itself or after WAIT_SECONDS, with whatever it started."""
    descriptor = os.pidfd_open(child)
    select.select([descriptor], [], [], WAIT_SECONDS)
    os.close(descriptor)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def serve(files: list[str]) -> None:
    """Answer for ever. Raises SystemExit if a test fails already before a change."""
    tests = {file: tests_of(file) for file in files}
    unchanged = {file: Path(file).read_bytes() for file in files}
    expected = {}
    for file in files:
        before = run(tests[file], {})
        if before.code:
            raise SystemExit(f"mutation: the tests of {file} fail before it is changed:\n{before.output}")
        expected[file] = before.took
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(SOCKET)
    listener.listen()
    while True:
        connection, _address = listener.accept()
        with connection:
            begin = time.monotonic()
            changed = [file for file in files if Path(file).read_bytes() != unchanged[file]]
            runs = [run(tests[file], expected[file]) for file in changed]
            code = max((abs(one.code) for one in runs), default=0)
            said = "".join(one.output[-2000:] for one in runs)
            connection.sendall(f"{code} {time.monotonic() - begin:.3f}\n{said}".encode())


if __name__ == "__main__":
    for name in OTHERS:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    serve(sys.argv[1:])
