# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the integration tests share: running the module as a user does, and losing names."""

from __future__ import annotations

import codecs
import contextlib
import importlib
import json
import os
import re
import subprocess
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._ensure import Outcome, ensure
from ansible_collections.beamops.epmd.plugins.module_utils._legible import legible
from ansible_collections.beamops.epmd.plugins.module_utils._options import Options
from ansible_collections.beamops.epmd.tests.lab import Container, Epmd, Node, Squatter, forget, holders, wait_until

CHECKOUT = Path(__file__).parents[2]
COOKIE = "a-cookie-that-nobody-may-see"
RELEASES = [int(release) for release in os.environ.get("BEAMOPS_RELEASES", "23 25 27").split()]
NEWEST = pytest.mark.since(max(RELEASES))
"""For what has to do with the controller, or with epmd alone: one release of OTP is enough."""

REPLY = re.compile(r"^localhost \| (\S+) => (\{.*?^\})$", re.MULTILINE | re.DOTALL)


class Run(NamedTuple):
    """What one ad hoc run gave: the module's result, and all that was printed."""

    result: dict[str, Any]
    output: str
    code: int

    @property
    def failed(self) -> bool:
        return self.code != 0

    @property
    def msg(self) -> str:
        return str(self.result["msg"])

    @property
    def changed(self) -> bool:
        return bool(self.result["changed"])

    @property
    def node(self) -> dict[str, Any]:
        """The only node of the result."""
        (node,) = self.result["nodes"]
        return dict(node)


def run_ansible(
    command: list[str], directory: Path, environment: dict[str, str] | None
) -> subprocess.CompletedProcess[str]:
    """Run `ansible` or `ansible-playbook` in the checkout, with its files in `directory`.

    Whatever comes of it: no traceback, and no cookie.
    """
    settings = {
        **os.environ,
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_LOCAL_TEMP": str(directory / "local"),
        "ANSIBLE_REMOTE_TEMP": str(directory / "remote"),
        **(environment or {}),
    }
    done = subprocess.run(command, check=False, cwd=CHECKOUT, env=settings, capture_output=True, text=True, timeout=120)
    output = done.stdout + done.stderr
    assert "Traceback" not in output, output
    assert COOKIE not in output, output
    return done


class Register:
    """A module through `ansible localhost -m` in the checkout, with its options as keywords."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __call__(
        self,
        *flags: str,
        module: str = "epmd_register",
        environment: dict[str, str] | None = None,
        within: Sequence[str] = (),
        **options: Any,
    ) -> Run:
        command = [*within, "ansible", "localhost", "-m", module, *flags]
        if "cookie" in options:
            # Ansible itself prints the arguments of an ad hoc task that fails, so a cookie is a variable.
            secrets = self._directory / "secrets.json"
            secrets.write_text(json.dumps({"secret_cookie": options["cookie"]}))
            command += ["-e", f"@{secrets}"]
            options["cookie"] = "{{ secret_cookie }}"
        if options:
            command += ["-a", json.dumps(options)]
        done = run_ansible(command, self._directory, environment)
        output = done.stdout + done.stderr
        match = REPLY.search(done.stdout)
        assert match, output
        return Run(json.loads(match.group(2)), output, done.returncode)


def without_psutil(directory: Path) -> dict[str, str]:
    """The environment of a Python that has no psutil."""
    (directory / "psutil.py").write_text("raise ImportError('psutil is not installed')\n")
    return {"PYTHONPATH": os.pathsep.join([str(directory), os.environ.get("PYTHONPATH", "")])}


def as_nobody(options: Options, before: Callable[[], object] = lambda: None) -> Outcome:
    """The same code in a child that gives up root: as another user, Ansible may not be able to read this checkout.

    before: what it does while it is still root.
    """
    # Some of the code, and Python's own, is imported when it is needed, and by then it could not be read.
    codecs.lookup("ascii")
    importlib.import_module("pickle")
    for path in (CHECKOUT / "plugins" / "module_utils").glob("*.py"):
        importlib.import_module(f"ansible_collections.beamops.epmd.plugins.module_utils.{path.stem}")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            before()
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            os.write(writing, json.dumps(ensure(options, check_mode=False)).encode())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8") as said:
        outcome = Outcome(*json.loads(said.read()))
    os.waitpid(child, 0)
    return outcome


def lose(epmd: Epmd, node: Node) -> None:
    """Make epmd lose the name for good, in the way that is possible with this release.

    Up to OTP 23.2 a restarted epmd is enough. Newer nodes come back by themselves as soon as there
    is an epmd, so there it stays dead.
    """
    forget(epmd, node)
    if node.eval("erlang:system_info(otp_release)") == '"23"':
        epmd.start()
        assert epmd.names() == {}


def lose_inside(box: Container, release: int) -> str:
    """Make the epmd of the container lose the name for good, and give the verdict on that."""
    box.kill_epmd()
    if release != 23:
        return "epmd_down"
    box.start_epmd()
    assert box.names() == {}
    return "missing"


@contextlib.contextmanager
def squatted(epmd: Epmd, node: Node, port: int) -> Iterator[Squatter]:
    """Somebody else holds the name of this node, with this port, at an epmd that has been restarted."""
    node.suspend()  # or it could be faster
    try:
        epmd.kill()
        epmd.start()
        squatter = Squatter(epmd.port, node.short, port)
    finally:
        node.resume()
    with squatter:
        yield squatter


def settle(node: Node) -> None:
    """Wait until the node has seen the end of every connection, as it has long before a next run in real life."""
    wait_until(lambda: node.eval("ets:info(sys_dist, size)") == "0", "the node to have no connection left")


def life(node: Node) -> tuple[int, str, str]:
    """What must not change: the process, what it is connected to, its log."""
    return node.pid, node.eval("nodes()"), node.log


def recover(register: Register, epmd: Epmd, node: Node, **options: Any) -> Run:
    """Lose the name of a node and see it registered again: by the node itself, to which nothing else happened."""
    before = life(node)
    lose(epmd, node)
    done = register(**{"name": node.short, **options})
    assert done.changed, done.output
    found = done.node
    assert (found["name"], found["pid"], found["port"]) == (legible(node.name), node.pid, node.port)
    assert found["registered"]
    assert epmd.names() == {node.short: node.port}
    assert holders(epmd.port) == {node.pid}
    assert life(node) == before
    return done


def uptime(node: Node) -> int:
    """Milliseconds that this VM runs."""
    return int(node.eval("element(1, erlang:statistics(wall_clock))"))
