"""LitServe with batching, one worker."""

import sys

import litserve
import numpy as np
import onnxruntime

MODEL, PORT, BATCH = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])


class Api(litserve.LitAPI):
    def setup(self, _device):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])
        self.shape = self.session.get_inputs()[0].shape[1:]

    def decode_request(self, request):
        return np.array(request["input"], dtype=np.float32).reshape(self.shape)

    def batch(self, inputs):
        return np.stack(inputs)

    def unbatch(self, output):
        return list(output)

    def predict(self, x):
        return self.session.run(None, {"x": x if x.ndim > len(self.shape) else x[None]})[0]

    def encode_response(self, output):
        return {"output": np.asarray(output).tolist()}


if __name__ == "__main__":
    api = Api(max_batch_size=BATCH, batch_timeout=0.001)
    litserve.LitServer(api, accelerator="cpu", workers_per_device=1).run(
        host="127.0.0.1", port=PORT, num_api_servers=1, log_level="error", generate_client_file=False
    )
