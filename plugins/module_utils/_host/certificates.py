# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificate to show to a node that speaks TLS distribution. Private to the collection.

Standard: "Using TLS for Erlang Distribution" of ssl; `inet_tls_dist.erl`: `-ssl_dist_optfile` comes before
`-ssl_dist_opt`. We show what the node itself shows to other nodes, else what it shows as a server. Who the node is, is
proved by its cookie and by its process, which owns the port; its certificate is looked at only with `tls_cafile`.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
from typing import IO, Any, Mapping, NamedTuple

from .._deadline import Deadline
from .._errors import EpmdError
from .._limits import MAX_OPTFILE, MAX_PEM_FILE
from .._wire.tls import Tls
from . import erlang_terms, files, inside
from .processes import Vm


class Files(NamedTuple):
    """Certificate, key and CA as paths; None where there is none. `source`: who says so."""

    certfile: str | None
    keyfile: str | None
    cafile: str | None
    password: str
    source: str


def prepare(vm: Vm, options: Files, deadline: Deadline) -> Tls:
    """What a connection to this node needs. Errors: EpmdError, which names the file."""
    files = options if options.certfile else _own(vm, deadline)
    read = _Reader(vm.pid if files is not options else None, deadline)
    # Any context of a client will do: TLS 1.2 and newer, and the certificate of the peer is no proof of anything here.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if files.certfile:
        _load(context, files, read)
    if options.cafile:
        try:
            context.load_verify_locations(options.cafile)
        except OSError as error:
            raise EpmdError(f"tls_cafile {options.cafile} can't be used ({_reason(error)})") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return Tls(context, files.certfile or "")


class _Reader:
    """Reads files where they are meant: in the root of the node, relative to its directory; or here."""

    def __init__(self, pid: int | None, deadline: Deadline) -> None:
        self._pid = pid
        self._deadline = deadline
        self._directory = _directory(pid)

    def __call__(self, path: str, what: str, limit: int) -> bytes:
        full = os.path.join(self._directory, path)
        try:
            found = inside.with_files_of(self._pid, self._deadline.left(), lambda: files.read(full, limit))
        except OSError as error:
            raise EpmdError(f"the {what} {full} can't be read ({error.strerror}): give tls_certfile") from None
        if found is None:
            raise EpmdError(f"the {what} {full} is no regular file: give tls_certfile")
        if len(found.content) > limit:
            raise EpmdError(f"the {what} {full} has more than {limit} bytes: give tls_certfile")
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


def _load(context: ssl.SSLContext, files: Files, read: _Reader) -> None:
    """Certificate and key, through files without a name: OpenSSL takes only paths, and these may lie elsewhere."""
    with contextlib.ExitStack() as stack:

        def held(path: str, what: str) -> str:
            file: IO[bytes] = stack.enter_context(tempfile.TemporaryFile())
            file.write(read(path, what, MAX_PEM_FILE))
            file.flush()
            return f"/proc/self/fd/{file.fileno()}"

        certificate = held(str(files.certfile), f"certificate file of {files.source}")
        key = held(files.keyfile, f"key file of {files.source}") if files.keyfile else None
        try:
            # Always a password, or OpenSSL would ask a person for one.
            context.load_cert_chain(certificate, key, password=lambda: files.password)
        except (ssl.SSLError, ValueError) as error:
            raise EpmdError(
                f"certificate {files.certfile} and key {files.keyfile or files.certfile} of {files.source} can't be "
                f"used ({_reason(error)}): give tls_certfile and tls_keyfile"
            ) from None


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
    return str(reason).lower().replace("_", " ")


def _own(vm: Vm, deadline: Deadline) -> Files:
    """What the node itself uses."""
    said = vm.said
    if said.tls_optfile:
        source = f"-ssl_dist_optfile {said.tls_optfile}"
        data = _Reader(vm.pid, deadline)(said.tls_optfile, "file of -ssl_dist_optfile", MAX_OPTFILE)
        text = data.decode("utf-8", "replace")
        return choose(sections(text, source), source)
    return choose(from_arguments(said.tls_options), "-ssl_dist_opt")


def sections(text: str, source: str) -> list[Mapping[str, Any]]:
    """From the text of an optfile: the options of the client, then those of the server. Errors: EpmdError."""
    try:
        terms = erlang_terms.consult(text)
    except EpmdError as error:
        raise EpmdError(f"{source} can't be understood, {error}: give tls_certfile") from None
    found = _properties(terms[0] if terms else [])
    return [_properties(found.get(side, [])) for side in ("client", "server")]


def _properties(terms: Any) -> dict[str, Any]:
    """A property list as a dict; what is no pair does not matter here."""
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
    """The first certificate among these; none at all is no error, since a node need not want one."""
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
