# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An execution environment: a controller in a root file system of its own, with a collection as its users install it.

As ansible-builder makes them: Ansible and ssh from packages, and collections in /usr/share/ansible/collections. There
is no checkout in it. https://docs.ansible.com/projects/builder/en/latest/
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ._container import Container
from ._process import LabError
from ._reached import reached_by

COLLECTIONS = "/usr/share/ansible/collections"


class Environment(Container):
    """A running execution environment, whose processes and network are those of the tests.

    It is made from the root file system to which BEAMOPS_ENVIRONMENT points (`tests/toolchain/offline/system`).
    artifact: the collection. shared: a directory of the tests that has the same path in it.
    """

    def __init__(self, artifact: Path, shared: Path) -> None:
        root = Path(os.environ.get("BEAMOPS_ENVIRONMENT", ""))
        if not (root / "usr/bin/ansible").exists():
            raise LabError("set BEAMOPS_ENVIRONMENT to a root file system with ansible-core")
        super().__init__(root, own=())
        try:
            self.artifact = shared / artifact.name
            shutil.copy(artifact, self.artifact)
            inside = self.root / str(shared).lstrip("/")
            inside.mkdir(parents=True)
            subprocess.run(["mount", "--bind", shared, inside], check=True, timeout=30)
            install = ["ansible-galaxy", "collection", "install", "--offline", "-p", COLLECTIONS]
            done = self.run([*install, self.artifact])
            if done.returncode != 0:
                raise LabError(f"the artifact could not be installed: {done.stdout}")
        except BaseException:
            self.close()
            raise

    def control(self, text: str, directory: Path, settings: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a command of the controller in this directory."""
        return self.run(["sh", "-c", f'cd "$0" && {text}', directory], env=settings, seconds=120)

    def host_from(self, directory: Path, settings: Mapping[str, str]) -> dict[str, str]:
        """The variables by which Ansible reaches the host of the tests from it, with this environment there."""
        out = ["nsenter", "--target=1", "--mount", "--", "env", "--ignore-environment"]
        return reached_by([*out, *(f"{key}={value}" for key, value in settings.items())], directory)
