# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The callback `beamops.epmd.fleet`: Ansible's own output, without the hosts that are well, and with progress.

https://docs.ansible.com/ansible/latest/dev_guide/developing_plugins.html#callback-plugins
"""

from __future__ import annotations

DOCUMENTATION = r"""
name: fleet
type: stdout
short_description: Says nothing of hosts that are well, and how far a long run is
version_added: 1.0.0
description:
  - Ansible's own output, C(ansible.builtin.default), without the lines of hosts where nothing is to be said, also in
    the recap.
  - In a run that takes longer than a few seconds it says how many hosts are done, and how many of them need somebody.
  - C(ANSIBLE_STDOUT_CALLBACK=beamops.epmd.fleet) in front of a command uses it there.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - set as stdout in configuration
author:
  - beamops contributors (@beamops)
"""

import copy
import time
from typing import TYPE_CHECKING, Any

from ansible.plugins.callback.default import CallbackModule as Default

if TYPE_CHECKING:
    from ansible.executor.stats import AggregateStats
    from ansible.executor.task_result import TaskResult
    from ansible.playbook.play import Play
    from ansible.playbook.task import Task

PAUSE_SECONDS = 5.0
"""Between two lines of progress: often enough for a person who waits, and not too often for a log."""


class CallbackModule(Default):
    """What Ansible looks for."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "beamops.epmd.fleet"

    clock = staticmethod(time.monotonic)

    def __init__(self) -> None:
        super().__init__()
        self._hosts = 0
        self._task: str | None = None
        self._done = 0
        self._needing = 0
        self._said_at = 0.0
        self._failed_for_all: set[str] = set()

    def set_options(self, *given: Any, **options: Any) -> None:
        """As configured, but for what this callback is there for."""
        super().set_options(*given, **options)
        self.set_option("display_ok_hosts", False)
        self.set_option("display_skipped_hosts", False)

    def v2_playbook_on_play_start(self, play: Play) -> None:
        super().v2_playbook_on_play_start(play)
        self._hosts = len(play.get_variable_manager().get_vars(play=play)["ansible_play_hosts_all"])

    def v2_playbook_on_task_start(self, task: Task, is_conditional: bool) -> None:
        super().v2_playbook_on_task_start(task, is_conditional)
        # Not of a task for one host, as the one that shows the table.
        self._task = None if task.run_once else task._uuid
        self._done, self._needing, self._said_at = 0, 0, self.clock()

    def v2_runner_on_ok(self, result: TaskResult) -> None:
        # The table says what was changed, and on the way a line of `beamops.epmd.look` what needs somebody.
        if "needs_somebody" not in result._result:
            super().v2_runner_on_ok(result)
        self._progress(result, bool(result._result.get("needs_somebody")))

    def v2_runner_on_skipped(self, result: TaskResult) -> None:
        super().v2_runner_on_skipped(result)
        self._progress(result, bool(result._result.get("needs_somebody")))

    def v2_runner_on_failed(self, result: TaskResult, ignore_errors: bool = False) -> None:
        if result._result.get("shown"):
            # `beamops.epmd.show` has printed its sentence, and fails with it for all hosts.
            self._failed_for_all.add(result._host.get_name())
            return
        super().v2_runner_on_failed(result, ignore_errors)
        self._progress(result, True)

    def v2_runner_on_unreachable(self, result: TaskResult) -> None:
        super().v2_runner_on_unreachable(result)
        self._progress(result, True)

    def v2_playbook_on_stats(self, stats: AggregateStats) -> None:
        """The recap, of the hosts where something failed."""
        of_some = copy.copy(stats)
        of_some.processed = {
            host: 1
            for host in stats.processed
            if stats.failures.get(host, 0) > (host in self._failed_for_all) or host in stats.dark
        }
        if of_some.processed:
            super().v2_playbook_on_stats(of_some)

    def _progress(self, result: TaskResult, needs_somebody: bool) -> None:
        """Count this host, and say how many there are if that was not said lately."""
        if result._task._uuid != self._task:
            return
        self._done += 1
        self._needing += needs_somebody
        now = self.clock()
        if now - self._said_at >= PAUSE_SECONDS and self._done < self._hosts:
            self._said_at = now
            need = "needs" if self._needing == 1 else "need"
            self._display.display(f"{self._done} of {self._hosts} hosts asked, {self._needing} {need} somebody")
