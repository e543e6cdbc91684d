"""TLS from two PEM files, with what is wrong with them said."""

from __future__ import annotations

import logging
import os
import ssl
import time
from pathlib import Path

from quickserveml_tui.core.errors import QuickServeError, UnavailableError, UsageError
from quickserveml_tui.server.options import ServeOptions

logger = logging.getLogger(__name__)
_SOON_S = 14 * 86_400


def check_files_named(options: ServeOptions) -> None:
    """Raise `UsageError` (`usage.serve`) where only one of certificate and key is given."""
    if bool(options.tls_cert) != bool(options.tls_key):
        missing = "--tls-key" if options.tls_cert else "--tls-cert"
        raise UsageError(
            "TLS needs a certificate and its private key.", hint=f"Add {missing} FILE.", code="usage.serve"
        )


def tls_context(options: ServeOptions, *, warn: bool = True) -> ssl.SSLContext | None:
    """The context of a server with these options: TLS 1.2 and later, HTTP/1.1; None where it speaks plain HTTP.

    A certificate that has expired, or will within two weeks, and a key that others may read are served with a warning
    in the log, unless `warn` is off. Raises `UsageError` (`usage.serve`), and `UnavailableError`: `tls.missing`,
    `tls.unreadable`, `tls.encrypted`, `tls.mismatch`.
    """
    check_files_named(options)
    if not options.tls_cert:
        return None
    for path, what in ((options.tls_cert, "certificate"), (options.tls_key, "private key")):
        _check_file(Path(path), what, warn=warn)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(options.tls_cert, options.tls_key, password=_refuse_password)
    except _PasswordWanted as error:
        raise UnavailableError(
            "The private key is encrypted, and nobody is there to type its password.",
            hint="Decrypt it: openssl pkey -in KEY -out PLAIN_KEY",
            code="tls.encrypted",
        ) from error
    except ssl.SSLError as error:
        raise _refused(error) from error
    if warn:
        _warn_of_end(options.tls_cert)
    return context


def may_reload(options: ServeOptions) -> bool:
    """Whether the files can replace the certificate that new connections get; the log says so, or why not."""
    try:
        context = tls_context(options)
    except QuickServeError as error:
        logger.error("The TLS certificate is not replaced: %s %s", error.message, error.hint)  # noqa: TRY400
        return False
    if context is None:
        return False
    logger.info("New connections get the TLS certificate that the files hold now")
    return True


def tls_files(options: ServeOptions) -> tuple[bytes, bytes]:
    """The certificate chain and the private key as PEM. Raises `UnavailableError` (`tls.unreadable`)."""
    try:
        return Path(options.tls_cert).read_bytes(), Path(options.tls_key).read_bytes()
    except OSError as error:
        raise UnavailableError(
            "The files of certificate and private key cannot be read.",
            hint="Check their paths and permissions.",
            detail=error.strerror or "",
            code="tls.unreadable",
        ) from error


class _PasswordWanted(Exception):  # noqa: N818 - no error of anybody but this module
    """Raised out of OpenSSL's question for a password, which it would ask on the terminal."""


def _refuse_password() -> str:
    raise _PasswordWanted


def _check_file(path: Path, what: str, *, warn: bool) -> None:
    try:
        with path.open("rb") as file:
            file.read(1)
            mode = os.fstat(file.fileno()).st_mode
    except FileNotFoundError:
        raise UnavailableError(
            f"There is no file with the {what}.", hint="Check the path.", code="tls.missing"
        ) from None
    except OSError as error:
        raise UnavailableError(
            f"The file with the {what} cannot be read.",
            hint="Check its permissions.",
            detail=error.strerror or "",
            code="tls.unreadable",
        ) from error
    if warn and what == "private key" and mode & 0o077:
        logger.warning("Others on this machine may read the private key of TLS: chmod 600 it.")


def _refused(error: ssl.SSLError) -> UnavailableError:
    if error.reason == "KEY_VALUES_MISMATCH":
        return UnavailableError(
            "The private key does not belong to the certificate.",
            hint="Name the two files that were made together, the server's own certificate first in its file.",
            code="tls.mismatch",
        )
    return UnavailableError(
        "The files of certificate and private key are no PEM files that go together.",
        hint="A certificate begins with -----BEGIN CERTIFICATE-----, a key with -----BEGIN PRIVATE KEY-----.",
        detail=error.reason or "",
        code="tls.unreadable",
    )


def _warn_of_end(cert: str) -> None:
    end = _end_of(cert)
    if end is None:
        return
    if end <= time.time():
        logger.warning("The TLS certificate expired on %s: clients will refuse it.", _day(end))
    elif end <= time.time() + _SOON_S:
        logger.warning("The TLS certificate expires on %s.", _day(end))


def _end_of(cert: str) -> float | None:
    """Unix time at which the first certificate of a PEM file expires; None where that cannot be told."""
    # The standard library decodes a certificate from a file by this alone; without it there is no warning.
    decode = getattr(getattr(ssl, "_ssl", None), "_test_decode_cert", None)
    if decode is None:
        return None
    try:
        return float(ssl.cert_time_to_seconds(decode(cert)["notAfter"]))
    except (ssl.SSLError, KeyError, ValueError):
        return None


def _day(moment: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(moment))
