"""KServe's clients over REST and gRPC."""

import asyncio

from common import ARRAYS, Report, arguments, same
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

GIVEN = arguments()
report = Report()


def question(kind, *, binary):
    array = ARRAYS[kind]
    tensor = InferInput("x", list(array.shape), kind)
    tensor.set_data_from_numpy(array.astype(object) if kind == "BYTES" else array, binary_data=binary)
    outputs = [RequestedOutput("y", parameters={"binary_data": binary})]
    return InferRequest(f"same_{kind.lower()}", [tensor], request_outputs=outputs)


async def ask(name, kind, call):
    try:
        answer = await call()
        report.check(name, lambda: same(kind, answer.outputs[0].as_numpy()))
    except Exception as error:
        report.cells[name] = repr(error)


async def rest():
    url = f"http://127.0.0.1:{GIVEN['port']}"
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    for kind in ARRAYS:
        for binary in (True, False):
            if kind == "BF16" or (kind == "FP16" and not binary):
                continue  # the client knows no BF16, and writes FP16 as binary only
            name = f"same_{kind.lower()}"
            await ask(
                f"rest {kind} {'binary' if binary else 'json'}",
                kind,
                lambda kind=kind, binary=binary, name=name: client.infer(
                    url, question(kind, binary=binary), model_name=name
                ),
            )
    live, ready = await client.is_server_live(url), await client.is_server_ready(url)
    model = await client.is_model_ready(url, "tiny")
    report.check("rest health", lambda: (live, ready, model) == (True, True, True))
    await client.close()


async def grpc():
    client = InferenceGRPCClient(f"127.0.0.1:{GIVEN['grpc_port']}")
    for kind in ARRAYS:
        for binary in (True, False):
            if kind == "BF16" or (kind == "FP16" and not binary):
                continue
            await ask(
                f"grpc {kind} {'raw' if binary else 'typed'}",
                kind,
                lambda kind=kind, binary=binary: client.infer(question(kind, binary=binary)),
            )
    live, ready, model = (
        await client.is_server_live(),
        await client.is_server_ready(),
        await client.is_model_ready("tiny"),
    )
    report.check("grpc health", lambda: (live, ready, model) == (True, True, True))
    await client.close()


asyncio.run(rest())
asyncio.run(grpc())
report.finish()
