# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How `make docs` builds a site from the pages: https://www.sphinx-doc.org/en/master/usage/configuration.html."""

from __future__ import annotations

project = "beamops.epmd"
author = "beamops contributors"
html_title = html_short_title = "beamops.epmd"

extensions = ["sphinx_antsibull_ext"]
# A broken link is a warning, and a warning fails the build.
nitpicky = True
# Links from the reference to Ansible's own documentation can't be checked without the network.
nitpick_ignore = [
    *(("std:ref", label) for label in ("action_plugins", "ansible_configuration_settings", "callback_plugins")),
    ("std:ref", "common_return_values"),
    *(("std:envvar", f"ANSIBLE_{name}") for name in ("DISPLAY_SKIPPED_HOSTS", "SHOW_CUSTOM_STATS")),
]

highlight_language = "none"
pygments_style = "ansible"
# Commands must keep their quotes and dashes.
smartquotes = False

html_theme = "sphinx_ansible_theme"
html_theme_options = {
    "display_version": False,
    "navigation_depth": 3,
    "topbar_links": {
        "Repository": "https://github.com/beamops/beamops.epmd",
        "epmd": "https://www.erlang.org/doc/apps/erts/epmd_cmd.html",
    },
}
html_static_path = ["static"]
html_css_files = ["beamops.css"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
html_use_index = False
