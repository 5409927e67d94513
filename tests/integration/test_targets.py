# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules run with every CPython and psutil of a target, and from every ansible-core of a controller.

Versions that this machine lacks are skipped: see `targets` and `controller` in tests/toolchain.
"""

from __future__ import annotations

import functools
import json
import os
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ansible_collections.beamops.epmd.tests.integration.kinds_table import Saw
from ansible_collections.beamops.epmd.tests.integration.support import (
    COOKIE,
    NEWEST,
    NO_PSUTIL,
    NO_SOCK_DIAG,
    AdHoc,
    Register,
    Run,
    life,
    lose,
    lose_inside,
)
from ansible_collections.beamops.epmd.tests.lab import (
    Authority,
    Container,
    Epmd,
    OldNode,
    Otp,
    completed,
    forget,
    free_port,
    holders,
    system,
)

PYTHONS = os.environ.get("BEAMOPS_PYTHONS", "3.7 3.11 3.13").split()
CORES = [version.rpartition(".")[0] for version in os.environ.get("BEAMOPS_CORES", "").split()]
RELEASE = 25
OLD = "OTP 17 to 22 (fake)"

# For the module's process: at its end it writes the version of Python, and that of psutil if it has imported it.
WITNESS = """
import atexit, pathlib, platform, sys
def witness():
    versions = [platform.python_version(), getattr(sys.modules.get("psutil"), "__version__", "none")]
    pathlib.Path(__file__).with_name("ran").write_text(" ".join(versions))
atexit.register(witness)
"""


class Target(NamedTuple):
    """A Python to run a module with: its version, the version of psutil, and its path."""

    python: str
    psutil: str
    program: str


TARGETS = [Target(*line.split(" ", 2)) for line in os.environ.get("BEAMOPS_TARGETS", "").splitlines()]
CONTROLLERS = dict(line.split(" ", 1) for line in os.environ.get("BEAMOPS_CONTROLLERS", "").splitlines())


def find_targets(version: str) -> list[Target]:
    """The targets with this CPython: with the oldest psutil, and with the newest."""
    found = [target for target in TARGETS if target.python.startswith(f"{version}.")]
    if not found:
        pytest.skip(f"this machine has no CPython {version}")
    return found


def find_controller(core: str) -> dict[str, str]:
    """The environment in which `ansible` is this version of ansible-core."""
    return {"PATH": f"{_programs(core)}:{os.environ['PATH']}"}


def _programs(core: str) -> Path:
    """The folder with its `ansible` and its `python`."""
    home = next((home for version, home in CONTROLLERS.items() if version.startswith(f"{core}.")), "")
    if not home:
        pytest.skip(f"this machine has no CPython for ansible-core {core}")
    return Path(home, "bin")


class OnTarget:
    """Runs the modules on a target that lacks something (NO_PSUTIL, NO_SOCK_DIAG), without a controller.

    psutil: the version that the module has to import, "none" for none.
    """

    def __init__(self, target: Target, directory: Path, lacks: str, psutil: str) -> None:
        directory.mkdir()
        (directory / "sitecustomize.py").write_text(WITNESS + lacks)
        self._directory = directory
        self._target = target
        self._psutil = psutil
        # The ansible-core of all other tests is too new for it.
        too_old = target.python.startswith("3.7.")
        self._controller = str(_programs("2.17") / "python") if too_old else sys.executable

    def __call__(self, *flags: str, module: str = "epmd_register", **options: Any) -> Run:
        settings = {"PYTHONPATH": str(self._directory)}
        done = Register()(
            *flags,
            module=module,
            python=self._target.program,
            environment=settings,
            controller=self._controller,
            **options,
        )
        ran = self._directory / "ran"
        assert ran.read_text() == f"{self._target.python} {self._psutil}", done.output
        ran.unlink()
        return done


@pytest.mark.parametrize("version", PYTHONS)
def test_a_lost_node_is_registered_again(version: str, saw: Saw, tmp_path: Path) -> None:
    oldest, newest = find_targets(version)
    by_kernel = OnTarget(oldest, tmp_path / "kernel", NO_PSUTIL, "none")
    by_oldest = OnTarget(oldest, tmp_path / "oldest", NO_SOCK_DIAG, oldest.psutil)
    by_newest = OnTarget(newest, tmp_path / "newest", NO_SOCK_DIAG, newest.psutil)
    otp = Otp.of(RELEASE)
    with otp.epmd() as epmd, otp.node("vic", epmd_port=epmd.port, cookie=COOKIE) as node:
        before = life(node)
        for run in (by_kernel, by_oldest, by_newest):
            lose(epmd, node)
            if run is by_kernel:
                predicted = run("--check")
                assert (predicted.changed, predicted.node["verdict"]) == (True, "epmd_down")
            else:
                (fact,) = run(module="epmd_facts").result["ansible_facts"]["epmd"]["nodes"]
                assert (fact["name"], fact["port"], fact["verdict"]) == (node.name, node.port, "epmd_down")
            assert not holders(epmd.port)
            done = run()
            assert (done.changed, done.node["name"], done.node["registered"]) == (True, node.name, True)
            assert epmd.names() == {"vic": node.port}
            assert holders(epmd.port) == {node.pid}
        again = by_oldest()
        assert (again.changed, again.node["verdict"]) == (False, "registered")
        assert life(node) == before
    kind = f"target with CPython {version}, without psutil, and with psutil {oldest.psutil} and {newest.psutil} alone"
    saw(kind, RELEASE, "epmd_down, registered again")


@pytest.mark.parametrize("version", PYTHONS)
def test_a_node_with_tls_in_another_network(version: str, saw: Saw, tmp_path: Path) -> None:
    """The case that needs the most of a Python: ssl, a child process, and ctypes to enter a namespace."""
    otp, run = Otp.of(RELEASE), OnTarget(find_targets(version)[0], tmp_path / "target", NO_PSUTIL, "none")
    authority, port = Authority(tmp_path / "tls"), free_port()
    certificate = authority.issue("vic")
    args = authority.options(certificate, certificate)
    with (
        Container(None, own=("net",)) as box,
        box.otp(otp).node("vic", epmd_port=port, cookie=COOKIE, args=args, start_epmd=True) as node,
    ):
        box.kill_epmd(port)
        done = run()
        assert done.changed, done.output
        assert (done.node["namespace"], done.node["tls"]) == (box.namespace("net"), True)
        assert box.holders(port) == {node.pid}
        assert node.log == ""
        saw(
            f"target with CPython {version}, node with TLS in a network of its own",
            RELEASE,
            "registered again inside",
        )


@pytest.fixture
def oldest(tmp_path: Path) -> OnTarget:
    """The oldest CPython."""
    return OnTarget(find_targets(PYTHONS[0])[0], tmp_path / "oldest", NO_PSUTIL, "none")


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_the_oldest_python_and_the_newer_handshake(
    otp: Otp, epmd: Epmd, oldest: OnTarget, tls: bool, saw: Saw, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "tls")
    certificate = authority.issue("vic")
    args = authority.options(certificate, certificate) if tls else []
    with otp.node("vic", epmd_port=epmd.port, cookie=COOKIE, args=args) as node:
        before = life(node)
        lose(epmd, node)
        done = oldest()
        assert (done.changed, done.node["registered"], done.node["tls"]) == (True, True, tls), done.output
        assert holders(epmd.port) == {node.pid}
        assert not oldest().changed
        assert life(node) == before
        its = ", node with TLS" if tls else ""
        saw(f"target with CPython {PYTHONS[0]}{its}", otp.release, f"{done.node['verdict']}, registered again")


@pytest.mark.one_release
@pytest.mark.parametrize("release", [17, 22])
def test_the_oldest_python_and_the_older_handshake(epmd: Epmd, oldest: OnTarget, release: int, saw: Saw) -> None:
    with OldNode(epmd, "vic", release=release, cookie=COOKIE) as old:
        forget(epmd, old)
        epmd.start()
        done = oldest()
        assert (done.changed, done.node["verdict"], done.node["registered"]) == (True, "missing", True), done.output
        assert (epmd.names(), holders(epmd.port)) == ({"vic": old.port}, {old.pid})
        assert not oldest().changed
        assert old.log == ""
        saw(f"target with CPython {PYTHONS[0]}, older handshake", OLD, "missing, registered again")


def test_a_bare_debian(otp: Otp, register: Register, saw: Saw) -> None:
    """The module runs inside, with Debian's Python and nothing else, as if ansible had connected to a host."""
    with Container(system(otp.release)) as box, box.node("vic", release=otp.release, cookie=COOKIE) as node:
        version = box.run(["python3", "-c", "import platform; print(platform.python_version())"]).stdout.strip()
        assert "No module named" in box.run(["python3", "-c", "import psutil"]).stdout
        run = functools.partial(register, within=box.command([]), python="python3")
        verdict = lose_inside(box, otp.release)

        (fact,) = run(module="epmd_facts").result["ansible_facts"]["epmd"]["nodes"]
        assert fact["verdict"] == verdict
        predicted = run("--check")
        assert (predicted.changed, predicted.node["verdict"]) == (True, verdict)
        assert box.names() == {}
        done = run()
        assert (done.changed, done.node["name"], done.node["registered"]) == (True, node.name, True)
        assert done.node["namespace"] is None  # for a module that runs inside, it is its own
        assert done.node["pid"] != node.pid
        assert box.names() == {"vic": node.port}
        assert box.holders(4369) == {node.pid}
        assert not run().changed
        # That of the next Debian changes.
        its = "" if otp.release == 29 else f" with CPython {version.rpartition('.')[0]}"
        saw("target is a bare Debian with its own Python", otp.release, f"{verdict}, registered again{its}")


@NEWEST
def test_half_a_python_is_named(otp: Otp, tmp_path: Path) -> None:
    """Debian's python3-minimal alone, as a small image has it: no module of Ansible runs, and the audit says why."""
    with Container(system(otp.release)) as box:
        packages = box.run(["dpkg-query", "-W", "-f", "${Package}\n", "python3*", "libpython3*"]).stdout.split()
        half = [name for name in packages if not name.endswith("-minimal")]
        box.run(["dpkg", "--purge", "--force-depends", *half])
        assert "ModuleNotFoundError" not in box.run(["python3", "-c", "import socket"]).stdout
        inventory = tmp_path / "inventory.json"
        inventory.write_text(json.dumps({"all": {"hosts": {"box": box.reached_from(tmp_path)}}}))
        command = ["ansible-playbook", "-i", str(inventory), "beamops.epmd.audit", "-e", "audit_become=false"]
        done = completed(command, env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCAL_TEMP": str(tmp_path)})
    sentence = r"its Python is incomplete \(No module named '\w+'\): install all of it, in Debian the package python3"
    assert re.search(rf"^box: failed: {sentence}$", done.stdout, re.MULTILINE), done.stdout
    assert done.returncode == 2, done.stdout


@pytest.mark.parametrize("core", CORES)
def test_every_controller(core: str, ad_hoc: AdHoc, saw: Saw) -> None:
    controller, otp = find_controller(core), Otp.of(RELEASE)
    target = next(target for target in TARGETS if not target.python.startswith(("3.7.", "3.8.")))
    flags = ["-e", f"ansible_python_interpreter={target.program}"]
    with otp.epmd() as epmd, otp.node("vic", epmd_port=epmd.port, cookie=COOKIE) as node:
        lose(epmd, node)
        predicted = ad_hoc(*flags, "-vv", "--check", environment=controller, name="vic")
        assert f"[core {core}." in predicted.output
        assert (predicted.changed, predicted.node["verdict"]) == (True, "epmd_down")
        done = ad_hoc(*flags, "--diff", environment=controller, name="vic")
        assert (done.changed, done.node["registered"]) == (True, True)
        assert f"+name vic at port {node.port}" in done.output
        assert holders(epmd.port) == {node.pid}
        assert not ad_hoc(*flags, environment=controller, name="vic").changed
        facts = ad_hoc(*flags, module="epmd_facts", environment=controller)
        assert [found["name"] for found in facts.result["ansible_facts"]["epmd"]["nodes"]] == [node.name]
        saw(f"controller with ansible-core {core}", RELEASE, f"{predicted.node['verdict']}, registered again")
