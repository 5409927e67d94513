# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module epmd_scratch and the role scratch_node: a node of its own loses its name, and nobody else's epmd ends."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ansible_collections.beamops.epmd.tests.integration.support import (
    CHECKOUT,
    COOKIE,
    NEWEST,
    Register,
    Run,
    erlangs,
    life,
    rehearse,
)
from ansible_collections.beamops.epmd.tests.lab import (
    Epmd,
    Node,
    Otp,
    Squatter,
    free_port,
    holders,
    listeners,
    wait_until,
)

Scratch = Callable[..., Run]


def erl(otp: Otp) -> str:
    return str(otp.root / "bin" / "erl")


@pytest.fixture
def scratch(register: Register) -> Iterator[Scratch]:
    """Run the module. Whatever it has started is gone afterwards, and it has ended nothing else."""
    before = erlangs()

    def run(*flags: str, **options: Any) -> Run:
        return register(*flags, module="epmd_scratch", **{"timeout": 60, **options})

    yield run
    run(state="absent")
    assert erlangs() == before


@NEWEST
def test_the_printed_scenario_of_the_role_runs(otp: Otp, tmp_path: Path) -> None:
    readme = (CHECKOUT / "roles/scratch_node/README.md").read_text()
    printed = re.search(r"```yaml\n(.*?)```", readme, re.DOTALL)
    assert printed
    playbook = tmp_path / "converge.yml"
    playbook.write_text(printed.group(1))
    before, port = erlangs(), free_port()
    command = ["ansible-playbook", "-i", "localhost,", "-c", "local", str(playbook), "-e", "ansible_become=false"]
    command += ["-e", f"ansible_python_interpreter={sys.executable}"]
    command += ["-e", f"scratch_node_epmd_port={port}", "-e", f"scratch_node_erl={erl(otp)}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Expect the recovery" in done.stdout
    assert erlangs() == before


def test_a_node_like_a_real_one(epmd: Epmd, node: Node, register: Register) -> None:
    """Its cookie is on the command line of the real one, and on no command line of ours."""
    before = life(node)
    (scratch,) = rehearse(register)
    assert scratch["like"] == [node.name]
    assert life(node) == before
    assert epmd.names() == {"vic": node.port}


@NEWEST
def test_root_runs_nothing_with_the_environment_of_a_node(epmd: Epmd, open_otp: Otp, register: Register) -> None:
    """With LD_PRELOAD in it, a user would have root run his code. Every program writes a trace, as its own user."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o777)
        trace = {"LD_DEBUG": "statistics", "LD_DEBUG_OUTPUT": f"{directory}/trace"}
        env = {**trace, "ERL_FLAGS": "-sname other", "ERL_EPMD_ADDRESS": "0.0.0.0"}
        with open_otp.node(
            "vic", epmd_port=epmd.port, cookie=COOKIE, user="nobody", set_cookie_arg=False, env=env
        ) as node:
            before = set(Path(directory).iterdir())
            (scratch,) = rehearse(register)
            assert (scratch["user"], scratch["like"]) == ("nobody", [node.name])
            written = set(Path(directory).iterdir()) - before
            assert {path.owner() for path in written} == {"nobody"}


@NEWEST
def test_an_erlang_that_its_user_may_no_longer_start(epmd: Epmd, open_otp: Otp, scratch: Scratch) -> None:
    """Its epmd, which was started first, is ended."""
    with open_otp.node("vic", epmd_port=epmd.port, cookie=COOKIE, user="nobody", set_cookie_arg=False):
        before = erlangs()
        erlexec = open_otp.bindir / "erlexec"
        erlexec.chmod(0o700)
        started = scratch(name="rehearse", like_nodes=True)
        (found,) = started.result["scratch_nodes"]
        assert found["msg"] == f"{erlexec} can't be started as nobody: Permission denied"
        assert (found["pid"], started.changed) == (None, False)
        assert erlangs() == before


@NEWEST
def test_one_for_each_kind_and_none_for_what_needs_no_epmd(
    otp: Otp, epmd: Epmd, node: Node, register: Register, scratch: Scratch
) -> None:
    with (
        otp.node("same", epmd_port=epmd.port, cookie=COOKIE),
        otp.node("another", epmd_port=epmd.port, cookie="another-cookie", set_cookie_arg=False),
        otp.node(None, epmd_port=epmd.port) as nameless,
    ):
        started = scratch(name="rehearse", like_nodes=True)
        found = started.result["scratch_nodes"]
        likes = {tuple(sorted(each["like"])): each["reason"] for each in found}
        host = node.name.partition("@")[2]
        assert likes == {
            (f"same@{host}", node.name): "",
            (f"another@{host}",): "",
            (f"pid {nameless.pid}",): "not_rehearsed",
        }, started.output
        for each in found:
            if each["pid"]:
                process = psutil.Process(each["pid"])
                assert not [word for word in process.cmdline() if COOKIE in word or "another-cookie" in word]
        again = scratch(name="rehearse", like_nodes=True)
        assert {each["pid"] for each in found if each["pid"]} < set(again.result["ended"])
        assert scratch(name="rehearse", state="absent").changed
    assert register(name="vic").node["registered"]


@NEWEST
def test_an_erlang_by_its_program(otp: Otp, register: Register, scratch: Scratch) -> None:
    assert scratch("--check", erl=erl(otp)).changed
    started = scratch(erl=erl(otp))
    assert started.changed, started.output
    assert not scratch(erl=erl(otp)).changed
    assert scratch(state="lost").changed
    assert not scratch(state="lost").changed
    done = register(name="scratch")
    assert (done.changed, done.node["address"], done.node["hidden"]) == (True, "127.0.0.1", True), done.output
    assert scratch(state="absent").changed
    assert not scratch(state="absent").changed


@NEWEST
def test_it_ends_by_itself_with_its_epmd(otp: Otp, scratch: Scratch) -> None:
    before = erlangs()
    started = scratch(erl=erl(otp), lifetime=1)
    assert not started.failed, started.output
    wait_until(lambda: erlangs() == before, "the scratch node and its epmd to end")


@NEWEST
@pytest.mark.parametrize("hangs", [False, True])
def test_an_epmd_of_somebody_else_is_left_alone(otp: Otp, epmd: Epmd, scratch: Scratch, hangs: bool) -> None:
    """Also one without any name."""
    if hangs:
        epmd.suspend()
    try:
        taken = scratch(erl=erl(otp), epmd_port=epmd.port)
        assert f"Something listens on port {epmd.port} already (pid {epmd.pid})" in taken.msg
        assert scratch(state="lost").msg == "no scratch node scratch runs here: start it first"
        assert not scratch(state="absent").changed
        assert listeners(epmd.port) == {epmd.pid}
    finally:
        epmd.resume()


@NEWEST
def test_its_own_epmd_is_left_alone_while_somebody_else_uses_it(otp: Otp, scratch: Scratch) -> None:
    port = free_port()
    assert scratch(erl=erl(otp), epmd_port=port).changed
    before = listeners(port)
    with Squatter(port, "bystander", 4711):
        for state in ("lost", "absent"):
            refused = scratch(state=state)
            assert f"The epmd on port {port} (pid {before.copy().pop()}) has other names (bystander)" in refused.msg
        assert listeners(port) == before
    # Its connection may be gone before epmd has noticed.
    wait_until(lambda: not scratch(state="absent").failed, "the name of the bystander to go")


def test_an_epmd_that_took_the_place_of_its_own_outlives_the_node(scratch: Scratch) -> None:
    """A node of OTP 23 does not register itself again at another epmd."""
    otp, port = Otp.of(23), free_port()
    assert scratch(erl=erl(otp), epmd_port=port).changed
    assert scratch(state="lost").changed
    with otp.epmd(port) as other:
        assert scratch(state="absent").changed
        assert (listeners(port), holders(port)) == ({other.pid}, set())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "a b"}, "name 'a b' is no name for a scratch node: give up to 64 letters, digits, _ and -"),
        ({"lifetime": 0}, "lifetime 0 is not a time to live: give seconds from 1 to 86400"),
        ({"epmd_port": 70000}, "epmd_port 70000 is not a TCP port: give 1 to 65535"),
        ({"erl": "/no/such/erl"}, "/no/such/erl does not start an Erlang: "),
        ({"erl": "true"}, "true does not start an Erlang: it printed [] where its directories were due"),
    ],
)
def test_bad_input_is_one_sentence(scratch: Scratch, options: dict[str, Any], words: str) -> None:
    done = scratch(**options)
    assert done.failed
    assert done.msg.startswith(words)
