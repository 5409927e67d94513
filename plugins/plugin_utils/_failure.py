# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A failure in one line, whatever Ansible would add to it. Private to the collection.

Since 2.19, ansible-core prints a failure together with the lines of the playbook that it comes from. They help whoever
writes a playbook. Here they are the same a hundred times over, between an operator and what is wrong.
"""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail


class _InOneLine(AnsibleActionFail):
    @property
    def omit_exception_key(self) -> bool:
        """What ansible-core asks: whether there is nothing more to show than `msg`."""
        return True


def failed(msg: str, result: dict[str, Any]) -> dict[str, Any]:
    """The result of an action that fails with this sentence; to be returned by it, where it is not raised."""
    if hasattr(AnsibleActionFail, "omit_exception_key"):
        raise _InOneLine(msg, result=result)
    return {**result, "failed": True, "msg": msg}
