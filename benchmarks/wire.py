# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One lost node that is registered again, compared with what people do today: erl_call(1), and two `erl` by hand.

Ours is the work on the wire: connect, prove the cookie, let the node register itself, ask epmd whether it did. The
module's process around that is measured by `module.py`.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from ansible_collections.beamops.epmd.benchmarks.harness import (
    Result,
    Row,
    Table,
    in_turns,
    payloads,
    ratios,
    run,
    scratch,
    timed,
)
from ansible_collections.beamops.epmd.plugins.module_utils._deadline import Deadline
from ansible_collections.beamops.epmd.plugins.module_utils._wire import epmd_client, erl_epmd
from ansible_collections.beamops.epmd.plugins.module_utils._wire.epmd_client import Daemon
from ansible_collections.beamops.epmd.plugins.module_utils._wire.node import NodeConnection
from ansible_collections.beamops.epmd.tests.lab import Epmd, Node, Otp, forget

NAME = "wire"
RELEASE = 23  # its nodes do not register themselves again

# By hand: an `erl` without a name registers a placeholder for the lost node, with the node's port, and another `erl`
# connects to the node through that. Then the first one ends, and with it the placeholder, and the second one calls the
# node, to have it register itself.
_PLACEHOLDER = """
{{ok, _}} = erl_epmd:start_link(), {{ok, _}} = erl_epmd:register_node({short}, {port}), io:format("held~n").
"""
_REGISTER = """
pong = net_adm:ping('{name}'), io:format("pong~n"), _ = io:get_line(""),
{{ok, _}} = rpc:call('{name}', erl_epmd, register_node, ["{short}", {port}]), halt().
"""


def measure(smoke: bool) -> Result:
    """Each way loses the name first, outside of the measured time, and has to bring it back."""
    rounds = 1 if smoke else 20
    otp = Otp.of(RELEASE)
    with scratch() as directory, otp.epmd() as epmd, otp.node("vic", epmd_port=epmd.port) as node:
        called = _erl_call(otp, node)
        # The command as `ansible.builtin.command` would run it on a target.
        files = payloads(Path(directory), {"command": {"argv": called}, "epmd_register": {}})

        def lost(work: Callable[[], object]) -> Callable[[], float]:
            def once() -> float:
                forget(epmd, node)
                epmd.start()
                taken = timed(work) * 1000
                if epmd.names() != {node.short: node.port}:
                    raise SystemExit("bench: the name did not come back")
                return taken

            return once

        samples = in_turns(
            rounds,
            {
                "wire": lost(lambda: _wire(epmd, node)),
                "erl_call": lost(lambda: subprocess.run(called, check=True, stdout=subprocess.DEVNULL)),
                "two erl": lost(lambda: _by_hand(otp, epmd, node)),
                "command": lost(lambda: run(files["command"], changed=True)),
                "module": lost(lambda: run(files["epmd_register"], changed=True)),
            },
        )
    rows = [
        _row("the work on the wire", "erl_call -address", samples, "erl_call", "wire", 1),
        _row("the work on the wire", "two erl, by hand", samples, "two erl", "wire", 0.01),
        _row("all of the module", "ansible.builtin.command with erl_call", samples, "command", "module", None),
    ]
    note = (
        "erl_call needs the port, shows the cookie on its command line, and is not on every host; it is a process of "
        "its own, while the work on the wire is a part of the module's process."
    )
    return Result(
        NAME,
        "One lost node: compared with what people do today",
        [Table("Registered again", ("theirs", "ours", "ratio"), ("ms", ""), rows, note)],
    )


def _row(ours: str, theirs: str, samples: dict[str, list[float]], base: str, own: str, goal: float | None) -> Row:
    compared = ratios(samples[base], samples[own])
    return Row({"ours": ours, "theirs": theirs}, samples[base], samples[own], compared, goal)


def _wire(epmd: Epmd, node: Node) -> None:
    deadline = Deadline(30)
    connection = NodeConnection.open("127.0.0.1", node.port, deadline, deadline)
    try:
        connection.authenticate(node.cookie.encode())
        erl_epmd.register(connection, node.short, node.port, False)
        epmd_client.ask_names(Daemon("127.0.0.1", epmd.port), deadline)
    finally:
        connection.close()


def _erl_call(otp: Otp, node: Node) -> list[str]:
    """The command that registers the node, for someone who knows its port."""
    call = f'erl_epmd register_node ["{node.short}",{node.port}]'
    return [str(otp.bindir / "erl_call"), "-address", f"localhost:{node.port}", "-c", node.cookie, "-a", call]


def _by_hand(otp: Otp, epmd: Epmd, node: Node) -> None:
    first = _erl(otp, epmd, [], _PLACEHOLDER, node)
    _expect(first, "held")
    second = _erl(otp, epmd, ["-sname", "by_hand", "-setcookie", node.cookie], _REGISTER, node)
    _expect(second, "pong")
    first.kill()
    first.communicate()
    second.communicate("go on\n", timeout=60)
    if second.returncode:
        raise SystemExit(f"bench: the erl of the way by hand ended with {second.returncode}")


def _erl(otp: Otp, epmd: Epmd, arguments: list[str], code: str, node: Node) -> subprocess.Popen[str]:
    expression = " ".join(code.format(name=node.name, short=node.short, port=node.port).split())
    return subprocess.Popen(
        [otp.erlexec, "-noshell", "-start_epmd", "false", *arguments, "-eval", expression],
        env=otp.environment(HOME=str(node.home), ERL_EPMD_PORT=str(epmd.port), ERL_CRASH_DUMP_SECONDS="0"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _expect(process: subprocess.Popen[str], word: str) -> None:
    line = process.stdout.readline().strip() if process.stdout else ""
    if line != word:
        process.kill()
        raise SystemExit(f"bench: erl printed {line!r} instead of {word}: {process.communicate()[0]}")
