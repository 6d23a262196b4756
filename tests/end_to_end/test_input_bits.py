"""Operands of every width: their grids in the file, and the values that reach the sums."""

import numpy as np
import pytest

import keras_accq as accq


def _model():
    import keras

    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 2), name="image"),
            keras.layers.Conv2D(6, 3, padding="same", activation="relu", name="first"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(6, 3, padding="same", name="second"),
            keras.layers.GlobalAveragePooling2D(name="mean"),
            keras.layers.Dense(4, name="last"),
        ]
    )


_QUICK = (2, 4)


@pytest.mark.parametrize(
    "bits", [b if b in _QUICK else pytest.param(b, marks=pytest.mark.slow) for b in range(2, 9)]
)
def test_grids_and_values_of_operands(bits: int, tmp_path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    from keras_accq.tflite.ops import quantized_ops
    from keras_accq.tflite.reader import load

    data = np.random.default_rng(0).normal(size=(64, 8, 8, 2)).astype(np.float32)
    qmodel = accq.quantize(_model(), 16, input_bits=bits, calibration_data=data)
    path = tmp_path / "model.tflite"
    accq.convert(qmodel, path, ops="builtin")
    interpreter = Interpreter(model_path=str(path), experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]
    scale, zero_point = entry["quantization"]
    found: dict[str, set[int]] = {}
    ops = quantized_ops(load(path))
    for image in data:
        integers = np.clip(np.rint(image / scale) + zero_point, -128, 127).astype(np.int8)
        interpreter.set_tensor(entry["index"], integers[None])
        interpreter.invoke()
        for op in ops:
            values = np.unique(interpreter.get_tensor(op.input))
            found.setdefault(op.name.split("/")[0], set()).update(values.tolist())
    sources = {"first": "image", "second": "first", "last": "mean"}
    half = 2 ** (bits - 1)
    for op in ops:
        name = op.name.split("/")[0]
        quantizer = qmodel.get_layer(f"{sources[name]}_quantizer")
        wanted_scale, wanted_zero_point = quantizer.quantization()
        # The converter takes a float range and gives the scale back, at most an ulp away.
        assert abs(op.s_x / float(wanted_scale) - 1) < 2.5e-7
        assert op.z_x == wanted_zero_point
        values = found[name]
        assert min(values) >= -half
        assert max(values) <= half - 1
        # The clamp does not do more than it must: the narrow range is used.
        assert len(values) > (0.7 if name == "first" else 0.3) * 2 * half
    second = next(op for op in ops if op.name == "second")
    assert second.z_x == -half  # After a ReLU all values serve.
    assert max(found["second"]) >= 0.85 * half - 1
    assert min(found["second"]) == -half


def test_the_clamp_belongs_to_the_consumer_and_not_to_the_sum(tmp_path) -> None:
    """A residual Add reads the whole int8 tensor of which a convolution reads N bits."""
    import keras
    from ai_edge_litert.interpreter import Interpreter

    from keras_accq.tflite.reader import load

    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 4))
    x = keras.layers.Conv2D(4, 1, activation="relu", name="before")(inputs)
    y = keras.layers.Conv2D(4, 3, padding="same", name="inside")(x)
    model = keras.Model(inputs, keras.layers.Add()([x, y]))
    data = np.random.default_rng(0).normal(size=(64, 6, 6, 4)).astype(np.float32)
    qmodel = accq.quantize(
        model, 16, calibration_data=data, overrides={"inside": {"input_bits": 3}}
    )
    path = tmp_path / "model.tflite"
    accq.convert(qmodel, path, ops="builtin")
    graph = load(path).subgraphs[0]
    (add,) = (op for op in graph.operators if op.name == "ADD")
    (inside,) = (
        op
        for op in graph.operators
        if op.name == "CONV_2D" and graph.tensors[op.outputs[0]].name.startswith("inside")
    )
    (before,) = (t.index for t in graph.tensors if t.name == "before")
    assert before in add.inputs
    interpreter = Interpreter(model_path=str(path), experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    random = np.random.default_rng(1)
    whole, clamped = set(), set()
    for _ in range(20):
        integers = random.integers(-128, 128, (1, 6, 6, 4), dtype=np.int8)
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], integers)
        interpreter.invoke()
        whole |= set(np.unique(interpreter.get_tensor(before)).tolist())
        clamped |= set(np.unique(interpreter.get_tensor(inside.inputs[0])).tolist())
    assert clamped <= set(range(-4, 4))
    assert max(whole) > 3
