# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run of epmd_register that is killed at one of its system calls, or whose system call is refused.

Shared by test_killed.py, which tries a few points, and `tests/toolchain/killed`, which tries all. `killed.py try SCENE
RELEASE SHARE SHARES` makes one of so many shares of the tries, and prints a line of JSON for each, `killed.py table
FILE...` makes the table for runs.rst from such lines, `killed.py note DOCS` puts its counts into the table of faults.

Standard: the errors of the system calls in errno(3); what of the module's own promises has to hold, see `Scene._check`.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from ansible_collections.beamops.epmd.tests.integration.support import COOKIE, life, lose_inside, settle
from ansible_collections.beamops.epmd.tests.lab import (
    Container,
    Epmd,
    LabError,
    Node,
    Otp,
    Squatter,
    Traced,
    docker_like,
    system,
    wait_until,
)
from ansible_collections.beamops.epmd.tests.toolchain.record import recorded

KILL = "KILL"
ERRORS = ("ENOSPC", "EMFILE", "ENOMEM", "EINTR")
ACTIONS = (KILL, *ERRORS)

NEVER_FAIL = {
    "exit": "it does not return",
    "exit_group": "it does not return",
    "rt_sigreturn": "it does not return",
    "brk": "it returns an address, and no error",
    "getegid": "always successful",
    "geteuid": "always successful",
    "getgid": "always successful",
    "getpid": "always successful",
    "gettid": "always successful",
    "getuid": "always successful",
    "umask": "always successful",
    "futex": "glibc ends the program at an error that futex(2) does not have",
}
"""System calls that are not refused, by their pages of the manual; a run is killed at them, too."""

TIMEOUT = 4
MARGIN = 10
"""Seconds after the timeout: a traced run takes longer, and a loaded machine as well."""

LISTINGS = 3

REPAIRED = "repaired"
FAILED = "failed in one sentence"
KILLED = "killed"
NOT_REACHED = "not reached"
DEFECT = "not clean"
ENDINGS = (KILLED, REPAIRED, FAILED, NOT_REACHED, DEFECT)

FEW = 5
"""Points for each action in `make test`."""


TO_EPMD = """
    IsIt = fun(Port) -> case catch inet:peername(Port) of {{ok, {{_, At}}}} -> At =:= {port}; _ -> false end end,
    lists:any(IsIt, erlang:ports())
"""


class Point(NamedTuple):
    """A system call of a run: the process as `_tracer.py` names it, the call, and the how manieth of it there."""

    place: str
    call: str
    number: int


class Tried(NamedTuple):
    """What one try came to: how the run ended, its message, its seconds; what was wrong then or later, best nothing."""

    point: Point
    action: str
    ending: str
    words: str
    seconds: float
    wrong: list[str]


class Scene:
    """A lost node, again and again, and what must not change with it. folder: for the temporary files of the runs."""

    def __init__(self, node: Node, folder: Path) -> None:
        self.node = node
        self.folder = folder
        self.bystander: Squatter | None = None
        self._tracer = Traced("epmd_register")
        # A node that answers somebody who has gone looks for that host, and so starts its resolver, once for all.
        node.eval('inet:getaddr("localhost", inet)')
        self._life = life(node)
        self._uptime = 0
        self._ports = 0

    def close(self) -> None:
        """End the tracer."""
        self._tracer.close()
        self._leave()

    def lose(self) -> None:
        """Lose the name of the node."""
        raise NotImplementedError

    def names(self) -> dict[str, int]:
        """The table of the node's epmd; empty where there is none."""
        raise NotImplementedError

    def has_itself(self) -> bool:
        """Whether the node is connected to its epmd: as it says, since the kernel takes milliseconds for its tables."""
        return self.node.eval(TO_EPMD.format(port=self.node.epmd_port)) == "true"

    def points(self, listings: int = LISTINGS) -> list[Point]:
        """The system calls that each of so many repairs has, in their order: how often one waits differs."""
        self.lose()
        wrong = self._repair()
        if wrong:
            raise LabError(f"the module does not repair at all: {wrong}")
        found = [self._listed() for _unused in range(listings)]
        return [point for point in found[0] if all(point in other for other in found[1:])]

    def _listed(self) -> list[Point]:
        self.lose()
        counted: Counter[tuple[str, str]] = Counter()
        points = []
        for place, call in self._run("LIST")["calls"]:
            counted[place, call] += 1
            points.append(Point(place, call, counted[place, call]))
        settle(self.node)
        return points

    def attempt(self, point: Point, action: str) -> Tried:
        """Lose the node, have the repair disturbed at this point, and look at everything; then repair it for good."""
        self.lose()
        before = processes()
        done = self._run(action, point)
        ending, words, wrong = ended(done, action, point)
        wrong += self._check(before)
        wrong += self._repair()
        return Tried(point, action, ending if not wrong else DEFECT, words, done["seconds"], wrong)

    def _run(self, action: str, point: Point | None = None, timeout: float = TIMEOUT) -> dict[str, Any]:
        options, own = {"name": ["vic"], "timeout": timeout}, {"TMPDIR": str(self.folder)}
        return self._tracer.run(options, action, point, timeout + MARGIN, own)

    def _check(self, before: set[int]) -> list[str]:
        """What is not as it has to be after a run, however that ended."""
        wrong = []
        settle(self.node)
        if life(self.node) != self._life:
            wrong.append(f"the node has changed: {life(self.node)}")
        uptime = int(self.node.eval("element(1, erlang:statistics(wall_clock))"))
        if uptime < self._uptime:
            wrong.append("the node was started again")
        self._uptime = uptime
        if os.listdir(self.folder):
            wrong.append(f"files are left: {os.listdir(self.folder)}")
        names = self.names()
        if not names.items() <= self._expected().items():
            wrong.append(f"epmd has {names}")
        if self.bystander and self.bystander.name not in names:
            wrong.append("the name of a bystander is gone")
        if "vic" in names and not self.has_itself():
            wrong.append("the node does not hold its name itself")
        try:
            wait_until(lambda: not processes() - before, "what was started to end", MARGIN)
        except TimeoutError:
            left = [psutil.Process(pid).cmdline() for pid in processes() - before]
            wrong.append(f"left behind: {left}")
        return wrong

    def _repair(self) -> list[str]:
        """What is wrong with the next run, which has to repair, and with the one after it, which has nothing to do."""
        wrong = []
        for is_second in (False, True):
            done = self._run("NOTHING", timeout=30)
            ending, words, flaws = ended(done)
            wrong += flaws
            if ending != REPAIRED or self.names() != self._expected() or not self.has_itself():
                wrong.append(f"a later run does not repair: {words}, {self.names()}")
            elif is_second and json.loads(done["output"])["changed"]:
                wrong.append(f"the second run changes something: {words}")
        settle(self.node)
        ports = int(self.node.eval("length(erlang:ports())"))
        self._ports = self._ports or ports
        if ports > self._ports:
            wrong.append(f"the node has {ports} ports, and had {self._ports}")
        return wrong

    def _expected(self) -> dict[str, int]:
        others = {self.bystander.name: self.bystander.port} if self.bystander else {}
        return {"vic": self.node.port, **others}

    def _leave(self) -> None:
        if self.bystander:
            self.bystander.close()
            self.bystander = None


def ended(done: dict[str, Any], action: str = "", point: Point | None = None) -> tuple[str, str, list[str]]:
    """How a run ended, its message, and what is wrong with that."""
    if done["is_late"]:
        return DEFECT, "", ["it did not end within its time"]
    if point and not done["was_reached"]:
        return NOT_REACHED, "", []
    if point and action == KILL and point.place == "0":
        return KILLED, "", [] if done["code"] == -9 and not done["output"] else [f"it was not killed: {done}"]
    said = done["output"] + done["errors"]
    try:
        result = json.loads(done["output"])
    except ValueError:
        result = {}
    words = str(result.get("msg", ""))
    wrong = []
    if not words or "\n" in words or "Traceback" in said or COOKIE in said or done["errors"]:
        wrong.append(f"its output is no clean result: {said}")
    if "defect of the collection" in said:
        wrong.append(f"it calls that its own defect: {words}")
    if done["code"] != int(result.get("failed", False)):
        wrong.append(f"its exit code is {done['code']}")
    if result.get("failed"):
        return FAILED, words, wrong
    if not all(node["registered"] for node in result.get("nodes") or [{"registered": False}]):
        wrong.append(f"it succeeds, and the node is not registered: {said}")
    return REPAIRED, words, wrong


def processes() -> set[int]:
    """What runs on this private host, without epmds, one of which may have been started."""
    found = set()
    for process in psutil.process_iter(["name", "status"]):
        if process.info["name"] != "epmd" and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.add(process.pid)
    return found


class OnHost(Scene):
    """A node of this host, whose epmd was started anew and has a bystander; from OTP 25 on, whose epmd is dead."""

    def __init__(self, otp: Otp, epmd: Epmd, node: Node, folder: Path) -> None:
        self._epmd = epmd
        self._is_dead = otp.release > 23
        super().__init__(node, folder)

    def lose(self) -> None:
        self._leave()
        self._epmd.kill()
        wait_until(lambda: not self.has_itself(), "the node to notice that its epmd is gone")
        if not self._is_dead:
            self._epmd.start()
            self.bystander = Squatter(self._epmd.port, "bystander", 4711)

    def names(self) -> dict[str, int]:
        try:
            return self._epmd.names()
        except ConnectionRefusedError:
            return {}


class InContainer(Scene):
    """A node in a container with processes and a network of its own; the same faults."""

    def __init__(self, otp: Otp, box: Container, node: Node, folder: Path) -> None:
        self._box = box
        self._release = otp.release
        super().__init__(node, folder)

    def lose(self) -> None:
        lose_inside(self._box, self._release)

    def names(self) -> dict[str, int]:
        return self._box.names()


WORDS = {"host": "a node of the host", "container": "a node in a container"}
"""The scenes, as the table calls them."""


@contextlib.contextmanager
def scene(name: str, otp: Otp) -> Iterator[Scene]:
    """The scene of this name with a node of this release."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="beamops-killed-"))
        found: Scene
        if name == "host":
            epmd = stack.enter_context(otp.epmd())
            node = stack.enter_context(otp.node("vic", epmd_port=epmd.port, cookie=COOKIE))
            found = OnHost(otp, epmd, node, Path(folder))
        else:
            box = stack.enter_context(docker_like(system(otp.release)))
            node = stack.enter_context(box.node("vic", release=otp.release, cookie=COOKIE, user="root"))
            found = InContainer(otp, box, node, Path(folder))
        stack.callback(found.close)
        yield found


def every(points: Sequence[Point], share: int, shares: int) -> list[tuple[Point, str]]:
    """This share of all tries: each action at each point where it can be tried. A try is always in the same share."""
    killed = [(point, KILL) for point in points]
    refused = [(point, error) for error in ERRORS for point in points if point.call not in NEVER_FAIL]
    return [each for each in killed + refused if zlib.crc32(repr(each).encode()) % shares == share]


def try_all(name: str, release: int, share: int, shares: int) -> Iterator[Tried]:
    """Every point of a scene, or this share of them."""
    with scene(name, Otp.of(release)) as found:
        for point, action in every(found.points(), share, shares):
            tried = found.attempt(point, action)
            yield tried if tried.ending != NOT_REACHED else found.attempt(point, action)


def spread(points: Sequence[Point], offset: int) -> list[Point]:
    """A few of them, from the first to the last, others for each offset; none that is never refused."""
    refusable = [point for point in points if point.call not in NEVER_FAIL]
    width = len(refusable) // FEW
    return [refusable[number * width + offset * width // len(ACTIONS)] for number in range(FEW)]


def table(tried: Iterable[tuple[str, int, Tried]]) -> list[list[str]]:
    """The table for runs.rst, from the tries of each scene and release."""
    found: dict[tuple[str, int], list[Tried]] = {}
    for name, release, each in tried:
        found.setdefault((name, release), []).append(each)
    rows = [["scene", "system calls", "tried", *ACTIONS, *ENDINGS]]
    for (name, release), tries in sorted(found.items()):
        actions, endings = Counter(each.action for each in tries), Counter(each.ending for each in tries)
        lost = "its epmd is dead" if release > 23 else "epmd has lost its name"
        numbers = [len({each.point for each in tries}), len(tries), *(actions[action] for action in ACTIONS)]
        numbers += [endings[ending] for ending in ENDINGS]
        rows.append([f"{WORDS[name]}, OTP {release}: {lost}", *(f"{number:,}" for number in numbers)])
    return rows


def fault(action: str) -> str:
    """What faults.rst calls it."""
    return "killed (SIGKILL) at a system call" if action == KILL else f"a system call of the module fails: {action}"


def counts(docs: Path) -> dict[str, str]:
    """How often each action was tried in the last full run, by its table in runs.rst, in words for faults.rst."""
    _date, rows = recorded("killed", (docs / "runs.rst").read_text(encoding="utf-8"))
    tried = {action: sum(int(row[action].replace(",", "")) for row in rows) for action in ACTIONS}
    return {action: f"at {FEW} calls in make test, at {number:,} in make killed" for action, number in tried.items()}


def note(docs: Path) -> None:
    """Put these counts into the rows of faults.rst, where they stood before."""
    file = docs / "faults.rst"
    text = file.read_text(encoding="utf-8")
    for action, words in counts(docs).items():
        row = rf"(?m)^(   {re.escape(fault(action))},.*)at \d+ calls in make test, at [\d,]+ in make killed"
        text = re.sub(row, rf"\g<1>{words}", text)
    file.write_text(text, encoding="utf-8")


def main(name: str, release: int, share: int, shares: int) -> int:
    """Print what each try came to, a line of JSON each; returns 1 if one was not clean."""
    code = 0
    for tried in try_all(name, release, share, shares):
        print(json.dumps([name, release, tried]), flush=True)
        if tried.wrong:
            print(f"killed: {name}, OTP {release}, {tried.action} at {tried.point}: {tried.wrong}", file=sys.stderr)
            code = 1
    return code


def show(files: Sequence[str]) -> None:
    """Print the table as CSV, from such lines."""
    lines = [json.loads(line) for file in files for line in Path(file).read_text(encoding="utf-8").splitlines()]
    tried = [(name, release, Tried(Point(*point), *rest)) for name, release, (point, *rest) in lines]
    csv.writer(sys.stdout).writerows(table(tried))


if __name__ == "__main__":
    if sys.argv[1] == "table":
        show(sys.argv[2:])
    elif sys.argv[1] == "note":
        note(Path(sys.argv[2]))
    else:
        sys.exit(main(sys.argv[2], *map(int, sys.argv[3:])))
