"""TLS: a certificate that nobody vouches for is refused, one of an authority that was named is taken."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading

import pytest
from hostile import Hostile, answer

from quickserveml_tui.client.http import HttpClient
from quickserveml_tui.core.errors import UnavailableError

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    pair = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2",
            "-out", str(pair[0]), "-keyout", str(pair[1]),
        ],
        check=True, capture_output=True,
    )  # fmt: skip
    return pair


class Secured(Hostile):
    """A hostile server that speaks TLS."""

    def __init__(self, serve, certificate) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*certificate)
        super().__init__(serve)
        self.url = self.url.replace("http://", "https://")

    def _talk(self, connection) -> None:
        try:
            secured = self._context.wrap_socket(connection, server_side=True)
        except OSError:  # the client does not trust the certificate
            connection.close()
            return
        super()._talk(secured)


def test_a_certificate_that_nobody_vouches_for_gets_no_request(certificate):
    with Secured(lambda *_: False, certificate) as server, pytest.raises(UnavailableError, match="trusted") as caught:
        HttpClient(server.url, key="secret").get("/")
    assert (caught.value.code, server.requests) == ("server.unreachable", [])


def test_a_named_authority_is_trusted_for_its_own_host_alone(certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with Secured(lambda connection, _head: connection.sendall(answer(b"{}")), certificate) as server:
        with HttpClient(server.url, key="k") as client:
            assert client.get("/").status == 200
        with pytest.raises(UnavailableError, match="trusted"):
            HttpClient(server.url.replace("127.0.0.1", "localhost")).get("/")


def test_the_time_limit_holds_over_tls_as_well(certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))

    def drip(connection, _head):
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            connection.sendall(b"x")
            threading.Event().wait(0.05)

    with Secured(drip, certificate) as server, pytest.raises(UnavailableError) as caught:
        HttpClient(server.url, timeout_s=0.4).get("/")
    assert caught.value.code == "server.unreachable"


def test_a_server_without_tls_is_no_answer_to_https():
    with Hostile(lambda connection, _head: connection.sendall(answer(b"{}"))) as server:
        address = server.url.replace("http://", "https://")
        socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))).close()
        with pytest.raises(UnavailableError) as caught:
            HttpClient(address, timeout_s=0.5).get("/")
    assert caught.value.code == "server.unreachable"
