# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes that are started by Elixir's own programs: `elixir`, `iex`, and a release of mix (Mix.Tasks.Release)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ._node import Node
from ._otp import Otp
from ._process import Terminal, output_of, wait_until

HOME_COOKIE = "the-cookie-of-the-home"

_PROJECT = """
defmodule Shop.MixProject do
  use Mix.Project

  def project, do: [app: :shop, version: "1.0.0", releases: [shop: [cookie: "{cookie}"]]]
  def application, do: [extra_applications: [:logger]]
end
"""


class Elixir:
    """The Elixir that belongs to an OTP. Its nodes start an epmd if there is none, as everywhere."""

    def __init__(self, otp: Otp) -> None:
        self._otp = otp
        self._path = f"{otp.root / 'bin'}:{otp.elixir}:{os.environ['PATH']}"

    def node(self, name: str, *, epmd_port: int, cookie: str, env: Mapping[str, str] | None = None) -> Node:
        """Start a node by `elixir --sname`, with its cookie only in its home."""
        return self.start([self._otp.elixir / "elixir", "--sname", name, "--no-halt"], epmd_port, cookie, env)

    def iex(self, name: str, *, epmd_port: int, cookie: str) -> Node:
        """Start a node by `iex --sname --cookie` in a terminal, and wait for its prompt."""
        script: list[str | Path] = [self._otp.elixir / "iex", "--sname", name, "--cookie", cookie]
        node = self.start(script, epmd_port, cookie, terminal=Terminal())
        try:
            wait_until(lambda: f"iex({node.name})" in node.log, "the prompt of iex")
        except BaseException:
            node.close()
            raise
        return node

    def start(
        self,
        script: Sequence[str | Path],
        epmd_port: int,
        cookie: str,
        env: Mapping[str, str] | None = None,
        terminal: Terminal | None = None,
    ) -> Node:
        """Start a node by a script that becomes the node."""
        return Node(
            self._otp,
            None,
            epmd_port=epmd_port,
            cookie=cookie,
            home=None,
            args=[],
            env={"PATH": self._path, "TERM": "xterm", **(env or {})},
            long_names=False,
            user=None,
            set_cookie_arg=False,
            start_epmd=True,
            script=script,
            terminal=terminal,
        )

    def run(self, command: Sequence[str | Path], directory: Path, **env: str) -> str:
        """The output of a command that has to succeed, in this directory, which is also its home."""
        settings = self._otp.environment(PATH=self._path, HOME=str(directory), **env)
        return output_of(command, " ".join(map(str, command)), cwd=directory, env=settings)


class Release:
    """The release `shop`, made by mix: with an Erlang of its own, and this cookie in releases/COOKIE."""

    def __init__(self, otp: Otp, directory: Path, cookie: str) -> None:
        self._elixir = Elixir(otp)
        self._directory = directory
        directory.mkdir(parents=True)
        (directory / "mix.exs").write_text(_PROJECT.format(cookie=cookie))
        self._elixir.run(["mix", "release", "--quiet"], directory, MIX_ENV="prod")
        self.root = directory / "_build/prod/rel/shop"

    def start(self, *, epmd_port: int, cookie: str | None = None, vm_args: str = "") -> Node:
        """Start it by its own script, with HOME_COOKIE in its home.

        cookie: the value of RELEASE_COOKIE, if any. vm_args: the content of its vm.args.
        """
        next(self.root.glob("releases/*/vm.args")).write_text(vm_args)
        env = {} if cookie is None else {"RELEASE_COOKIE": cookie}
        node = self._elixir.start([self.root / "bin/shop", "start"], epmd_port, HOME_COOKIE, env)
        node.cookie = node.eval("atom_to_list(erlang:get_cookie())").strip('"')
        return node

    def ask(self, node: Node, *words: str) -> str:
        """The output of its own script for this command. The script is a client, which finds the node through epmd."""
        settings = {"ERL_EPMD_PORT": str(node.epmd_port), "RELEASE_COOKIE": node.cookie}
        return self._elixir.run([self.root / "bin/shop", *words], self._directory, **settings).strip()
