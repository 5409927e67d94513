# pip_settings.py uv: print the package indexes and the certificates that pip uses here as the settings of uv, one
# NAME=VALUE a line. pip_settings.py FILE: write pip's settings in the environment (PIP_INDEX_URL, PIP_CERT ...) to a
# configuration file, for programs that run pip with a clean environment, as ansible-test does. To be run by a Python that
# has pip. https://pip.pypa.io/en/stable/topics/configuration/
# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

NAMES_IN_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
}


def for_uv() -> list[str]:
    """The settings of pip as pip sees them: later ones override earlier ones."""
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], check=True, stdout=subprocess.PIPE, text=True)
    settings: dict[str, str] = {}
    order = ("global.", "install.", ":env:.")
    for prefix in order:
        for line in listed.stdout.splitlines():
            key, _equals, value = line.partition("=")
            name = NAMES_IN_UV.get(key[len(prefix) :]) if key.startswith(prefix) else None
            if name:
                # uv refuses a folder that is not there, which pip only warns of.
                places = [place for place in " ".join(shlex.split(value)).split() if exists(place)]
                settings[name] = (",".join if name == "UV_FIND_LINKS" else " ".join)(places)
    return [f"{name}={value}" for name, value in settings.items() if value]


def exists(place: str) -> bool:
    """Whether a file or folder on this machine is there; any other address counts as being there."""
    path = place.removeprefix("file://")
    return not path.startswith("/") or os.path.exists(path)


def to_file(file: Path) -> None:
    settings = [
        "{} = {}\n".format(name[len("PIP_") :].lower().replace("_", "-"), "\n    ".join(value.split()))
        for name, value in sorted(os.environ.items())
        if name.startswith("PIP_") and name != "PIP_CONFIG_FILE" and value
    ]
    file.touch(mode=0o600)  # the address of an index may contain a password
    # Quiet only for installations: otherwise `pip list` would print nothing, too.
    file.write_text("".join(["[global]\n", *settings, "[install]\nquiet = 1\n"]))


if __name__ == "__main__":
    if sys.argv[1] == "uv":
        print(*for_uv(), sep="\n")
    else:
        to_file(Path(sys.argv[1]))
