# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same containers, made by a real engine: podman-run(1). For machines on which it works."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ._container import DOCKER, Container, _identity
from ._process import output_of

ENGINE = os.environ.get("BEAMOPS_CONTAINERS", "lab")
"""Who makes the containers of the tests: `lab` or `podman`."""


class Podman(Container):
    """A running container of podman, with the namespaces, the cgroup and the capabilities that it gives.

    system: the root file system below its own, as `tests/toolchain/offline/system` makes it.
    """

    def __init__(self, system: Path, name: str = "box") -> None:
        self.name = name
        self._own = DOCKER
        self._has_root = True
        self._cgroup = None
        self._directory = tempfile.TemporaryDirectory(prefix="beamops-lab-")
        options = ["--detach", "--rm", "--network=none", f"--hostname={name}", "--rootfs", f"{system}:O"]
        self._id = output_of(["podman", "run", *options, "sleep", "infinity"], "podman run").split()[-1]
        self.pid = int(output_of(["podman", "inspect", "--format={{.State.Pid}}", self._id], "podman inspect"))
        self.root = Path(f"/proc/{self.pid}/root")
        self._identity = _identity(self.pid)

    def close(self) -> None:
        """Kill all processes inside, and remove it."""
        output_of(["podman", "rm", "--force", "--time=0", self._id], "podman rm")
        self._directory.cleanup()


def docker_like(system: Path, name: str = "box") -> Container:
    """A container with its own Debian as Docker makes it, by the engine of this run."""
    return Podman(system, name) if ENGINE == "podman" else Container(system, name, cgroup=True)
