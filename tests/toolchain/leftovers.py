# leftovers.py COMMAND...: run a command, and fail if it leaves behind a process, a mount, a network namespace or a file
# in a temporary folder.
# Standard: prctl(2), PR_SET_CHILD_SUBREAPER: what its processes leave behind becomes a child of ours.
# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
# What has been told to end needs a moment.
PATIENCE_SECONDS = 5.0


def places() -> set[str]:
    """Mounts, network namespaces, and names in the folders for temporary files."""
    folders = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"), Path("/run/netns"))
    files = {str(path) for folder in folders if folder.is_dir() for path in folder.iterdir()}
    mounts = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()}
    return files | {f"the mount {mount}" for mount in mounts}


def processes() -> set[str]:
    """What runs below this process."""
    found = set()
    for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split():
        try:
            if os.waitpid(int(pid), os.WNOHANG) == (0, 0):
                arguments = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found.add(f"the process {pid}: {arguments:.120}")
        except OSError:
            continue  # it has ended meanwhile
    return found


def run(command: list[str], environment: dict[str, str]) -> int:
    """The exit code of a command. Whatever it leaves behind is reaped when it ends, as the first process would do."""
    started = subprocess.Popen(command, env=environment)
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == started.pid:
            started.returncode = os.waitstatus_to_exitcode(status)
            return started.returncode


def main() -> int:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before = places()
    # A folder of its own for temporary files: what tools of others leave there (Elixir's locks, pytest's) goes with it.
    # Its name may not end with "_", which means something where a tool writes it into a page.
    with tempfile.TemporaryDirectory(prefix="beamops-", suffix="t") as folder:
        os.chmod(folder, 0o1777)
        code = run(sys.argv[1:], {**os.environ, "TMPDIR": folder})
        end = time.monotonic() + PATIENCE_SECONDS
        while processes() and time.monotonic() < end:
            time.sleep(0.1)
        left = processes()
    left |= places() - before
    for thing in sorted(left):
        print(f"left behind: {thing}", file=sys.stderr)
    if not left:
        print("== nothing left behind: no process, mount, network namespace or temporary file")
    return code or int(bool(left))


if __name__ == "__main__":
    sys.exit(main())
