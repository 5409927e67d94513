# Install pip in a virtual environment that lacks it, from the wheel beside this file.
# ansible-test runs it as it runs the get-pip.py of https://github.com/pypa/get-pip: first to put
# pip there ("pip==24.2 --no-setuptools --no-wheel"), see `ansible_test` in this folder.
# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import runpy
import sys
from pathlib import Path

here = Path(__file__).resolve().parent
arguments = [a for a in sys.argv[1:] if a not in {"--no-setuptools", "--no-wheel"}]
version = next(a for a in arguments if a.startswith("pip==")).partition("==")[2]

# A wheel of pip can be run without being installed.
sys.path.insert(0, str(next(here.glob(f"pip-{version}-*.whl"))))
sys.argv = ["pip", "install", "--find-links", str(here), *arguments]
runpy.run_module("pip", run_name="__main__", alter_sys=True)
