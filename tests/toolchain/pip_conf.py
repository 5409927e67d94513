# pip_conf.py FILE: write pip's settings in the environment (PIP_INDEX_URL, PIP_CERT ...) to a
# configuration file, for programs that run pip with a clean environment, as ansible-test does.
# https://pip.pypa.io/en/stable/topics/configuration/
# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import sys
from pathlib import Path

settings = [
    "{} = {}\n".format(name[len("PIP_") :].lower().replace("_", "-"), "\n    ".join(value.split()))
    for name, value in sorted(os.environ.items())
    if name.startswith("PIP_") and name != "PIP_CONFIG_FILE" and value
]
file = Path(sys.argv[1])
file.touch(mode=0o600)  # the address of an index may contain a password
# Quiet only for installations: otherwise `pip list` would print nothing, too.
file.write_text("".join(["[global]\n", *settings, "[install]\nquiet = 1\n"]))
