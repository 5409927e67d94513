# Shared by the scripts beside this file; POSIX shell, read with `.`.
# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh disable=SC2034 # the variables are used by the scripts that read this

toolchain=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
checkout=${toolchain%/tests/toolchain}

# Everything that is built is kept here, outside the checkout, and can be deleted at any time.
# Exported, because `run` gives its command another HOME.
BEAMOPS_CACHE=${BEAMOPS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/beamops.epmd}
export BEAMOPS_CACHE
mkdir -p "$BEAMOPS_CACHE"

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

# suite_of RELEASE: print the Debian suite that has this OTP; fails if none has it.
suite_of() {
    case $1 in
        23) echo bullseye ;;
        25) echo bookworm ;;
        27) echo trixie ;;
        29) echo sid ;;
        *) return 1 ;;
    esac
}

# Print the mirror that this machine uses for Debian's main archive, or else the public one.
# Before the first apt-get update the origin is not known yet: then the suite's name is compared.
mirror() {
    codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    # shellcheck disable=SC2016 # apt-get replaces $(...)
    found=$(apt-get indextargets --format '$(SITE) $(RELEASE) $(COMPONENT) $(ORIGIN) $(LABEL)' |
        awk -v codename="$codename" '
            $3 != "main" || /^cdrom:/ { next }
            $4 $5 == "DebianDebian" || ($4 ~ /^\$/ && $2 == codename) { print $1; exit }')
    echo "${found:-http://deb.debian.org/debian}"
}
