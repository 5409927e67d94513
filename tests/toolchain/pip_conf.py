# pip_conf.py FILE: write pip's settings in the environment (PIP_INDEX_URL, PIP_CERT ...) as a
# configuration file, for those who start pip with a clean environment, as ansible-test does.
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
file.touch(mode=0o600)  # an index's address may hold a password
# Quiet for installations only: `pip list` would be silent as well.
file.write_text("".join(["[global]\n", *settings, "[install]\nquiet = 1\n"]))
