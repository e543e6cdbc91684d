"""KServe's clients over REST and gRPC."""

import asyncio

import numpy as np
from common import ARRAYS, RNG, Report, arguments, awaited, multiplied, same
from grpc import insecure_channel
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as stubs
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


async def versions():
    x = RNG.standard_normal((2, 4)).astype(np.float32)
    url = f"http://127.0.0.1:{GIVEN['versions']['port']}"
    rest_client = InferenceRESTClient(RESTConfig(protocol="v2"))
    grpc_client = InferenceGRPCClient(f"127.0.0.1:{GIVEN['versions']['grpc_port']}")
    for version, want in multiplied(x).items():
        tensor = InferInput("x", [2, 4], "FP32")
        tensor.set_data_from_numpy(x, binary_data=False)
        asked = InferRequest("times", [tensor], model_version=version or None)

        async def over_grpc(asked=asked, want=want):
            return np.array_equal((await grpc_client.infer(asked)).outputs[0].as_numpy(), want)

        await awaited(report, f"grpc version {version or 'none'}", over_grpc)

    async def over_rest():  # the client puts no version into the path
        return np.array_equal((await rest_client.infer(url, asked, model_name="times")).outputs[0].as_numpy(), x * 2)

    await awaited(report, "rest version none", over_rest)
    await rest_client.close()
    await grpc_client.close()


def repository():
    """The client has no calls for it, the stubs of its protocol do."""
    with insecure_channel(f"127.0.0.1:{GIVEN['grpc_port']}") as channel:
        service = stubs.GRPCInferenceServiceStub(channel)

        def ready():
            return service.ModelReady(messages.ModelReadyRequest(name="spare_kserve")).ready

        def load():
            answer = service.RepositoryModelLoad(messages.RepositoryModelLoadRequest(model_name="spare_kserve"))
            return (answer.model_name, answer.isLoaded, ready()) == ("spare_kserve", True, True) or str(answer)

        def unload():
            answer = service.RepositoryModelUnload(messages.RepositoryModelUnloadRequest(model_name="spare_kserve"))
            return (answer.model_name, answer.isUnloaded, ready()) == ("spare_kserve", True, False) or str(answer)

        def unload_unknown():
            service.RepositoryModelUnload(messages.RepositoryModelUnloadRequest(model_name="nothing"))

        report.check("grpc load", load)
        report.check("grpc unload", unload)
        report.refused("grpc unload unknown", unload_unknown, "NOT_FOUND")


asyncio.run(rest())
asyncio.run(grpc())
asyncio.run(versions())
repository()
report.finish()
