"""Writing a `.tflite` file's integers for other back ends: FPGA flows, microcontrollers, tests."""

import hashlib
import io
import json
import os
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_accq import __version__
from keras_accq.bounds import worst_case
from keras_accq.certificate import OpCertificate
from keras_accq.errors import UnsupportedModelError
from keras_accq.files import write_atomically
from keras_accq.integers.model import (
    FORMAT,
    VERSION,
    Accumulator,
    Cells,
    IntegerLayer,
    IntegerModel,
    IntegerTensor,
    OtherStep,
    pair,
)
from keras_accq.products import summed_bias
from keras_accq.reference import activation_limits
from keras_accq.tflite.ops import QuantizedOp, quantized_ops
from keras_accq.tflite.profile import profile
from keras_accq.tflite.reader import Model, Operator, Subgraph, load
from keras_accq.tflite.rewrite import rewrite
from keras_accq.verify import verify

Arrays = dict[str, NDArray[Any]]

# What a layer's record takes over from the operator as it is.
_SAME = (
    *("index", "name", "kind", "input", "output", "channels", "in_min", "in_max", "padding"),
    *("filter_h", "filter_w", "stride_h", "stride_w", "dilation_h", "dilation_w"),
    *("groups", "depth_multiplier"),
)


def export_integers(
    source: bytes | bytearray | memoryview | str | os.PathLike[str],
    path: str | os.PathLike[str],
) -> IntegerModel:
    """Writes a file's integer weights, scales, accumulators and certificate as `.npz` and JSON.

    docs/integers.md describes both. Clamps of built-in files become the ranges of the layers that
    they belong to, as `accq.rewrite` has them.

    Args:
        source: The bytes or the path of a `.tflite` file, of built-ins or of our operators.
        path: Of the `.npz`; the `.json` is written beside it.

    Returns:
        What was written, as `accq.load_integers(path)` reads it.

    Raises:
        InvalidFileError: Not a sound `.tflite` file.
        OSError: A file can not be read or written.
        UnsupportedModelError: A dot product that can not be taken (all are listed), or a file with
            more than one graph.
        ValueError: The path does not end in .npz.
    """
    arrays_path, json_path = pair(path)
    given = load(source)
    model = load(rewrite(given.data).model)
    ops = quantized_ops(model)
    refused = [f"{op}: {op.reason}" for op in ops if op.reason is not None]
    if len(model.subgraphs) != 1:
        refused.append(f"{len(model.subgraphs)} graphs; expected one")
    if refused:
        raise UnsupportedModelError("\n".join(["integers can not be exported:", *refused]))
    graph = model.subgraphs[0]
    arrays: Arrays = {}
    layers = _layers(model, ops, arrays)
    steps = _steps(graph, {op.index for op in ops}, arrays)
    data = _npz(arrays)
    result = IntegerModel(
        package_version=__version__,
        source_sha256=hashlib.sha256(given.data).hexdigest(),
        arrays_sha256=hashlib.sha256(data).hexdigest(),
        inputs=graph.inputs,
        outputs=graph.outputs,
        tensors=_tensors(graph),
        layers=layers,
        steps=steps,
        certificate=json.loads(verify(given.data).to_json()),
        arrays=arrays,
    )
    record = {key: value for key, value in asdict(result).items() if key != "arrays"}
    document = {"format": FORMAT, "version": VERSION, **record}
    # The JSON last: it names the arrays by their hash, so that a pair is whole or refused.
    write_atomically(arrays_path, data)
    write_atomically(json_path, f"{json.dumps(document, indent=1)}\n".encode())
    return result


def _npz(arrays: Arrays) -> bytes:
    file = io.BytesIO()
    # Without a file's name NumPy leaves out the time: equal arrays give equal bytes.
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def _tensors(graph: Subgraph) -> tuple[IntegerTensor, ...]:
    fed = {*graph.inputs, *graph.outputs, *graph.producers}
    return tuple(
        IntegerTensor(tensor.index, tensor.name, tensor.shape, tensor.type, *_grid(tensor))
        for tensor in graph.tensors
        if tensor.index in fed
    )


def _grid(tensor: Any) -> tuple[float | None, int | None]:
    quantization = tensor.quantization
    if quantization is None or quantization.details or quantization.scale.size != 1:
        return None, None
    return float(quantization.scale[0]), int(quantization.zero_point[0])


def _layers(model: Model, ops: list[QuantizedOp], arrays: Arrays) -> tuple[IntegerLayer, ...]:
    figures = {layer.index: layer for layer in profile(model)}
    certificates = {op.index: op for op in verify(model.data).ops}
    layers = []
    for op in ops:
        _put_arrays(op, model.subgraphs[0], arrays)
        low, high = activation_limits(op.activation, op.s_y, op.z_y)
        layers.append(
            IntegerLayer(
                **{key: getattr(op, key) for key in _SAME},
                k=op.weights().shape[1],
                out_min=max(low, op.out_min),
                out_max=min(high, op.out_max),
                weight_bits=figures[op.index].weight_bits,
                input_bits=figures[op.index].input_bits,
                accumulator=_accumulator(certificates[op.index]),
            )
        )
    return tuple(layers)


def _put_arrays(op: QuantizedOp, graph: Subgraph, arrays: Arrays) -> None:
    mantissas, exponents = np.frexp(op.multiplier)
    case = worst_case(op.weights(), op.in_min, op.in_max)
    bias = np.zeros(op.channels, np.int32) if op.bias is None else op.bias
    for name, values in {
        "weights": graph.tensors[op.weights_tensor].array(),
        "bias": bias.astype(np.int32),
        "summed_bias": summed_bias(op),
        "weight_scales": op.s_w.astype(np.float32),
        "multipliers": op.multiplier,
        # m = multiplier_integers * 2^multiplier_exponents, exactly: a float32 has 24 bits.
        "multiplier_integers": (mantissas * 2**24).astype(np.int32),
        "multiplier_exponents": (exponents - 24).astype(np.int32),
        "worst_case": case,
        "least_acc_bits": np.array([max(2, int(c).bit_length() + 1) for c in case], np.int32),
    }.items():
        arrays[f"{op.index}/{name}"] = values


def _accumulator(op: OpCertificate) -> Accumulator:
    cells = None if op.partition is None else Cells(op.partition.kind, op.partition.size)
    return Accumulator(
        acc_bits=op.acc_bits,
        cells=cells,
        limit=op.limit,
        worst_case=max(op.worst_case),
        fits=op.fits,
        least_acc_bits=op.least_acc_bits,
        largest_safe_tile=op.largest_safe_tile,
    )


def _steps(graph: Subgraph, taken: set[int], arrays: Arrays) -> tuple[OtherStep, ...]:
    steps = []
    for op in graph.operators:
        if op.index in taken:
            continue
        steps.append(OtherStep(op.index, op.name, op.inputs, op.outputs, _options(op)))
        for index in op.inputs:
            tensor = None if index < 0 else graph.tensors[index]
            if tensor is not None and tensor.raw is not None:
                arrays[f"tensor/{index}"] = tensor.array()
    return tuple(steps)


def _options(op: Operator) -> dict[str, Any]:
    """Options that are numbers, and vectors of them."""
    return {
        key: value.tolist() if isinstance(value, np.ndarray) else value
        for key, value in op.options.items()
        if isinstance(value, bool | int | float | np.ndarray)
    }
