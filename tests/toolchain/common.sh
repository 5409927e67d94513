# Shared by the scripts beside this file; POSIX shell, read with `.`.
# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh disable=SC2034 # the variables are used by the scripts that read this

# The scripts in other folders of tests/ read this file, too.
checkout=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
checkout=${checkout%/tests/*}
toolchain=$checkout/tests/toolchain
offline=$toolchain/offline

# Everything that is built is kept here, outside the checkout, and can be deleted at any time.
# Exported, because `run` gives its command another HOME.
BEAMOPS_CACHE=${BEAMOPS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/beamops.epmd}
export BEAMOPS_CACHE
mkdir -p "$BEAMOPS_CACHE"

# Tests mostly wait, so they have more workers than processors; with `--dist load`, this option of pytest-xdist puts each
# worker on a private host, where it meets no port and no process of the others.
workers=$(($(nproc) * 2))
on_private_hosts="--tx=$workers*popen//python=$offline/private_python"

# The oldest that a target may have.
oldest_psutil=5.4.0

say() {
    printf '%s\n' "$*" >&2
}

die() {
    say "${0##*/}: $*"
    exit 1
}

# lock NAME: let no other process build this at the same time: hold its lock until this script ends.
lock() {
    exec 9>"$BEAMOPS_CACHE/$1.lock"
    flock 9
}

# apt PACKAGE: install a Debian package, or say in one sentence that it is needed.
apt() {
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        die "please install the package '$1' first (on Debian, as root: apt-get install $1)."
    fi
    say "Installing Debian's $1."
    {
        flock 8
        apt-get update --quiet=2
        DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends \
            -o DPkg::Lock::Timeout=300 "$1"
    } >/dev/null </dev/null 8>"$BEAMOPS_CACHE/apt.lock" || die "apt-get could not install '$1'."
}

# find_python: set `python` to an interpreter that the tools run on, never to a shim of pyenv, or say what to install.
find_python() {
    for name in "${PYTHON:-python3}" python3.11 python3.12 python3.13; do
        python=$("$name" -c 'import sys
if (3, 11) <= sys.version_info < (3, 14): print(sys.executable)' 2>/dev/null) || python=
        [ -z "$python" ] || return 0
    done
    die "please install Python 3.11, 3.12 or 3.13, or set PYTHON to one."
}
