"""Sparse tensors as the runtime holds them."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort

from quickserveml_tui.core.errors import DataError
from quickserveml_tui.core.values import SparseValue
from quickserveml_tui.runtime.sparse_forms import coordinates, linear_positions


def to_ort_sparse(value: SparseValue) -> ort.OrtValue:
    """The sparse tensor as the runtime's own, in coordinate form.

    Operators on matrices want an index of two columns; for other ranks the runtime takes only positions in the
    flattened tensor.
    """
    indices = np.ascontiguousarray(value.indices, dtype=np.int64)
    if len(value.shape) != 2:
        indices = linear_positions(value)
    made = ort.SparseTensor.sparse_coo_from_numpy(
        list(value.shape), np.ascontiguousarray(value.values), indices, ort.OrtDevice.make("cpu", 0)
    )
    return ort.OrtValue.ort_value_from_sparse_tensor(made)


def from_ort_sparse(tensor: ort.SparseTensor) -> SparseValue:
    """The runtime's sparse tensor in coordinate form, copied. Raises `DataError` for block-sparse ones."""
    shape = tuple(int(size) for size in tensor.dense_shape())
    values = np.array(tensor.values())
    form = tensor.format()
    if form == ort.OrtSparseFormat.ORT_SPARSE_COO:
        indices = np.array(tensor.as_coo_view().indices(), dtype=np.int64)
        if indices.ndim == 1:
            indices = coordinates(indices, shape)
        return SparseValue(values, indices.reshape(len(values), len(shape)), shape)
    if form == ort.OrtSparseFormat.ORT_SPARSE_CSRC:
        view = tensor.as_csrc_view()
        outer = np.array(view.outer(), dtype=np.int64)
        rows = np.repeat(np.arange(len(outer) - 1), np.diff(outer))
        return SparseValue(values, np.stack([rows, np.array(view.inner(), dtype=np.int64)], axis=1), shape)
    raise DataError(
        "An output is a sparse tensor in a form that Python cannot read.",
        hint="Make it dense in the model.",
        code="data.sparse_form",
    )
