"""Connections are taken fairly: many at once, by several takers, and when descriptors run out."""

import asyncio
import contextlib
import errno
import socket
import ssl

import pytest

from quickserveml_tui.server import accept
from quickserveml_tui.server.accept import Acceptor, Secure

DEADLINE_S = 20


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


def loop_factories():
    yield pytest.param(asyncio.SelectorEventLoop, id="asyncio")
    with contextlib.suppress(ImportError):
        import uvloop

        yield pytest.param(uvloop.new_event_loop, id="uvloop")


@pytest.fixture(params=loop_factories())
def run(request):
    def run(main):
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(asyncio.wait_for(main, DEADLINE_S))

    return run


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as found:
        yield found


async def echoes(listener) -> bool:
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    writer.write(b"hello")
    answer = await reader.readexactly(5)
    writer.close()
    return answer == b"hello"


def test_connections_that_came_at_once_are_all_taken(run, listener):
    async def main():
        acceptor = Acceptor(asyncio.get_running_loop(), [listener], Echo)
        clients = [socket.create_connection(listener.getsockname()) for _ in range(300)]
        acceptor.start()
        for client in clients:
            client.setblocking(False)
            client.send(b"x")
        answers = await asyncio.gather(*(asyncio.get_running_loop().sock_recv(client, 1) for client in clients))
        assert answers == [b"x"] * 300
        acceptor.stop()
        for client in clients:
            client.close()

    run(main())


def test_takers_may_share_a_socket_and_stop_one_by_one(run, listener):
    async def main():
        loop = asyncio.get_running_loop()
        shared = listener.dup()
        first, second = Acceptor(loop, [listener], Echo), Acceptor(loop, [shared], Echo)
        first.start()
        second.start()
        assert all(await asyncio.gather(*(echoes(listener) for _ in range(50))))
        first.stop()
        first.stop()
        assert await echoes(listener)
        second.stop()
        shared.close()

    run(main())


class Exhausted:
    """A listening socket of a process that has no descriptors left, for a while."""

    def __init__(self, listener, failures):
        self.listener, self.failures, self.tries = listener, failures, 0

    def accept(self):
        self.tries += 1
        if self.tries <= self.failures:
            raise OSError(errno.EMFILE, "Too many open files")
        return self.listener.accept()

    def __getattr__(self, name):
        return getattr(self.listener, name)


def test_no_descriptors_left_is_waited_out_without_spinning(run, listener, monkeypatch, caplog):
    monkeypatch.setattr(accept, "PAUSE_S", 0.05)

    async def main():
        exhausted = Exhausted(listener, 3)
        acceptor = Acceptor(asyncio.get_running_loop(), [exhausted], Echo)
        acceptor.start()
        assert await echoes(listener)
        assert exhausted.tries <= 6  # three failures, the connection, and looks at an empty queue
        acceptor.stop()

    run(main())
    assert "Too many open files" in caplog.text


def test_a_connection_that_is_no_tls_is_dropped_and_others_go_on(run, listener, tmp_path):
    certificate, key = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    client_context = ssl.create_default_context(cafile=str(certificate))

    async def main():
        acceptor = Acceptor(asyncio.get_running_loop(), [listener], Echo, Secure(lambda: context))
        acceptor.start()
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
        writer.close()
        reader, writer = await asyncio.open_connection(
            *listener.getsockname(), ssl=client_context, server_hostname="localhost"
        )
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        acceptor.stop()

    run(main())


def make_certificate(folder):
    import datetime as dt

    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths
