# /// script
# requires-python = ">=3.11"
# dependencies = ["nox==2026.10.20", "antsibull-nox==1.10.0"]
# ///
# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions of nox, for contributors who know it from other collections; each calls what `make` calls.

antsibull-nox adds the sessions of antsibull-nox.toml. Its others are left out: those for ansible-test need Docker or
fetch ansible-core from GitHub, and those for style and licences repeat `make lint` with unpinned tools.
https://nox.thea.codes/
"""

from __future__ import annotations

import antsibull_nox
import nox

# Each ansible-core, with the Python that it is tested on as a controller.
CORES = {"2.17.14": "3.11", "2.18.19": "3.11", "2.19.14": "3.11", "2.20.10": "3.12", "2.21.5": "3.12"}

antsibull_nox.load_antsibull_nox_toml()


@nox.session(python=False)
def lint(session: nox.Session) -> None:
    """Style, types, imports, spelling, licences and metadata."""
    session.run("make", "lint", external=True)


@nox.session(python=False)
@nox.parametrize("core", list(CORES))
def sanity(session: nox.Session, core: str) -> None:
    """ansible-test sanity of one ansible-core, with nothing ignored and nothing skipped."""
    session.run("tests/toolchain/sanity", core, external=True)


@nox.session(python=False)
@nox.parametrize("core", list(CORES))
def units(session: nox.Session, core: str) -> None:
    """tests/unit with one ansible-core."""
    session.run("tests/toolchain/unit", f"{CORES[core]}/{core}", external=True)


@nox.session(python=False, default=False)
def artifact(session: nox.Session) -> None:
    """galaxy-importer on the artifact."""
    session.run("make", "import", external=True)


@nox.session(python=False, default=False)
@nox.parametrize("otp", [23, 25, 27, 29])
def integration(session: nox.Session, otp: int) -> None:
    """tests/integration against one release of Erlang/OTP."""
    session.run("tests/toolchain/integration", str(otp), external=True)


@nox.session(python=False, default=False)
def molecule(session: nox.Session) -> None:
    """The scenarios of extensions/molecule, on several hosts."""
    session.run("make", "molecule", external=True)


if __name__ == "__main__":
    nox.main()
