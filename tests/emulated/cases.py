"""Files, inputs and the outputs of this machine's LiteRT, for another machine to compare with.

    python tests/emulated/cases.py CASES.npz

`NAME/builtin` and `NAME/custom` are the same file's bytes with built-in and with our operators,
`NAME/certificate` the text of the latter's certificate, `NAME/inputs` the inputs [case, ...],
`NAME/outputs` what stock LiteRT made of them here. The worst inputs of a channel are among them, so
that an int16 sum widened too late shows. `NAME/stock` tells whether stock LiteRT is right
everywhere: with weights of -128, which TFLite's quantization rules out, its kernels for ARM add two
products of -128 * -128 in int16 and overflow. `NAME/single` and `NAME/ours` tell whether the file
has a single layer, and whether all its arithmetic is ours once our operators are in.
"""

import sys
from pathlib import Path

import numpy as np
import tflite_models as models
from worst_case import worst_case_input

from keras_accq import rewrite, verify
from keras_accq.tflite.ops import quantized_ops
from keras_accq.tflite.reader import load

_ODD = {"input_zero": -3, "output_zero": 5}


def digits(rng: np.random.Generator) -> bytes:
    """A network of the size that recognizes 8 x 8 digits, with every kind of layer."""
    graph = models.GraphBuilder()
    image = x = graph.tensor("image", [1, 8, 8, 1], scale=1 / 16, zero_point=-128)
    shapes = ((16, 3, 3, 1), (16, 3, 3, 16), (1, 3, 3, 16), (32, 1, 1, 16), (8, 2, 2, 32))
    adds = (models.add_conv2d, models.add_conv2d, models.add_depthwise_conv2d, models.add_conv2d,
            models.add_transpose_conv)  # fmt: skip
    for i, (shape, add) in enumerate(zip(shapes, adds, strict=True)):
        channels = shape[3] if add is models.add_depthwise_conv2d else shape[0]
        numbers = {
            "name": f"layer{i}",
            "bias": rng.integers(-2000, 2000, channels),
            "weight_scale": rng.uniform(0.002, 0.01, channels),
            "output_scale": 0.1,
            "output_zero": -128,
            "activation": models.RELU,
            "stride": (2, 2) if i in (1, 4) else (1, 1),
        }
        x = add(graph, x, _bell(rng, shape), **numbers)
    x = models.add_reshape(graph, x, [1, -1])
    features = int(graph.subgraph.tensors[x].shape[1])
    scores = models.add_fully_connected(graph, x, _bell(rng, (10, features)), output_scale=0.5)
    return graph.build([image], [scores])


def _bell(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.clip(np.rint(rng.normal(size=shape) * 40), -127, 127).astype(np.int8)


def _layers(rng: np.random.Generator) -> dict[str, bytes]:
    full, one = rng.integers(-127, 128, (19, 3, 3, 21)), np.ones((17, 3, 3, 20), np.int64)
    alternating = np.where(np.arange(33 * 9 * 16).reshape(33, 3, 3, 16) % 2, -128, 127)
    wide = rng.integers(-127, 128, (40, 1, 1, 300))
    deep = rng.integers(-127, 128, (1, 3, 3, 37))
    few = {"clamp": (-8, 7), **_ODD}  # 4 bits, as are the weights
    return {
        "conv_random": models.conv2d(full, (1, 7, 9, 21), **_ODD),
        "conv_127": models.conv2d(127 * one, (1, 5, 6, 20), output_scale=12.0, padding="VALID"),
        "conv_least": models.conv2d(-128 * one, (1, 5, 6, 20), output_scale=12.0, padding="VALID"),
        "conv_alternating": models.conv2d(
            alternating, (1, 4, 7, 16), output_scale=8.0, padding="VALID"
        ),
        "conv_strided": models.conv2d(full, (2, 9, 8, 21), stride=(2, 3), **_ODD),
        "conv_dilated": models.conv2d(full, (1, 8, 9, 21), dilation=(2, 2), **_ODD),
        "conv_groups": models.conv2d(full[:18, :, :, :5], (1, 6, 6, 15), **_ODD),
        "conv_pointwise": models.conv2d(wide, (1, 5, 5, 300), output_scale=5.0, **_ODD),
        "conv_4_bits": models.conv2d(rng.integers(-7, 8, (19, 3, 3, 21)), (1, 7, 9, 21), **few),
        "conv_4_bits_7": models.conv2d(7 * one, (1, 5, 6, 20), padding="VALID", **few),
        "dense_4_bits": models.fully_connected(rng.integers(-7, 8, (10, 300)), (3, 300), **few),
        "depthwise": models.depthwise_conv2d(deep, (1, 9, 8, 37), bias=np.zeros(37), **_ODD),
        "depthwise_127": models.depthwise_conv2d(
            np.full_like(deep, 127), (1, 6, 6, 37), bias=np.zeros(37), padding="VALID"
        ),
        "depthwise_strided": models.depthwise_conv2d(
            deep, (2, 9, 9, 37), bias=np.zeros(37), stride=(2, 2), **_ODD
        ),
        "transposed": models.transpose_conv(full, (1, 4, 5, 21), stride=(2, 2), **_ODD),
        "dense": models.fully_connected(wide[:, 0, 0], (3, 300), output_scale=5.0, **_ODD),
        "residual": models.residual(rng, size=7, channels=9),
    }


def _inputs(model: bytes, rng: np.random.Generator) -> np.ndarray:
    parsed = load(model)
    graph = parsed.subgraphs[0]
    shape = tuple(graph.tensors[graph.inputs[0]].shape)
    inputs = [rng.integers(-128, 128, shape).astype(np.int8) for _ in range(2)]
    inputs += [np.full(shape, value, np.int8) for value in (-128, 127)]
    ops = quantized_ops(parsed)
    single = len(ops) == 1 and ops[0].kind != "transpose_conv"
    if single and (ops[0].kind == "fully_connected" or ops[0].padding == "VALID"):
        inputs += [worst_case_input(ops[0], 0, shape, sign=sign) for sign in (1, -1)]
    return np.stack(inputs)


def write(path: Path) -> None:
    """Writes all cases to an .npz file."""
    rng = np.random.default_rng(20)
    arrays = {}
    for name, builtin in {"digits": digits(rng), **_layers(rng)}.items():
        report = rewrite(builtin)
        assert report.taken, f"{name}: {report}"
        inputs = _inputs(builtin, rng)
        arrays[f"{name}/builtin"] = np.frombuffer(builtin, np.uint8)
        arrays[f"{name}/custom"] = np.frombuffer(report.model, np.uint8)
        text = str(verify(report.model)).encode()
        arrays[f"{name}/certificate"] = np.frombuffer(text, np.uint8)
        arrays[f"{name}/inputs"] = inputs
        arrays[f"{name}/outputs"] = np.stack([models.run(builtin, x)[0] for x in inputs])
        layers = quantized_ops(load(builtin))
        others = {op.name for op in load(report.model).operators() if not op.custom}
        arrays[f"{name}/single"] = np.bool_(len(layers) == 1)
        arrays[f"{name}/ours"] = np.bool_(others <= {"RESHAPE"})
        least = min(int(op.weights().min()) for op in layers)
        arrays[f"{name}/stock"] = np.bool_(least > -128)
        spread = np.unique(arrays[f"{name}/outputs"]).size
        assert spread > 15, f"{name}: only {spread} different outputs, which would hide much"
    np.savez(path, **arrays)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
