"""Conversion refuses what is not what the model means, and leaves no file behind."""

import os

import numpy as np
import pytest

import keras_accq as accq


def _model(**first):
    import keras

    return keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            keras.layers.Conv2D(8, 3, name="first", **first),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.ReLU(),
            keras.layers.Conv2D(4, 3, name="second"),
            keras.layers.Flatten(),
            keras.layers.Dense(3, name="last"),
        ]
    )


def _data(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(32, 6, 6, 3)).astype(np.float32)


def _quantized(acc_bits: int = 16, **settings):
    import keras

    keras.utils.set_random_seed(0)
    return accq.quantize(_model(), acc_bits, calibration_data=_data(), **settings)


@pytest.fixture(scope="module")
def qmodel():
    return _quantized()


@pytest.fixture
def path(tmp_path):
    """Where to convert to; at the end of the test no other file may be there."""
    yield tmp_path / "model.tflite"
    assert [p.name for p in tmp_path.iterdir()] in ([], ["model.tflite"])


def _tampered(monkeypatch, change) -> None:
    """Lets `change` at the converter's file (its flatbuffer tree) before it is looked at."""
    from keras_accq.tflite import convert
    from keras_accq.tflite.flat import serialize
    from keras_accq.tflite.reader import load

    honest = convert._tflite

    def tampered(*args):
        model = load(honest(*args))
        change(model.tree, model.subgraphs[0])
        return serialize(model.tree)

    monkeypatch.setattr(convert, "_tflite", tampered)


def _tensor(tree, graph, operator: int, place: int):
    return tree["subgraphs"][0]["tensors"][graph.operators[operator].inputs[place]]


def test_a_channel_that_does_not_fit_is_named(qmodel, path, monkeypatch) -> None:
    layer = qmodel.get_layer("second")
    q, scales = layer.quantized_kernel()
    q = q.copy()
    q[..., 2] = 1
    q[0, 0, :, 2] = 127
    limit = 2**15 - 1
    worst = np.abs(q[..., 2].astype(int)).sum() * 2 ** (layer.operands.input_bits - 1)
    while worst <= limit:
        q[0, 1, :, 2] = q[1, 0, :, 2] = q[1, 1, :, 2] = 127
        worst = np.abs(q[..., 2].astype(int)).sum() * 2 ** (layer.operands.input_bits - 1)
    monkeypatch.setattr(layer, "quantized_kernel", lambda: (q, scales))
    with pytest.raises(accq.BudgetError, match=rf"second.*channel 2 needs {worst}, limit {limit}"):
        accq.convert(qmodel, path)
    assert not path.exists()


def test_a_changed_weight_is_found(qmodel, path, monkeypatch) -> None:
    def change(tree, graph):
        buffer = tree["buffers"][_tensor(tree, graph, 1, 1)["buffer"]]
        data = buffer["data"].copy()
        data[0] += 1
        buffer["data"] = data

    _tampered(monkeypatch, change)
    with pytest.raises(
        accq.ConversionError, match=r"operator 1 .*'second': channel 0, weight 0: expected .* came"
    ):
        accq.convert(qmodel, path)


@pytest.mark.parametrize("place", [0, 1])
def test_a_changed_scale_is_found(qmodel, path, monkeypatch, place: int) -> None:
    def change(tree, graph):
        quantization = _tensor(tree, graph, 1, place)["quantization"]
        scale = quantization["scale"].copy()
        scale[0] = np.nextafter(scale[0], np.float32(1))
        quantization["scale"] = scale

    _tampered(monkeypatch, change)
    with pytest.raises(accq.ConversionError, match=r"layer 'second'.*expected .*came"):
        accq.convert(qmodel, path)


def test_a_changed_zero_point_is_found(qmodel, path, monkeypatch) -> None:
    def change(tree, graph):
        _tensor(tree, graph, 1, 0)["quantization"]["zero_point"] = np.array([5])

    _tampered(monkeypatch, change)
    with pytest.raises(accq.ConversionError, match=r"zero_point=5"):
        accq.convert(qmodel, path)


def test_a_changed_bias_is_found(qmodel, path, monkeypatch) -> None:
    def change(tree, graph):
        buffer = tree["buffers"][_tensor(tree, graph, 0, 2)["buffer"]]
        buffer["data"] = (buffer["data"].view("<i4") + 1).view(np.uint8)

    _tampered(monkeypatch, change)
    with pytest.raises(accq.ConversionError, match=r"'first': channel \d+: expected the bias"):
        accq.convert(qmodel, path)


def test_a_changed_output_grid_is_found(qmodel, path, monkeypatch) -> None:
    def change(tree, graph):
        tensor = tree["subgraphs"][0]["tensors"][graph.outputs[0]]
        tensor["quantization"]["scale"] = tensor["quantization"]["scale"] * np.float32(2)

    _tampered(monkeypatch, change)
    with pytest.raises(accq.ConversionError, match=r"which is no tensor's of the model"):
        accq.convert(qmodel, path)


def test_float_layers_inside_are_found(qmodel, path, monkeypatch) -> None:
    """A converter that did not quantize."""
    import tensorflow as tf

    honest = tf.lite.TFLiteConverter.from_concrete_functions

    def unoptimized(*args, **kwargs):
        converter = honest(*args, **kwargs)

        class Float:
            def convert(self):
                converter.optimizations = []
                return converter.convert()

        return Float()

    monkeypatch.setattr(tf.lite.TFLiteConverter, "from_concrete_functions", unoptimized)
    with pytest.raises(accq.ConversionError, match="FLOAT32"):
        accq.convert(qmodel, path)


def test_an_unexplained_change_of_grid_is_found(qmodel, path, monkeypatch) -> None:
    from keras_accq.tflite import emit, export
    from keras_accq.tflite.emit import Grid

    honest, calls = emit.fake_quantize, []

    def twice_at_first(x, grid):
        calls.append(grid)
        other = Grid.of(grid.scale * 1.5, grid.zero_point)
        return honest(honest(x, other) if len(calls) == 1 else x, grid)

    monkeypatch.setattr(export.emit, "fake_quantize", twice_at_first)
    # The converter writes a DEQUANTIZE and a QUANTIZE for it.
    with pytest.raises(accq.ConversionError, match=r"operator 0 \(DEQUANTIZE\).*no tensor's"):
        accq.convert(qmodel, path)


def test_a_range_never_observed_names_the_tensor(path) -> None:
    unobserved = accq.quantize(_model(), 16)
    with pytest.raises(ValueError, match=r"_quantizer: no range was ever observed"):
        accq.convert(unobserved, path)


def test_nan_is_refused_where_it_is(path) -> None:
    broken = _quantized()
    mean = broken.get_layer("norm").moving_mean
    mean.assign(np.full(mean.shape, np.nan))
    with pytest.raises(ValueError, match=r"'norm': expected finite weights, 'moving_mean'"):
        accq.convert(broken, path)
    broken = _quantized()
    broken.get_layer("last").bias.assign([0, np.inf, 0])
    with pytest.raises(ValueError, match=r"'last': expected finite weights, 'bias'"):
        accq.convert(broken, path)


def test_a_bias_beyond_int32_names_the_channel(path) -> None:
    broken = _quantized()
    broken.get_layer("last").bias.assign([0, 1e12, 0])
    with pytest.raises(accq.ConversionError, match=r"'last', channel 1: the bias .* 32 bits"):
        accq.convert(broken, path)


def test_excluded_layers_are_claimed_by_nobody(path) -> None:
    certificate = accq.convert(_quantized(exclude="first_last"), path)
    by_name = {op.name: op for op in certificate.ops}
    assert str(by_name["second"].partition) == "monolithic"
    for name in ("first", "last"):
        assert by_name[name].partition is None
        assert (by_name[name].in_min, by_name[name].in_max) == (-128, 127)
    assert "P = 16 monolithic: 1 of 3 ops" in certificate.verdict
    assert "lossless: 16-bit with spill schedules, 2 of 3 ops" in certificate.verdict


@pytest.mark.parametrize("ops", ["custom", "builtin"])
def test_a_tile_reaches_the_certificate(path, ops: str) -> None:
    certificate = accq.convert(_quantized(14, tile=16), path, ops=ops)
    assert certificate.verdict == "P = 14, tile=16: all 3 ops"
    assert certificate == accq.verify(path)


def test_batch_size_is_fixed_in_the_file(qmodel, path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    accq.convert(qmodel, path, ops="builtin", batch_size=4)
    interpreter = Interpreter(model_path=str(path))
    assert list(interpreter.get_input_details()[0]["shape"]) == [4, 6, 6, 3]
    assert list(interpreter.get_output_details()[0]["shape"]) == [4, 3]


def test_tensors_carry_keras_names(qmodel, path) -> None:
    from keras_accq.tflite.reader import load

    accq.convert(qmodel, path)
    graph = load(path).subgraphs[0]
    assert [graph.tensors[t].name for t in graph.inputs] == [qmodel.inputs[0].name]
    assert {"first", "second", "last"} <= {tensor.name for tensor in graph.tensors}


def test_refuses_bad_arguments(qmodel, path) -> None:
    for bad in ({"batch_size": 0}, {"input_type": "uint8"}, {"output_type": None}, {"ops": "all"}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            accq.convert(qmodel, path, **bad)
    with pytest.raises(TypeError, match="batch_size"):
        accq.convert(qmodel, path, batch_size=True)
    with pytest.raises(accq.UnsupportedModelError, match=r"accq\.quantize"):
        accq.convert(_model(), path)


def test_unknown_image_sizes_are_refused(path) -> None:
    import keras

    inputs = keras.Input((None, None, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(inputs))
    model = accq.quantize(keras.Model(inputs, x), 16, calibration_data=_data())
    with pytest.raises(accq.UnsupportedModelError, match=r"None.*fixed but for the batch"):
        accq.convert(model, path)


def test_a_missing_folder_and_a_read_only_one(qmodel, tmp_path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        accq.convert(qmodel, tmp_path / "nowhere" / "model.tflite")
    # Nobody makes files here, not even root.
    with pytest.raises(OSError, match="/proc/model"):
        accq.convert(qmodel, "/proc/model.tflite")
    if os.geteuid() == 0:
        return
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(PermissionError):
        accq.convert(qmodel, folder / "model.tflite")
    assert not list(folder.iterdir())


def test_a_full_disk_leaves_the_old_file(qmodel, path) -> None:
    import resource
    import signal

    path.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    from keras_accq.tflite import convert

    honest = convert.write_atomically

    def on_a_full_disk(*args):
        # Only around the write: the converter has temporary files of its own.
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            honest(*args)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convert, "write_atomically", on_a_full_disk)
        with pytest.raises(OSError, match="large"):
            accq.convert(qmodel, path)
    signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"old"


def test_a_missing_folder_is_found_before_the_work(tmp_path, monkeypatch):
    from keras_accq.tflite import convert

    monkeypatch.setattr(convert, "_tflite", None)  # What takes the time.
    with pytest.raises(FileNotFoundError, match="no such folder"):
        accq.convert(_quantized(), tmp_path / "nowhere" / "model.tflite")


def test_a_range_that_the_converter_would_widen_is_named(tmp_path):
    model = _model()
    model.set_weights([1e-9 * values for values in model.get_weights()])
    qmodel = accq.quantize(model, calibration_data=_data())
    with pytest.raises(accq.ConversionError, match=r"its 8-bit grid spans .* been trained\?"):
        accq.convert(qmodel, tmp_path / "model.tflite")
    assert not list(tmp_path.iterdir())
