# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An Erlang/OTP installation, which starts epmds and nodes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ._epmd import Epmd
from ._node import Node
from ._process import LabError, erlang_environment


def _patchelf(*arguments: str | Path) -> str:
    """The output of patchelf(1); empty for a file that is not a program."""
    done = subprocess.run(
        ["patchelf", *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False
    )
    return done.stdout.strip()


@dataclass(frozen=True)
class Otp:
    """An OTP root directory, with `erts-*`, `lib` and `releases`."""

    release: int
    root: Path

    @classmethod
    def of(cls, release: int) -> Otp:
        """The OTP of this release, to which BEAMOPS_OTP_<release> points."""
        variable = f"BEAMOPS_OTP_{release}"
        if not os.environ.get(variable):
            raise LabError(f"set {variable} to the root directory of an Erlang/OTP {release}")
        otp = cls(release, Path(os.environ[variable]))
        if not (otp.root / "releases" / str(release)).is_dir():
            raise LabError(f"{variable}={otp.root} does not contain an Erlang/OTP {release}")
        return otp

    @property
    def bindir(self) -> Path:
        """The directory of erlexec, beam.smp and epmd."""
        found = sorted(self.root.glob("erts-*/bin"))
        if len(found) != 1:
            raise LabError(f"{self.root} contains {len(found)} directories erts-*/bin, not one")
        return found[0]

    @property
    def elixir(self) -> Path:
        """The directory of the programs of the Elixir for this release."""
        return self.root.parent / "elixir" / "bin"

    def copy(self, root: Path) -> Otp:
        """Copy it to another place, with its own libraries, and its own loader if it has one."""
        shutil.copytree(self.root, root, symlinks=True)
        copied = Otp(self.release, root)
        for program in copied.bindir.iterdir():
            if str(self.root) in _patchelf("--print-rpath", program):
                loader = _patchelf("--print-interpreter", program).replace(str(self.root), str(root))
                _patchelf("--set-interpreter", loader, "--force-rpath", "--set-rpath", root / "compat", program)
        return copied

    @property
    def erlexec(self) -> Path:
        """The program that becomes beam.smp. Started without the `erl` script, the node has the pid of the process."""
        return self.bindir / "erlexec"

    def environment(self, **settings: str) -> dict[str, str]:
        """The environment that `erl` sets up for erlexec."""
        return erlang_environment(
            ROOTDIR=str(self.root),
            BINDIR=str(self.bindir),
            EMU="beam",
            PROGNAME="erl",
            **settings,
        )

    def epmd(
        self, port: int | None = None, address: str | None = None, args: Sequence[str] = (), user: str | None = None
    ) -> Epmd:
        """Start an epmd, by default on a free port."""
        return Epmd(self.bindir / "epmd", port, address, args, user)

    def node(
        self,
        name: str | None,
        *,
        epmd_port: int,
        cookie: str = "secret",
        home: Path | None = None,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        long_names: bool = False,
        user: str | None = None,
        set_cookie_arg: bool = True,
        start_epmd: bool = False,
    ) -> Node:
        """Start a node and wait until it runs. Without a name, it is not distributed.

        long_names: a name without a host gets 127.0.0.1, which needs no resolver. set_cookie_arg: whether the cookie is
        on its command line, and not only in `.erlang.cookie`. start_epmd: whether it starts an epmd if there is none.
        """
        return Node(
            self,
            name,
            epmd_port=epmd_port,
            cookie=cookie,
            home=home,
            args=args,
            env=env or {},
            long_names=long_names,
            user=user,
            set_cookie_arg=set_cookie_arg,
            start_epmd=start_epmd,
        )
