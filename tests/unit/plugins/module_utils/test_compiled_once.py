# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How often Python compiles a file of a zip, as the payload of a module is, with the help of the collection or not."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ansible_collections.beamops.epmd.plugins.module_utils import _compiled_once

# In a process of its own: the one of the tests stays as it is.
SCRIPT = """
import sys, zipimport
if {gone}:
    zipimport.__dict__.pop("_get_module_code", None)
if {helped}:
    exec(open({file!r}).read())
sys.path.insert(0, {zip!r})
found = []
sys.addaudithook(lambda event, given: found.append(given[1]) if event == "compile" else None)
try:
    import package.module
    print(package.module.ANSWER, package.module.__file__, end=" ")
finally:
    print(sum("module.py" in str(name) for name in found))
"""


@pytest.mark.skipif(sys.version_info < (3, 8), reason="it has no audit events")
@pytest.mark.parametrize("helped", [True, False])
def test_a_file_of_a_zip_is_compiled_once(helped: bool, tmp_path: Path) -> None:
    file = tmp_path / "payload.zip"
    with zipfile.ZipFile(file, "w") as payload:
        payload.writestr("package/__init__.py", "")
        payload.writestr("package/module.py", "ANSWER = 42\n")
    script = SCRIPT.format(helped=helped, file=_compiled_once.__file__, zip=str(file), gone=False)
    done = subprocess.run([sys.executable, "-I", "-c", script], stdout=subprocess.PIPE, check=True)
    answer, where, compiled = done.stdout.decode().split()
    assert (answer, where) == ("42", str(file / "package" / "module.py"))
    assert int(compiled) == 1 if helped else int(compiled) in (1, 2)  # by the release of Python


def test_a_python_that_does_it_in_another_way_is_left_alone(tmp_path: Path) -> None:
    script = SCRIPT.format(helped=True, file=_compiled_once.__file__, zip="", gone=True)
    script = script.partition("sys.path")[0] + "print(hasattr(zipimport, '_get_module_code'))"
    done = subprocess.run([sys.executable, "-I", "-c", script], stdout=subprocess.PIPE, check=True, cwd=str(tmp_path))
    assert done.stdout == b"False\n"
