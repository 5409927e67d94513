# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Has Python read and compile each file of a module's payload once instead of twice. Imported by the modules first.

Standard: `zipimport` of CPython 3.10 and newer. Its `find_spec` compiles a file only to learn its path, and throws that
away; then the file is compiled again to be run. A Python that does it in another way is left alone. Private to the
collection.
"""

from __future__ import annotations

import functools
import zipimport

_NAME = "_get_module_code"

if hasattr(zipimport, _NAME):
    setattr(zipimport, _NAME, functools.lru_cache(maxsize=None)(getattr(zipimport, _NAME)))
