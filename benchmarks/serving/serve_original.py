"""A plain FastAPI server as people write it: a pydantic list, two log lines a request, default threads, no batching."""

import logging
import sys

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

logging.basicConfig(level=logging.INFO, stream=sys.stderr)
logger = logging.getLogger("server")
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
shape = [1 if not isinstance(dim, int) else dim for dim in session.get_inputs()[0].shape]
app = FastAPI()


class Item(BaseModel):
    data: list[float]


@app.post("/predict")
def predict(item: Item):
    logger.info("request with %d values", len(item.data))
    (y,) = session.run(None, {"x": np.array(item.data, dtype=np.float32).reshape(shape)})
    logger.info("answered %s", y.shape)
    return {"prediction": y.tolist()}


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="info")
