# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of `look` that `rehearse` has as well, since its action is a kind of that.

Private to the collection.
"""

from __future__ import annotations


class ModuleDocFragment:
    """What both share."""

    DOCUMENTATION = r"""
options:
  playbook:
    description:
      - Whose words and whose idea of a failure are used.
    type: str
    choices: [audit, recover, rehearse, restart_epmd]
    default: audit
  tolerated:
    description:
      - Whether a lost node is no failure.
    type: bool
    default: false
  fails_for:
    description:
      - Reasons of a module (its C(reason)) for which the task does fail, so that C(rescue) can do something about it.
    type: list
    elements: str
    default: []
  report:
    description:
      - A directory on the controller. If it can't be written, nothing is done on the host.
    type: path
"""
