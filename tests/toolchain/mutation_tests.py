# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the unit tests of a changed file in tenths of a second: `mutation_tests.py FILE...`, in a copy of the checkout.

This process imports pytest, Hypothesis and what else the tests need of others, and nothing of the collection. Then it
answers at the socket `tests.socket` in the copy. For each connection it sees which of the files was changed, forks, and
runs that file's tests in the child. The answer is a line "CODE SECONDS", with 0 as CODE if all passed, and what pytest
said.

The tests of a file are its own, `test_NAME.py`, or without these all that import it. The verdict is that of `pytest
-x`, sooner: tests that are fast or have noticed other changes come first, Hypothesis takes the same examples as in
`make unit` without making a failure smaller, and a test ends that takes ten times as long as it did before the change.
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


class Test:
    """What is known of a test. seconds: how long it took before the change. noticed: how many changes made it fail."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.noticed = 0

    @property
    def price(self) -> float:
        """Of a change that it notices, roughly."""
        return self.seconds / (self.noticed + 0.1)


class Run(NamedTuple):
    """code: pytest's, or minus the number of the signal that ended it. took: seconds of each test that was run."""

    code: int
    output: str
    took: dict[str, float]
    failed: list[str]


class Watch:
    """A plugin of pytest: takes the time of each test. With what is known of the tests, makes the run short."""

    def __init__(self, known: dict[str, Test]):
        self.took: dict[str, float] = {}
        self.failed: list[str] = []
        self._known = known

    def pytest_sessionstart(self) -> None:
        phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
        same = hypothesis.settings.get_profile("same")  # of tests/unit/conftest.py
        hypothesis.settings.register_profile("once", same, phases=phases, report_multiple_bugs=False)
        hypothesis.settings.load_profile("once")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: self._known[item.nodeid].price if item.nodeid in self._known else 0.0)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        test = self._known.get(item.nodeid)
        signal.setitimer(signal.ITIMER_PROF, LOOP_SECONDS + LOOP_TIMES * test.seconds if test else WAIT_SECONDS)
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.took[report.nodeid] = self.took.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.failed.append(report.nodeid)


def run(tests: list[str], known: dict[str, Test]) -> Run:
    """Run these tests in a child. `known`: by name what is known of each, empty if that is nothing."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as times:
        child = os.fork()
        if not child:
            code = 70
            try:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                os.setsid()
                for standard in (1, 2):
                    os.dup2(output.fileno(), standard)
                resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
                signal.setitimer(signal.ITIMER_PROF, WAIT_SECONDS)
                watch = Watch(known)
                options = ["-x", "-q", "--tb=line", "--assert=plain", "-p", "no:cacheprovider", "-p", "no:xdist"]
                code = int(pytest.main([*options, f"--basetemp={os.environ['HOME']}/{os.getpid()}", *tests], [watch]))
                json.dump([watch.took, watch.failed], times)
                times.flush()
            finally:
                sys.stdout.flush()
                os._exit(code)
        code = end(child)
        output.seek(0)
        times.seek(0)
        return Run(code, output.read(), *json.loads(times.read() or "[{}, []]"))


def end(child: int) -> int:
    """The exit code of this child when it has ended, by itself or after WAIT_SECONDS, with whatever it started."""
    descriptor = os.pidfd_open(child)
    try:
        select.select([descriptor], [], [], WAIT_SECONDS)
    finally:
        os.close(descriptor)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code


def serve(files: list[str]) -> None:
    """Answer for ever. Raises SystemExit if a test fails already before a change."""
    tests = {file: tests_of(file) for file in files}
    unchanged = {file: Path(file).read_bytes() for file in files}
    known = {}
    for file in files:
        before = run(tests[file], {})
        if before.code:
            raise SystemExit(f"mutation: the tests of {file} fail before it is changed:\n{before.output}")
        known[file] = {name: Test(seconds) for name, seconds in before.took.items()}
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(SOCKET)
    listener.listen()
    while True:
        connection, _address = listener.accept()
        with connection:
            begin = time.monotonic()
            # cosmic-ray changes one file at a time.
            file = next(file for file in files if Path(file).read_bytes() != unchanged[file])
            after = run(tests[file], known[file])
            for name in after.failed:
                if name in known[file]:
                    known[file][name].noticed += 1
            connection.sendall(f"{after.code} {time.monotonic() - begin:.3f}\n{after.output[-2000:]}".encode())


if __name__ == "__main__":
    for name in OTHERS:
        importlib.import_module(name)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    gc.collect()
    gc.freeze()
    serve(sys.argv[1:])
