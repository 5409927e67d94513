# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Has Python compile each file of a module's payload once instead of twice. For the modules, before they import more.

Standard: `zipimport` of CPython 3.10 and newer. Its `find_spec` compiles a file only to learn its path, and throws that
away; then the file is compiled again to be run. Where that is done in another way, nothing is changed. Private to the
collection.
"""

from __future__ import annotations

import functools
import zipimport

_NAME = "_compile_source"

if hasattr(zipimport, _NAME):
    setattr(zipimport, _NAME, functools.lru_cache(maxsize=None)(getattr(zipimport, _NAME)))
