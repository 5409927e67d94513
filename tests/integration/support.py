# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shared by the integration tests: running the modules as a user does, and losing names."""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._legible import legible
from ansible_collections.beamops.epmd.tests.lab import (
    Container,
    Epmd,
    Node,
    Otp,
    Squatter,
    forget,
    holders,
    run_payload,
    wait_until,
)

CHECKOUT = Path(__file__).parents[2]
COOKIE = "a-cookie-that-nobody-may-see"
RELEASES = [int(release) for release in os.environ.get("BEAMOPS_RELEASES", "23 25 27").split()]
EVERY_RELEASE = bool(os.environ.get("BEAMOPS_EVERY_RELEASE"))
"""Whether this is `make test-all`, where each test runs on each release that it has something to say of."""
NEWEST = pytest.mark.since(max(RELEASES))
"""For tests of the controller, or of epmd alone: one release of OTP is enough."""

REPLY = re.compile(r"^localhost \| (\S+) => (\{.*?^\})$", re.MULTILINE | re.DOTALL)


class Run(NamedTuple):
    """One ad hoc run: the module's result, everything that was printed, and the exit code."""

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

    Whether it succeeds or not, it prints no traceback and no cookie.
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
    """Runs a module as Ansible does on a target, without a controller, with its options as keywords.

    Starting `ansible` takes longer than all of the module's work. What is about the controller takes `AdHoc`.
    """

    def __call__(
        self,
        *flags: str,
        module: str = "epmd_register",
        environment: dict[str, str] | None = None,
        within: Sequence[str] = (),
        python: str = sys.executable,
        controller: str = sys.executable,
        **options: Any,
    ) -> Run:
        assert set(flags) <= {"--check", "--diff"}, flags
        result = run_payload(
            module,
            options,
            check="--check" in flags,
            within=within,
            python=python,
            environment=environment,
            controller=controller,
        )
        result.setdefault("changed", False)  # as the controller does
        output = json.dumps(result, indent=4)
        assert COOKIE not in output, output
        diff = result.get("diff", {"before": "", "after": ""}) if "--diff" in flags else {"before": "", "after": ""}
        changes = difflib.ndiff(diff["before"].splitlines(), diff["after"].splitlines())
        # As Ansible shows it: "+name vic at port 1".
        shown = [line[0] + line[2:] for line in changes]
        return Run(result, "\n".join([output, *shown]), 1 if result.get("failed") else 0)


class AdHoc:
    """Runs a module by `ansible localhost -m` in the checkout, with its options as keywords."""

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
            # Ansible prints the arguments of an ad hoc task that fails, so the cookie goes into a variable.
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


NO_PSUTIL = "import sys; sys.modules['psutil'] = None  # so that its import fails\n"
NO_SOCK_DIAG = "import socket; socket.AF_NETLINK = 255  # no kernel has this address family\n"


def python_with(directory: Path, *code: str) -> dict[str, str]:
    """The environment in which every Python runs this code at its start, also that of a module."""
    (directory / "sitecustomize.py").write_text("".join(code))
    return {"PYTHONPATH": os.pathsep.join([str(directory), os.environ.get("PYTHONPATH", "")])}


def without(*capabilities: str) -> list[str]:
    """A command line that runs another one without these capabilities, as setpriv(1) calls them."""
    missing = ",".join(f"-{name}" for name in capabilities)
    return ["setpriv", f"--bounding-set={missing}", f"--inh-caps={missing}"]


def lose(epmd: Epmd, node: Node) -> None:
    """Make epmd lose the name of the node, so that it does not come back by itself.

    For OTP up to 23.2, epmd is restarted. Newer nodes register themselves again as soon as there is
    an epmd, so there it stays dead.
    """
    forget(epmd, node)
    if node.eval("erlang:system_info(otp_release)") == '"23"':
        epmd.start()
        assert epmd.names() == {}


def lose_inside(box: Container, release: int) -> str:
    """The same for the epmd of a container; returns the verdict that the module has to give."""
    box.kill_epmd()
    if release != 23:
        return "epmd_down"
    box.start_epmd()
    assert box.names() == {}
    return "missing"


@contextlib.contextmanager
def squatted(epmd: Epmd, node: Node, port: int) -> Iterator[Squatter]:
    """Another process holds the name of this node, with this port, at an epmd that was restarted."""
    node.suspend()  # or it might be faster
    try:
        epmd.kill()
        epmd.start()
        squatter = Squatter(epmd.port, node.short, port)
    finally:
        node.resume()
    with squatter:
        yield squatter


def settle(node: Node) -> None:
    """Wait until the node has noticed the end of every connection, as it has in real life before the next run."""
    wait_until(lambda: node.eval("ets:info(sys_dist, size)") == "0", "the node to have no connection left")


def life(node: Node) -> tuple[int, str, str]:
    """What must not change: the process, its connections to other nodes, its log."""
    return node.pid, node.eval("nodes()"), node.log


def recover(register: Register, epmd: Epmd, node: Node, **options: Any) -> Run:
    """Lose the name of a node, and check that the node itself is registered again, and otherwise as before."""
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


def rehearse(register: Register, **how: Any) -> list[dict[str, Any]]:
    """Have a scratch node of each kind lose its name and get it back, as the playbook does; returns those nodes.

    how: where the modules run. Afterwards every Erlang and every epmd is as before.
    """
    before = erlangs()
    started = register(module="epmd_scratch", name="rehearse", like_nodes=True, timeout=60, **how)
    try:
        assert not started.failed, started.output
        found: list[dict[str, Any]] = started.result["scratch_nodes"]
        assert not any(node["reason"] for node in found), started.output
        lost = register(module="epmd_scratch", name="rehearse", state="lost", **how)
        assert lost.changed, lost.output
        done = register(name=[node["name"] for node in found], **how)
        assert {(node["pid"], node["changed"], node["registered"]) for node in done.result["nodes"]} == {
            (node["pid"], True, True) for node in found
        }, done.output
        for daemon in done.result["daemons"]:
            # By this it is known, and by the second a node whose time is over may end it.
            environment = psutil.Process(daemon["pid"]).environ() if not how else {}
            assert how or environment["ERL_EPMD_SCRATCH"] == "rehearse"
            assert how or environment["ERL_EPMD_RELAXED_COMMAND_CHECK"] == "1"
            assert set(daemon["addresses"]) <= {"127.0.0.1", "::1"}, done.output
        for node in done.result["nodes"]:
            assert node["address"] in ("127.0.0.1", "::1"), done.output
    finally:
        ended = register(module="epmd_scratch", name="rehearse", state="absent", **how)
    assert not ended.failed, ended.output
    assert erlangs() == before
    return found


def erlangs() -> dict[int, tuple[str, float]]:
    """Every Erlang VM and every epmd of this private host."""
    found = {}
    for process in psutil.process_iter(["name", "status", "create_time"]):
        if process.info["name"] in ("beam.smp", "epmd") and process.info["status"] != psutil.STATUS_ZOMBIE:
            found[process.pid] = (process.info["name"], process.info["create_time"])
    return found


def uptime(node: Node) -> int:
    """For how many milliseconds this VM has been running."""
    return int(node.eval("element(1, erlang:statistics(wall_clock))"))


HAND_ON = """
    Exports = [{{F, A}} || {{F, A}} <- {module}:module_info(exports), F =/= module_info, F =/= behaviour_info],
    Arguments = fun(A) -> lists:join(",", [[$A | integer_to_list(N)] || N <- lists:seq(1, A)]) end,
    Text = ["-module({name}).\n-compile(export_all).\n" |
        [io_lib:format("~p(~s) -> {module}:~p(~s).\n", [F, Arguments(A), F, Arguments(A)]) || {{F, A}} <- Exports]],
    ok = file:write_file("{path}/{name}.erl", Text),
    {{ok, _}} = compile:file("{path}/{name}", [nowarn_export_all, {{outdir, "{path}"}}])
"""


def hand_on(otp: Otp, name: str, module: str, path: Path) -> list[str]:
    """Make a module that hands all calls on to another one. Returns the flags by which it is found."""
    with otp.node(None, epmd_port=1) as compiler:
        compiler.eval(f"code:ensure_loaded({module})")
        compiler.eval(HAND_ON.format(name=name, module=module, path=path))
    return ["-pa", str(path)]
