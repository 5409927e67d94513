# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules promise about check mode, diff mode and the like (Ansible's documented attributes).

Private to the collection.
"""

from __future__ import annotations


class ModuleDocFragment:
    """What the modules share, then what each adds to that."""

    DOCUMENTATION = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/beamops.epmd.epmd) in C(module_defaults) to set defaults for this module.
    support: full
    details:
      - Set only options there that all modules take, C(epmd_port) and C(timeout).
    membership:
      - beamops.epmd.epmd
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description:
      - Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
  idempotent:
    description:
      - When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
    support: full
  platform:
    description: Target OS/families that can be operated against.
    platforms: linux
    support: full
"""

    REGISTER = r"""
options: {}
attributes:
  check_mode:
    details:
      - Looks for the cookie and does not try it. It does not predict that a node refuses it, or that epmd can't be
        started.
  diff_mode:
    support: full
    details:
      - Shows the table of each epmd, as C(epmd -names) prints it.
  facts:
    description: Action returns an C(ansible_facts) dictionary that will update existing host facts.
    support: full
"""

    RESTART = r"""
options: {}
attributes:
  check_mode:
    details:
      - Looks for the cookies and does not try them. It does not predict that a node refuses one, or that the new epmd
        does not start.
  diff_mode:
    support: full
    details:
      - Shows the unit, the addresses and the table of epmd.
"""

    SCRATCH = r"""
options: {}
attributes:
  check_mode:
    details:
      - Nothing is started, and it does not predict whether it could be.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details:
      - With O(like_nodes), what an earlier run has left is ended first.
"""

    READ_ONLY = r"""
options: {}
attributes:
  check_mode:
    details:
      - This action does not modify state.
  diff_mode:
    support: N/A
    details:
      - This action does not modify state.
"""

    FACTS = r"""
options: {}
attributes:
  facts:
    description: Action returns an C(ansible_facts) dictionary that will update existing host facts.
    support: full
"""

    SWEEP = r"""
options: {}
attributes:
  platform:
    platforms: posix
"""
