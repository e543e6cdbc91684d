"""The floor: uvloop and httptools with a constant answer, nothing else."""

import asyncio
import socket
import sys

import httptools
import uvloop

_ANSWER = (
    b'{"model_name":"tiny","model_version":"1","outputs":'
    b'[{"name":"y","datatype":"FP32","shape":[1,3],"data":[0.1,0.2,0.7]}]}'
)
_RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(_ANSWER),
    _ANSWER,
)


class Constant(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data):
        self.parser.feed_data(data)

    def on_url(self, url):
        self.url = url

    def on_header(self, name, value):
        pass

    def on_body(self, body):
        self.body = body

    def on_message_complete(self):
        self.transport.write(_RESPONSE)


async def main(port: int) -> None:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    server = await asyncio.get_running_loop().create_server(Constant, sock=listener, backlog=4096)
    await server.serve_forever()


uvloop.run(main(int(sys.argv[2])))
