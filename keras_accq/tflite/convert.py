"""From a quantized Keras model to a certified int8 `.tflite` file.

TFLiteConverter turns the model, written as plain TensorFlow operations (`export`), into built-ins;
`conformance` holds what came out against the model, number for number; `rewrite` makes the
operators that clamp their operands and claim their accumulators; and `verify` certifies the bytes
before they are written. Whatever fails, no file is left behind.
"""

import os
import warnings
from collections.abc import Collection, Mapping
from typing import Any, Literal

import keras
import tensorflow as tf

from keras_accq.certificate import Certificate
from keras_accq.errors import ConversionError, UnsupportedModelError
from keras_accq.files import check_folder, write_atomically
from keras_accq.graph.nodes import Graph, read
from keras_accq.graph.supported import Kind, kind
from keras_accq.kerases import as_keras3
from keras_accq.layers import QuantizedWeights
from keras_accq.tflite.conformance import check_tensors, match, match_products
from keras_accq.tflite.export import ExpectedOp, Exporter
from keras_accq.tflite.islands import match_islands
from keras_accq.tflite.labels import relabel
from keras_accq.tflite.ops import quantized_ops
from keras_accq.tflite.quiet import without_chatter
from keras_accq.tflite.reader import load
from keras_accq.tflite.rewrite import Constraint, rewrite
from keras_accq.tflite.stand_ins import replace_stand_ins
from keras_accq.verify import verify

NumberType = Literal["int8", "float32"]


def convert(
    qmodel: keras.Model,
    path: str | os.PathLike[str],
    *,
    batch_size: int = 1,
    input_type: NumberType = "int8",
    output_type: NumberType = "int8",
    ops: Literal["custom", "builtin"] = "custom",
) -> Certificate:
    """Writes a quantized model as an int8 `.tflite` file and certifies the bytes written.

    Args:
        qmodel: A model that `accq.quantize` returned, with all ranges observed.
        path: Where to write. A file there is replaced only when all went well.
        batch_size: The file's batch is fixed, as a free one splits graphs between delegates.
        input_type: "float32" takes what the Keras model takes. "int8" takes the integers of the
            first quantized tensor, round(x / scale) + zero_point with the scale and zero point of
            the file's input; x is then what a Rescaling layer puts out, if the model starts with
            one.
        output_type: "float32" or "int8", with the scale and zero point of the file's output.
        ops: "custom" for keras-accq's operators, which need its delegate (`accq.Interpreter`);
            "builtin" for a file that runs anywhere, with clamps spelled out and the certificate
            as metadata.

    Returns:
        The certificate of the file, as `accq.verify(path)` would give it.

    Raises:
        BudgetError: A channel does not fit its accumulator, naming layer, channel, worst case and
            limit.
        ConversionError: The converter's file is not what the model means, naming the operator,
            the layer, and both values; or the model was changed after `accq.quantize`.
        OSError: The file can not be written.
        UnsupportedModelError: No quantized model, or inputs of unknown height and width.
        ValueError: A range never observed, weights that are not finite, or a bad argument.
    """
    _check_arguments(batch_size, input_type, output_type, ops)
    check_folder(path)
    graph = read(as_keras3(qmodel))
    check_model(graph)
    exporter = Exporter(graph, raw_inputs=input_type == "float32")
    converted = replace_stand_ins(
        load(_tflite(graph, exporter, batch_size, input_type, output_type)), exporter.ops
    )
    pairs = match(converted, exporter.ops)
    products = match_products(converted, exporter.products)
    islands = match_islands(converted, exporter.islands)
    rescales = any(kind(node.layer) is Kind.RESCALING for node in graph.nodes)
    check_tensors(
        converted,
        set(exporter.grids.values()),
        float_operators=("MUL", "ADD") if rescales and input_type == "float32" else (),
        islands=islands,
    )
    named = relabel(
        converted,
        {
            **_results(islands),
            **{op.index: layer.name for op, layer in pairs},
            **{op.index: layer.name for op, layer in products},
        },
        {name: tensor.name for name, tensor in _input_names(graph).items()},
        _output_names(graph),
    )
    layers = [layer for _, layer in pairs]
    model = rewrite(named, ops=ops, constraints=_constraints(named, layers)).model
    certificate = verify(model)
    _check_certificate(certificate, layers, {product.name for _, product in products})
    write_atomically(path, model)
    return certificate


def _check_arguments(batch_size: Any, input_type: Any, output_type: Any, ops: Any) -> None:
    if isinstance(batch_size, bool) or not isinstance(batch_size, int):
        raise TypeError(f"batch_size: expected an integer, received {batch_size!r}")
    if batch_size < 1:
        raise ValueError(f"batch_size: expected at least 1, received {batch_size}")
    for name, value in (("input_type", input_type), ("output_type", output_type)):
        if value not in ("int8", "float32"):
            raise ValueError(f"{name}: expected 'int8' or 'float32', received {value!r}")
    if ops not in ("custom", "builtin"):
        raise ValueError(f"ops: expected 'custom' or 'builtin', received {ops!r}")


def check_model(graph: Graph) -> None:
    """Refuses a model that is not quantized, or whose tensors have no fixed shapes."""
    name = graph.model.name
    if keras.backend.backend() != "tensorflow":
        raise UnsupportedModelError(
            f"conversion needs Keras's TensorFlow backend, this is {keras.backend.backend()!r}; "
            'save the model here, qmodel.save("model.keras"), and convert it in a process with '
            'KERAS_BACKEND=tensorflow: accq.convert(accq.load_model("model.keras"), path)'
        )
    if not any(isinstance(node.layer, QuantizedWeights) for node in graph.nodes):
        raise UnsupportedModelError(
            f"model {name!r} holds no quantized layer; expected what accq.quantize returns"
        )
    for node in graph.inputs:
        shape = graph.tensors[node.output].shape
        if None in shape[1:]:
            raise UnsupportedModelError(
                f"model {name!r}: input {node.name!r} has the shape {shape}; expected one that is "
                "fixed but for the batch"
            )


def _results(islands: Mapping[tuple[int, int], str]) -> dict[int, str]:
    """The layer's name by the last of its float operators, which makes its result."""
    last = {name: index for (_, index), name in islands.items()}
    return {index: name for name, index in last.items()}


def _input_names(graph: Graph) -> dict[str, Any]:
    """The inputs' Keras tensors by the signature's names, in the model's order."""
    tensors = keras.tree.flatten(graph.inputs_struct)
    return {f"input_{i}": tensor for i, tensor in enumerate(tensors)}


def _output_names(graph: Graph) -> dict[str, int]:
    """The keys of the outputs by the signature's names, in the model's order."""
    tensors = keras.tree.flatten(graph.outputs_struct)
    return {f"output_{i}": id(tensor) for i, tensor in enumerate(tensors)}


def traced(graph: Graph, exporter: Exporter, batch_size: int) -> tuple[tf.Module, Any]:
    """The model as one TensorFlow function, which fills the exporter's `ops`, and its owner."""
    inputs = _input_names(graph)
    outputs = _output_names(graph)

    def function(*tensors: Any) -> Mapping[str, Any]:
        results = exporter.trace(
            {id(s): tensor for s, tensor in zip(inputs.values(), tensors, strict=True)}
        )
        return {name: results[key] for name, key in outputs.items()}

    module = tf.Module()
    module.function = tf.function(
        function,
        input_signature=[
            tf.TensorSpec((batch_size, *tensor.shape[1:]), tf.float32, name=name)
            for name, tensor in inputs.items()
        ],
        # AutoGraph would rewrite the Python of the walk, to no use.
        autograph=False,
    )
    return module, module.function.get_concrete_function()


def _tflite(
    graph: Graph, exporter: Exporter, batch_size: int, input_type: str, output_type: str
) -> bytes:
    """The converter's file."""
    module, concrete = traced(graph, exporter, batch_size)
    with warnings.catch_warnings():
        # "Statistics for quantized inputs were expected": the fake quantizers are the statistics.
        warnings.simplefilter("ignore")
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.inference_input_type = tf.dtypes.as_dtype(input_type)
        converter.inference_output_type = tf.dtypes.as_dtype(output_type)
        try:
            with without_chatter():
                data: bytes = converter.convert()
        except Exception as error:
            raise ConversionError(f"TFLiteConverter failed: {error}") from error
    return data


def _constraints(data: bytes, layers: list[ExpectedOp]) -> dict[str, Constraint]:
    """What each operator is made for, by its output tensor; layers are in the file's order."""
    constraints = {}
    ops = [op for op in quantized_ops(load(data)) if op.reason is None]
    for op, layer in zip(ops, layers, strict=True):
        low, high = layer.input_range
        # An excluded layer claims nothing; its kernel still sums in 16 bits, with spills.
        acc_bits = layer.operands.acc_bits or 16
        constraints[op.name] = Constraint(acc_bits, layer.partition, in_min=low, in_max=high)
    return constraints


def _check_certificate(
    certificate: Certificate, layers: list[ExpectedOp], products: Collection[str]
) -> None:
    """Refuses a file that claims less than the model was trained for, or what does not hold.

    Args:
        certificate: The file's.
        layers: With weights.
        products: The names of products of two activations, which no weights bound.
    """
    for excluded in certificate.excluded:
        if excluded.name in products:
            continue
        raise ConversionError(
            f"layer {excluded.name!r} (op {excluded.index}): {excluded.op} can not be certified: "
            f"{excluded.reason}"
        )
    certificate.raise_if_broken()
    for op, layer in zip(certificate.ops, layers, strict=True):
        low, high = layer.input_range
        if op.partition != layer.partition or not low <= op.in_min <= op.in_max <= high:
            raise ConversionError(
                f"layer {layer.name!r} (op {op.index}): expected a claim for {layer.partition} on "
                f"inputs in [{low}, {high}], the file holds one for {op.partition} on "
                f"[{op.in_min}, {op.in_max}]"
            )
