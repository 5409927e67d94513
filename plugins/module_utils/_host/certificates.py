# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificate to show to a node that speaks TLS distribution.

Standard: "Using TLS for Erlang Distribution" of ssl; `inet_tls_dist.erl`: `-ssl_dist_optfile` comes before
`-ssl_dist_opt`. We show what the node itself shows to other nodes, else what it shows as a server. Who the node is, is
proved by its cookie and by its process, which owns the port; its certificate is looked at only with `tls_cafile`.
Private to the collection.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import ssl
from typing import Any, Iterator, Mapping

from .._deadline import Deadline
from .._errors import EpmdError, TlsFailed
from .._limits import MAX_OPTFILE, MAX_PEM_FILE
from .._record import Record
from .._wire.tls import Tls
from . import erlang_terms, files, inside
from .command_line import CommandLine
from .vms import Vm

_F_SETPIPE_SZ = 1031
"""The command of fcntl(2) that makes a pipe this large; `fcntl` has it since Python 3.10."""


class Files(Record):
    """Certificate, key and CA as paths, None where there is none; the key's password. source: where they are named."""

    certfile: str | None
    keyfile: str | None
    cafile: str | None
    password: str
    source: str


def prepare(vm: Vm, options: Files, deadline: Deadline) -> Tls:
    """The TLS settings for a connection to this node. Errors: TlsFailed, which names the file; `inside.with_files_of`.

    options: those of the module, which come before the node's own.
    """
    if options.certfile:
        chosen, read = options, _FileReader(None, deadline)
    else:
        read = _FileReader(vm.pid, deadline)
        chosen = _own(vm.command_line, read)
    # Any context of a client will do: TLS 1.2 and newer, and the certificate of the peer is no proof of anything here.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if chosen.certfile:
        _load(context, chosen, read)
    if options.cafile:
        _trust(context, options.cafile, deadline)
        context.verify_mode = ssl.CERT_REQUIRED
    return Tls(context, chosen.certfile or "")


class _FileReader:
    """Reads files as a process does: in its root, relative to its directory. pid: None for our own."""

    def __init__(self, pid: int | None, deadline: Deadline) -> None:
        self._pid = pid
        self._deadline = deadline
        self._directory = _directory(pid)

    def __call__(self, path: str, what: str, limit: int) -> bytes:
        full = os.path.join(self._directory, path)
        try:
            found = inside.with_files_of(self._pid, self._deadline.left(), lambda: files.read(full, limit))
        except OSError as error:
            raise TlsFailed(f"the {what} {full} can't be read ({error.strerror}): give tls_certfile") from None
        if found is None:
            raise TlsFailed(f"the {what} {full} is not a regular file: give tls_certfile")
        if len(found.content) > limit:
            raise TlsFailed(f"the {what} {full} has more than {limit} bytes: give tls_certfile")
        return found.content


def _directory(pid: int | None) -> str:
    """The working directory of a process, as it sees it itself."""
    if pid is None:
        return ""
    try:
        directory, root = os.readlink(f"/proc/{pid}/cwd"), os.readlink(f"/proc/{pid}/root")
    except OSError:
        return "/"
    return directory[len(root) :] or "/" if root != "/" and directory.startswith(root) else directory


def _load(context: ssl.SSLContext, chosen: Files, read: _FileReader) -> None:
    """Load certificate and key: OpenSSL takes paths only, and these are the node's, whose key must not be on a disk."""
    certificate = read(str(chosen.certfile), f"certificate file of {chosen.source}", MAX_PEM_FILE)
    key = read(chosen.keyfile, f"key file of {chosen.source}", MAX_PEM_FILE) if chosen.keyfile else certificate
    try:
        with _in_memory(certificate) as certificate_path, _in_memory(key) as key_path:
            # Always a password, or OpenSSL would ask a person for one.
            context.load_cert_chain(certificate_path, key_path, password=lambda: chosen.password)
    except (OSError, ValueError) as error:
        raise TlsFailed(
            f"certificate {chosen.certfile} and key {chosen.keyfile or chosen.certfile} of {chosen.source} "
            f"can't be used ({_reason(error)}): give tls_certfile and tls_keyfile"
        ) from None


def _trust(context: ssl.SSLContext, path: str, deadline: Deadline) -> None:
    """Load the CA certificates that the option tls_cafile names."""
    try:
        found = inside.with_files_of(None, deadline.left(), lambda: files.read(path, MAX_PEM_FILE))
        if found is None:
            raise TlsFailed(f"tls_cafile {path} can't be used (not a regular file)")
        if len(found.content) > MAX_PEM_FILE:
            raise TlsFailed(f"tls_cafile {path} can't be used (more than {MAX_PEM_FILE} bytes)")
        with _in_memory(found.content) as held:
            context.load_verify_locations(held)
    except OSError as error:
        raise TlsFailed(f"tls_cafile {path} can't be used ({_reason(error)})") from None


@contextlib.contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """The path of a pipe with this content, for one reader. Errors: OSError.

    Python 3.7 has it too, unlike memfd_create(2), and it is never swapped out.
    """
    reading, writing = os.pipe()
    try:
        with open(writing, "wb", buffering=0) as file:
            os.set_blocking(writing, False)
            fcntl.fcntl(writing, _F_SETPIPE_SZ, max(len(content), 1))
            if file.write(content) != len(content):
                raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
        yield f"/proc/self/fd/{reading}"
    finally:
        os.close(reading)


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return str(reason).lower().replace("_", " ")


def _own(line: CommandLine, read: _FileReader) -> Files:
    """What the node itself uses."""
    if line.tls_optfile:
        source = f"-ssl_dist_optfile {line.tls_optfile}"
        text = read(line.tls_optfile, "file of -ssl_dist_optfile", MAX_OPTFILE).decode("utf-8", "replace")
        return choose(sections(text, source), source)
    return choose(from_arguments(line.tls_options), "-ssl_dist_opt")


def sections(text: str, source: str) -> list[Mapping[str, Any]]:
    """From the text of an optfile: the options of the client, then those of the server. Errors: TlsFailed."""
    try:
        terms = erlang_terms.consult(text)
    except EpmdError as error:
        raise TlsFailed(f"{source} can't be understood, {error}: give tls_certfile") from None
    found = _properties(terms[0] if terms else [])
    return [_properties(found.get(side, [])) for side in ("client", "server")]


def _properties(terms: Any) -> dict[str, Any]:
    """A property list as a dict; the elements that are not pairs are left out."""
    if isinstance(terms, dict):
        return terms
    pairs = [term for term in terms if isinstance(term, tuple) and len(term) == 2] if isinstance(terms, list) else []
    return {str(key): value for key, value in reversed(pairs)}


def from_arguments(options: Mapping[str, str]) -> list[Mapping[str, Any]]:
    """From the pairs of `-ssl_dist_opt`: the options of the client, then those of the server."""
    return [
        {key[len(side) :]: value for key, value in options.items() if key.startswith(side)}
        for side in ("client_", "server_")
    ]


def choose(sides: list[Mapping[str, Any]], source: str) -> Files:
    """The first certificate among these options. None is not an error, since not every node demands one."""
    for options in sides:
        for found in (options, *_pairs(options.get("certs_keys"))):
            certificate, key = _path(found.get("certfile")), _path(found.get("keyfile"))
            if certificate:
                return Files(certificate, key, None, _path(found.get("password")) or "", source)
    return Files(None, None, None, "", source)


def _pairs(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _path(value: Any) -> str | None:
    return os.fsdecode(value) if isinstance(value, (str, bytes)) else None
