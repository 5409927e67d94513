# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For all unit tests: the same examples in every run of a property test. `make fuzz` looks for new ones."""

from __future__ import annotations

import sys

from hypothesis import settings

# What runs on a controller alone needs the oldest Python of an ansible-core that the collection supports.
collect_ignore = [] if sys.version_info >= (3, 10) else ["plugins/plugin_utils"]

settings.register_profile("same", derandomize=True, database=None, deadline=None)
settings.load_profile("same")
