# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a scratch node is made like, why none is started, and which processes are its own.

Tests `_steps/models.py`, too. That nodes start, lose their names and end is shown on real ones, in
`tests/integration/test_scratch_node.py` and `test_rehearse.py`.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._deadline import Deadline
from ansible_collections.beamops.epmd.plugins.module_utils._errors import EpmdError, InvalidOption, NotPermitted
from ansible_collections.beamops.epmd.plugins.module_utils._host import (
    command_line,
    likeness,
    namespaces,
    programs,
    systemd,
)
from ansible_collections.beamops.epmd.plugins.module_utils._host.vms import Vm
from ansible_collections.beamops.epmd.plugins.module_utils._steps import models, scratch
from ansible_collections.beamops.epmd.plugins.module_utils._steps.models import Model, NotRehearsed
from ansible_collections.beamops.epmd.tests.unit.plugins.module_utils._host.support import running


def vm(pid: int | None, bindir: Path, *arguments: str, uid: int | None = None) -> Vm:
    parsed = command_line.parse(["beam.smp", "--", *arguments], {})
    return Vm(pid, os.geteuid() if uid is None else uid, "somebody", str(bindir / "beam.smp"), parsed)


@pytest.fixture
def bindir(tmp_path: Path) -> Path:
    """The directory of the programs of an Erlang that can boot."""
    programs, boot = tmp_path / "otp/erts-1/bin", tmp_path / "otp/bin"
    programs.mkdir(parents=True)
    boot.mkdir()
    (programs / "erlexec").touch(0o755)
    (boot / "start_clean.boot").touch()
    return programs


def of_node(found: Vm, name: str = "vic@host") -> Model:
    return models.of_node(name, found, Deadline(5))


def test_a_model_has_what_the_node_has_and_shows_no_cookie(bindir: Path) -> None:
    with running("beam.smp") as (pid, _line):
        model = of_node(vm(pid, bindir, "-sname", "vic", "-setcookie", "secret", "-home", "/var/lib/vic"))
    assert (model.names, model.host, model.bindir) == (("vic@host",), "host", str(bindir))
    assert model.root == str(bindir.parent.parent)
    assert model.boot == str(bindir.parent.parent / "bin/start_clean")
    assert (model.settings, model.environment["HOME"]) == ({"RELEASE_COOKIE": "secret"}, "/var/lib/vic")
    assert "secret" not in repr(model)


def test_a_boot_file_of_the_release_and_one_that_reads_no_file_of_the_user_come_first(bindir: Path) -> None:
    root = bindir.parent.parent
    release = root / "releases/7"
    release.mkdir(parents=True)
    (release / "no_dot_erlang.boot").touch()
    with running("beam.smp") as (pid, _line):
        assert of_node(vm(pid, bindir, "-setcookie", "c")).boot == str(release / "no_dot_erlang")


def test_one_that_lives_elsewhere_is_not_rehearsed(bindir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotRehearsed, match=r"in a container or in a network of its own.*: rehearse inside of it"):
        of_node(vm(os.getpid(), bindir)._replace(namespace=4026532567))
    monkeypatch.setattr(namespaces, "is_container", lambda _pid: True)
    with pytest.raises(NotRehearsed, match="in a container"):
        of_node(vm(os.getpid(), bindir))


def test_the_node_of_another_user_needs_root(bindir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NotPermitted, match="only root or somebody may start a node as somebody: run with become"):
        of_node(vm(os.getpid(), bindir, uid=1001))


def test_an_erlang_that_is_gone_or_can_not_boot(bindir: Path) -> None:
    with running("beam.smp") as (pid, _line):
        (bindir.parent.parent / "bin/start_clean.boot").unlink()
        with pytest.raises(NotRehearsed, match=r"has no start_clean\.boot"):
            of_node(vm(pid, bindir, "-setcookie", "c"))
        (bindir / "erlexec").unlink()
        with pytest.raises(NotRehearsed, match=f"is no longer in {bindir}: it was upgraded or removed"):
            of_node(vm(pid, bindir, "-setcookie", "c"))


def test_nodes_of_one_kind_have_one_scratch_node(bindir: Path) -> None:
    with running("beam.smp") as (pid, _line):
        kinds = [
            of_node(vm(pid, bindir, "-setcookie", cookie, "-home", home), name)
            for name, cookie, home in (("a@h", "x", "/a"), ("b@h", "x", "/b"), ("c@h", "y", "/a"))
        ]
    assert [model.names for model in models.distinct(kinds)] == [("a@h", "b@h"), ("c@h",)]


@pytest.mark.parametrize("name", ["", "a b", "a@b", "a" * 65, 'a"', "a.b", "é"])
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(InvalidOption, match="is no name for a scratch node: give up to 64 letters"):
        scratch.check_name(name)


def test_a_process_that_gets_a_scope_waits_until_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it starts before that would stay behind, and end with the login or keep its unit from ending."""
    own = f"beamops-scratch-{os.getpid()}.scope"
    units = [own, "session-3.scope", "session-3.scope"]
    monkeypatch.setattr(programs, "run", lambda *_given: "")
    monkeypatch.setattr(systemd, "unit_of", lambda _pid: units.pop())
    scratch._get_a_scope(programs.host(), Deadline(20))
    assert units == []
    # One that systemd does not move runs all the same.
    monkeypatch.setattr(systemd, "unit_of", lambda _pid: "session-3.scope")
    scratch._get_a_scope(programs.host(), Deadline(0.1))


def test_only_a_process_with_the_mark_of_this_name_is_its_own() -> None:
    mark = {likeness.MARK: "mine", "ERL_EPMD_PORT": "40123"}
    processes = [
        ("beam.smp", mark),
        ("epmd", mark),
        ("beam.smp", {likeness.MARK: "yours"}),
        ("epmd", {"ERL_EPMD_PORT": "40123"}),
        ("sleeper", mark),
    ]
    with contextlib.ExitStack() as stack:
        own, daemon, *others = [
            stack.enter_context(running(name, environment=environment))[0] for name, environment in processes
        ]
        assert [found.pid for found in scratch.running("mine")] == [own]
        ended = scratch.end("mine", Deadline(20))
        assert (ended.nodes, ended.epmds, ended.left) == ([own], [daemon], [])
        for pid in others:
            os.kill(pid, 0)
        assert not scratch.running("mine")
        with pytest.raises(EpmdError, match="no scratch node mine runs here: start it first"):
            scratch.lose("mine", Deadline(20))
