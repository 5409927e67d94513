# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work in a child without the rights of root, for unit tests and integration tests.

Not through Ansible: nobody may not read a checkout of root. So all of `module_utils` is imported beforehand.
"""

from __future__ import annotations

import codecs
import importlib
import os
import pkgutil
from typing import Callable, TypeVar

from ansible_collections.beamops.epmd.plugins import module_utils
from ansible_collections.beamops.epmd.plugins.module_utils._host import children

T = TypeVar("T")

NOBODY = 65534
SECONDS = 60


def as_nobody(work: Callable[[], T], before: Callable[[], object] = lambda: None) -> T:
    """The result of this work. before: what the child does first, as root. Errors: those of the work."""

    def limited() -> T:
        before()
        if os.geteuid() == 0:
            codecs.lookup("ascii")  # it imports a module, too, when a text is first encoded
            for module in pkgutil.walk_packages(module_utils.__path__, f"{module_utils.__name__}."):
                importlib.import_module(module.name)
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        return work()

    return children.result_of(limited, SECONDS)
