# collection.py CHECKOUT ROOT: make ROOT/ansible_collections/beamops/epmd an exact copy of the
# checkout, without files that git ignores. Imports of ansible_collections.beamops.epmd and
# ansible-test need such a path:
# https://docs.ansible.com/ansible/latest/dev_guide/developing_collections_testing.html
# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

# Folders that tools write into the copy, and may be using at this moment.
KEPT = (Path(".ansible"), Path("tests/output"))


def files_of(checkout: Path) -> set[Path]:
    """The files that git tracks or would add, except deleted ones."""
    # Without safe.directory, git refuses to work for root in a checkout of another user.
    command = ["git", "-c", f"safe.directory={checkout}", "-C", str(checkout), "ls-files", "-z"]
    listed = subprocess.run(
        [*command, "--cached", "--others", "--exclude-standard"], check=True, stdout=subprocess.PIPE
    )
    names = {Path(os.fsdecode(name)) for name in listed.stdout.split(b"\0") if name}
    return {name for name in names if os.path.lexists(checkout / name)}


def same(one: Path, other: Path) -> bool:
    if one.is_symlink() or other.is_symlink() or not other.is_file():
        return False
    left, right = one.stat(), other.stat()
    return left.st_mode == right.st_mode and left.st_size == right.st_size and one.read_bytes() == other.read_bytes()


def mirror(checkout: Path, copy: Path) -> None:
    wanted = files_of(checkout)
    if copy.exists():
        for folder, folders, files in os.walk(copy, topdown=False):
            place = Path(folder).relative_to(copy)
            if any(place == kept or kept in place.parents for kept in KEPT):
                continue
            for name in [*files, *folders]:
                path = copy / place / name
                if path.is_dir() and not path.is_symlink():
                    with contextlib.suppress(OSError):  # not empty
                        path.rmdir()
                elif place / name not in wanted:
                    path.unlink()
    for file in wanted:
        if not same(checkout / file, copy / file):
            # By renaming, so that other processes find either the old file or the new one, never half of it.
            new = copy / file.with_name(file.name + ".new")
            new.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(checkout / file, new, follow_symlinks=False)
            new.replace(copy / file)


if __name__ == "__main__":
    mirror(Path(sys.argv[1]), Path(sys.argv[2], "ansible_collections", "beamops", "epmd"))
