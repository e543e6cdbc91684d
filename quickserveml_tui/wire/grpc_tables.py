"""Fields of the messages of `inference.GRPCInferenceService` with Triton's extensions: the parts that are used here."""

from __future__ import annotations

from collections.abc import Sequence

from quickserveml_tui.wire.grpc_schema import Row, Table

PACKAGE = "inference"
SERVICE = "inference.GRPCInferenceService"

_NAMED = (("name", 1, "string"), ("version", 2, "string"))
_PARAMETERS = ("parameters", 4, "InferParameter{}")
_CHOICE = "parameter_choice"

_HEALTH: dict[str, Sequence[Row]] = {
    "ServerLiveRequest": (),
    "ServerLiveResponse": (("live", 1, "bool"),),
    "ServerReadyRequest": (),
    "ServerReadyResponse": (("ready", 1, "bool"),),
    "ModelReadyRequest": _NAMED,
    "ModelReadyResponse": (("ready", 1, "bool"),),
}

_METADATA: dict[str, Sequence[Row]] = {
    "ServerMetadataRequest": (),
    "ServerMetadataResponse": (*_NAMED, ("extensions", 3, "string*")),
    "ModelMetadataRequest": _NAMED,
    "ModelMetadataResponse": (
        ("name", 1, "string"),
        ("versions", 2, "string*"),
        ("platform", 3, "string"),
        ("inputs", 4, "ModelMetadataResponse.TensorMetadata*"),
        ("outputs", 5, "ModelMetadataResponse.TensorMetadata*"),
    ),
    "ModelMetadataResponse.TensorMetadata": (
        ("name", 1, "string"),
        ("datatype", 2, "string"),
        ("shape", 3, "int64*"),
    ),
}

_INFERENCE: dict[str, Sequence[Row]] = {
    "InferParameter": (
        ("bool_param", 1, "bool", _CHOICE),
        ("int64_param", 2, "int64", _CHOICE),
        ("string_param", 3, "string", _CHOICE),
        ("double_param", 4, "double", _CHOICE),
        ("uint64_param", 5, "uint64", _CHOICE),
    ),
    "InferTensorContents": (
        ("bool_contents", 1, "bool*"),
        ("int_contents", 2, "int32*"),
        ("int64_contents", 3, "int64*"),
        ("uint_contents", 4, "uint32*"),
        ("uint64_contents", 5, "uint64*"),
        ("fp32_contents", 6, "float*"),
        ("fp64_contents", 7, "double*"),
        ("bytes_contents", 8, "bytes*"),
    ),
    "ModelInferRequest": (
        ("model_name", 1, "string"),
        ("model_version", 2, "string"),
        ("id", 3, "string"),
        _PARAMETERS,
        ("inputs", 5, "ModelInferRequest.InferInputTensor*"),
        ("outputs", 6, "ModelInferRequest.InferRequestedOutputTensor*"),
        ("raw_input_contents", 7, "bytes*"),
    ),
    "ModelInferRequest.InferInputTensor": (
        ("name", 1, "string"),
        ("datatype", 2, "string"),
        ("shape", 3, "int64*"),
        _PARAMETERS,
        ("contents", 5, "InferTensorContents"),
    ),
    "ModelInferRequest.InferRequestedOutputTensor": (
        ("name", 1, "string"),
        ("parameters", 2, "InferParameter{}"),
    ),
    "ModelInferResponse": (
        ("model_name", 1, "string"),
        ("model_version", 2, "string"),
        ("id", 3, "string"),
        _PARAMETERS,
        ("outputs", 5, "ModelInferResponse.InferOutputTensor*"),
        ("raw_output_contents", 6, "bytes*"),
    ),
    "ModelInferResponse.InferOutputTensor": (
        ("name", 1, "string"),
        ("datatype", 2, "string"),
        ("shape", 3, "int64*"),
        _PARAMETERS,
        ("contents", 5, "InferTensorContents"),
    ),
    "ModelStreamInferResponse": (
        ("error_message", 1, "string"),
        ("infer_response", 2, "ModelInferResponse"),
    ),
}

_CONFIGURATION: dict[str, Sequence[Row]] = {
    "ModelConfigRequest": _NAMED,
    "ModelConfigResponse": (("config", 1, "ModelConfig"),),
    "ModelConfig": (
        ("name", 1, "string"),
        ("platform", 2, "string"),
        ("max_batch_size", 4, "int32"),
        ("input", 5, "ModelInput*"),
        ("output", 6, "ModelOutput*"),
        ("dynamic_batching", 11, "ModelDynamicBatching", "scheduling_choice"),
        ("backend", 17, "string"),
        ("model_transaction_policy", 19, "ModelTransactionPolicy"),
        ("response_cache", 24, "ModelResponseCache"),
    ),
    "ModelInput": (
        ("name", 1, "string"),
        ("data_type", 2, "DataType"),
        ("dims", 4, "int64*"),
    ),
    "ModelOutput": (
        ("name", 1, "string"),
        ("data_type", 2, "DataType"),
        ("dims", 3, "int64*"),
    ),
    "ModelDynamicBatching": (
        ("preferred_batch_size", 1, "int32*"),
        ("max_queue_delay_microseconds", 2, "uint64"),
    ),
    "ModelTransactionPolicy": (("decoupled", 1, "bool"),),
    "ModelResponseCache": (("enable", 1, "bool"),),
}

_STATISTICS: dict[str, Sequence[Row]] = {
    "ModelStatisticsRequest": _NAMED,
    "StatisticDuration": (("count", 1, "uint64"), ("ns", 2, "uint64")),
    "InferStatistics": (
        ("success", 1, "StatisticDuration"),
        ("fail", 2, "StatisticDuration"),
        ("queue", 3, "StatisticDuration"),
        ("compute_input", 4, "StatisticDuration"),
        ("compute_infer", 5, "StatisticDuration"),
        ("compute_output", 6, "StatisticDuration"),
        ("cache_hit", 7, "StatisticDuration"),
        ("cache_miss", 8, "StatisticDuration"),
    ),
    "InferBatchStatistics": (
        ("batch_size", 1, "uint64"),
        ("compute_input", 2, "StatisticDuration"),
        ("compute_infer", 3, "StatisticDuration"),
        ("compute_output", 4, "StatisticDuration"),
    ),
    "MemoryUsage": (("type", 1, "string"), ("id", 2, "int64"), ("byte_size", 3, "uint64")),
    "ModelStatistics": (
        ("name", 1, "string"),
        ("version", 2, "string"),
        ("last_inference", 3, "uint64"),
        ("inference_count", 4, "uint64"),
        ("execution_count", 5, "uint64"),
        ("inference_stats", 6, "InferStatistics"),
        ("batch_stats", 7, "InferBatchStatistics*"),
        ("memory_usage", 8, "MemoryUsage*"),
    ),
    "ModelStatisticsResponse": (("model_stats", 1, "ModelStatistics*"),),
}

# The fields of the answers to load and unload are KServe's: Triton's answers are empty, and its clients skip them.
_REPOSITORY: dict[str, Sequence[Row]] = {
    "ModelRepositoryParameter": (
        ("bool_param", 1, "bool", _CHOICE),
        ("int64_param", 2, "int64", _CHOICE),
        ("string_param", 3, "string", _CHOICE),
        ("bytes_param", 4, "bytes", _CHOICE),
    ),
    "RepositoryIndexRequest": (("repository_name", 1, "string"), ("ready", 2, "bool")),
    "RepositoryIndexResponse": (("models", 1, "RepositoryIndexResponse.ModelIndex*"),),
    "RepositoryIndexResponse.ModelIndex": (
        ("name", 1, "string"),
        ("version", 2, "string"),
        ("state", 3, "string"),
        ("reason", 4, "string"),
    ),
    "RepositoryModelLoadRequest": (
        ("repository_name", 1, "string"),
        ("model_name", 2, "string"),
        ("parameters", 3, "ModelRepositoryParameter{}"),
    ),
    "RepositoryModelLoadResponse": (("model_name", 1, "string"), ("isLoaded", 2, "bool")),
    "RepositoryModelUnloadRequest": (
        ("repository_name", 1, "string"),
        ("model_name", 2, "string"),
        ("parameters", 3, "ModelRepositoryParameter{}"),
    ),
    "RepositoryModelUnloadResponse": (("model_name", 1, "string"), ("isUnloaded", 2, "bool")),
}

MESSAGES: Table = _HEALTH | _METADATA | _INFERENCE | _CONFIGURATION | _STATISTICS | _REPOSITORY

ENUMS: dict[str, tuple[str, ...]] = {
    "DataType": tuple(
        f"TYPE_{name}"
        for name in (
            "INVALID",
            "BOOL",
            "UINT8",
            "UINT16",
            "UINT32",
            "UINT64",
            "INT8",
            "INT16",
            "INT32",
            "INT64",
            "FP16",
            "FP32",
            "FP64",
            "STRING",
            "BF16",
        )
    )
}
"""Values from 0 on."""
