# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows on a scratch node how a lost node is registered again; exit code 0 only if every claim was seen to be true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from ansible_collections.beamops.epmd.tests.lab import Epmd, Node, Otp, client_pings, forget, holders

# A name that nobody else uses, for no other node may be touched.
NAME = "beamops_demo"


def title(text: str) -> None:
    print(f"\n\033[1m# {text}\033[0m" if sys.stdout.isatty() else f"\n# {text}", flush=True)


def command(text: str) -> None:
    print(f"$ {text}", flush=True)


class Demo:
    """The steps of the demo. failed: the claims that were not seen to be true."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def claim(self, text: str, seen: bool) -> None:
        """Print whether it was seen."""
        print(f"  {'seen' if seen else 'NOT SEEN'}: {text}", flush=True)
        if not seen:
            self.failed.append(text)

    def table(self, epmd: Epmd) -> str:
        """Print and return the table of epmd."""
        command(f"epmd -port {epmd.port} -names")
        output = epmd.names_output()
        print(output, end="", flush=True)
        return output

    def ping(self, otp: Otp, node: Node) -> str:
        """Print and return the answer of the node to another one: pong, or pang if it can't be reached."""
        command(f"erl -hidden -sname client -eval 'net_adm:ping({node.name}).'")
        answer = client_pings(otp, node)
        print(answer, flush=True)
        return answer

    def ansible(self, *flags: str) -> str:
        """Run the module; returns what it printed, or nothing if it failed."""
        words = ["ansible", "localhost", "-m", "epmd_register", "-a", f"name={NAME}", *flags]
        command(" ".join(words))
        done = subprocess.run(words, check=False, stdout=subprocess.PIPE, text=True)
        print(done.stdout, end="", flush=True)
        return done.stdout if done.returncode == 0 else ""

    def run(self, otp: Otp) -> None:
        """Start a node and an epmd, and go through all steps."""
        with otp.epmd() as epmd, otp.node(NAME, epmd_port=epmd.port, set_cookie_arg=False) as node:
            self._run(otp, epmd, node)

    def _run(self, otp: Otp, epmd: Epmd, node: Node) -> None:
        title(f"A healthy node: {node.name}, Erlang/OTP {otp.release}, pid {node.pid}, epmd on port {epmd.port}")
        line = f"name {NAME} at port {node.port}\n"
        self.claim("epmd has its name", line in self.table(epmd))
        self.claim("a client reaches it", self.ping(otp, node) == "pong")
        pid, uptime, neighbours = node.pid, self.uptime(node), node.eval("nodes()")

        title("epmd dies; the node runs on")
        command(f"kill -9 {epmd.pid}  # epmd")
        forget(epmd, node)
        self.claim("epmd lists nothing", line not in self.table(epmd))
        self.claim("the same client fails", self.ping(otp, node) == "pang")

        title("What would be done?")
        output = self.ansible("--check", "--diff")
        self.claim("check mode predicts the change", "CHANGED" in output and "+" + line in output)
        self.claim("and does nothing: the name is still lost", node.pid not in holders(epmd.port))

        title("Do it")
        output = self.ansible()
        self.claim("the module says that it is registered", "CHANGED" in output and '"registered": true' in output)
        self.claim("epmd has its name again", line in self.table(epmd))
        self.claim("and the node's own connection holds it", holders(epmd.port) == {node.pid})
        self.claim("the same client succeeds", self.ping(otp, node) == "pong")

        title("The node never noticed")
        same = node.pid == pid and Path(f"/proc/{pid}/comm").read_text() == "beam.smp\n"
        self.claim(f"same process, pid {pid}", same)
        now = self.uptime(node)
        self.claim(f"it runs on: up {now / 1000:.1f} s, {uptime / 1000:.1f} s when it was healthy", now > uptime)
        self.claim(f"connected to the same nodes: {neighbours}", node.eval("nodes()") == neighbours)

        title("Run it again, every hour if you like")
        output = self.ansible()
        self.claim("the second run changes nothing", "SUCCESS" in output and '"changed": true' not in output)

    @staticmethod
    def uptime(node: Node) -> int:
        """How long this VM has been running, in milliseconds."""
        return int(node.eval("element(1, erlang:statistics(wall_clock))"))


def installed() -> Otp:
    """The Erlang/OTP on the PATH."""
    code = 'io:format("~s ~s", [erlang:system_info(otp_release), code:root_dir()]), halt().'
    printed = subprocess.run(
        ["erl", "-noshell", "-eval", code], check=True, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
    ).stdout
    match = re.fullmatch(r"(\d+) (.+)", printed)
    if match is None:
        raise SystemExit(f"demo: erl printed {printed!r} instead of its release")
    return Otp(int(match[1]), Path(match[2]))


def main() -> int:
    """Run the demo; 1 if a claim was not seen to be true."""
    os.environ.setdefault("ANSIBLE_NOCOLOR", "1")
    demo = Demo()
    demo.run(installed())
    title("Cleaned up: the node and its epmd are gone")
    for text in demo.failed:
        print(f"demo: not seen: {text}", file=sys.stderr)
    return 1 if demo.failed else 0


if __name__ == "__main__":
    sys.exit(main())
