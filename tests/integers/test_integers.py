"""Exported integers: what is written, and the NumPy reference against LiteRT, byte for byte."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tflite_models as models
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transposed_layers import transposed_layers

import keras_accq as accq
from keras_accq.tflite import options
from keras_accq.tflite.fuse import Constraint

RNG = np.random.default_rng(0)


def _chain(rng, zero=-4):
    """Convolutions of three kinds, pooling, reshaping and a dense layer."""
    graph = models.GraphBuilder()

    def arithmetic(channels, scale):
        return {
            "bias": rng.integers(-300, 300, channels),
            "weight_scale": rng.uniform(0.005, 0.02, channels),
            "output_scale": scale,
            "output_zero": int(rng.integers(-30, 31)),  # inside of the clamps below
            "activation": int(rng.integers(0, 4)),
        }

    x = graph.tensor("input", [2, 9, 8, 4], scale=0.05, zero_point=zero)
    y = models.add_conv2d(
        graph, x, rng.integers(-9, 10, (6, 3, 3, 2)), name="grouped", **arithmetic(6, 0.04)
    )
    y = models.add_depthwise_conv2d(
        graph,
        y,
        rng.integers(-9, 10, (1, 3, 2, 12)),
        name="depthwise",
        dilation=(1, 2),
        **arithmetic(12, 0.02),
    )
    n, h, w, c = graph.subgraph.tensors[y].shape
    quantization = graph.subgraph.tensors[y].quantization
    pooled = graph.tensor(
        "pool",
        [n, -(-h // 2), -(-w // 2), c],
        scale=quantization.scale,
        zero_point=quantization.zeroPoint,
    )
    pool = models.schema.Pool2DOptionsT(
        padding=0, strideW=2, strideH=2, filterWidth=3, filterHeight=3
    )
    graph.op(models.Op.MAX_POOL_2D, [y], [pooled], options=pool, version=2)
    y = models.add_reshape(graph, pooled, [2, -1])
    features = graph.subgraph.tensors[y].shape[1]
    y = models.add_fully_connected(
        graph,
        y,
        rng.integers(-9, 10, (5, features)),
        name="dense",
        **{**arithmetic(5, 0.03), "weight_scale": 0.01},
    )
    return graph.build([x], [y])


def _litert(data, samples):
    batch = samples.shape[0] // 2
    return np.concatenate([models.run(data, samples[2 * i : 2 * i + 2])[0] for i in range(batch)])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_reference_is_litert_byte_for_byte(tmp_path_factory, seed):
    rng = np.random.default_rng(seed)
    data = _chain(rng, zero=int(rng.integers(-128, 128)))
    path = tmp_path_factory.mktemp("integers") / "chain.npz"
    accq.export_integers(data, path)
    samples = rng.integers(-128, 128, (4, 9, 8, 4)).astype(np.int8)
    np.testing.assert_array_equal(accq.load_integers(path).run(samples), _litert(data, samples))


@settings(max_examples=10, deadline=None)
@given(transposed_layers())
def test_transposed_convolutions(tmp_path_factory, layer):
    x, weights = layer.pop("x"), layer.pop("weights")
    data = models.transpose_conv(weights, x.shape, **layer)
    assume(accq.verify(data).ops)
    model = accq.export_integers(data, tmp_path_factory.mktemp("transposed") / "t.npz")
    np.testing.assert_array_equal(model.run(x), models.run(data, x)[0])


def _claimed(data, bits, low, high):
    claim = Constraint(bits, accq.Partition.of_tile(8), in_min=low, in_max=high)
    claims = {op.name: claim for op in accq.verify(data).ops}
    return accq.rewrite(data, ops="builtin", constraints=claims).model


def test_claimed_accumulators_do_not_overflow_and_broken_ones_do(tmp_path):
    """In wrapping P-bit accumulators nothing changes where the claim holds."""
    data = _chain(np.random.default_rng(3))
    samples = RNG.integers(-128, 128, (2, 9, 8, 4)).astype(np.int8)
    fits = _claimed(data, 16, -128, 127)
    assert accq.verify(fits).ok
    model = accq.export_integers(fits, tmp_path / "fits.npz")
    assert all(layer.accumulator.fits for layer in model.layers)
    expected = _litert(fits, samples)
    for accumulators in ("exact", "wrap", "saturate"):
        np.testing.assert_array_equal(model.run(samples, accumulators=accumulators), expected)
    broken = accq.export_integers(_claimed(data, 9, -128, 127), tmp_path / "broken.npz")
    assert not broken.layers[0].accumulator.fits
    np.testing.assert_array_equal(broken.run(samples), expected)
    assert (broken.run(samples, accumulators="wrap") != expected).any()


def test_custom_and_built_in_files_give_the_same(tmp_path):
    """Clamps are part of the layers, in both."""
    builtin = _claimed(_chain(np.random.default_rng(4)), 16, -40, 39)
    custom = accq.rewrite(builtin).model
    a = accq.export_integers(builtin, tmp_path / "a.npz")
    b = accq.export_integers(custom, tmp_path / "b.npz")
    assert a.layers == b.layers
    assert [step.op for step in a.steps] == ["MAX_POOL_2D", "RESHAPE"]
    assert {(layer.in_min, layer.in_max) for layer in a.layers} == {(-40, 39)}
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    samples = RNG.integers(-128, 128, (2, 9, 8, 4)).astype(np.int8)
    np.testing.assert_array_equal(a.run(samples), _litert(builtin, samples))


def test_what_is_written(tmp_path):
    claim = {"acc_bits": 16, "partition": options.MONOLITHIC, "in_min": -64, "in_max": 63}
    blob = options.encode(options.CONV_2D, claim)
    weights = RNG.integers(-3, 4, (4, 3, 3, 2)).astype(np.int8)
    bias = RNG.integers(-99, 99, 4)
    data = models.conv2d(
        weights, [1, 5, 5, 2], bias=bias, input_zero=7, weight_scale=0.02, custom_options=blob
    )
    written = accq.export_integers(data, tmp_path / "m.npz")
    model = accq.load_integers(tmp_path / "m.npz")
    assert model == written
    (layer,) = model.layers
    (op,) = accq.verify(data).ops
    assert (layer.k, layer.channels, layer.weight_bits, layer.input_bits) == (18, 4, 3, 7)
    held = layer.accumulator
    assert (held.acc_bits, held.cells.kind, held.limit) == (16, "all", 2**15 - 1)
    assert (held.worst_case, held.least_acc_bits) == (max(op.worst_case), op.least_acc_bits)
    arrays = {name.partition("/")[2]: model.arrays[name] for name in model.arrays}
    np.testing.assert_array_equal(arrays["weights"], weights)
    assert arrays["weights"].dtype == np.int8
    np.testing.assert_array_equal(arrays["bias"], bias)
    sums = weights.reshape(4, -1).sum(axis=1, dtype=np.int64)
    np.testing.assert_array_equal(arrays["summed_bias"], bias - 7 * sums)
    np.testing.assert_array_equal(arrays["worst_case"], op.worst_case)
    exact = arrays["multiplier_integers"] * 2.0 ** arrays["multiplier_exponents"]
    np.testing.assert_array_equal(exact.astype(np.float32), arrays["multipliers"])
    assert model.certificate["verdict"] == "P = 16 monolithic: all 1 op"
    assert accq.Certificate.from_json(json.dumps(model.certificate)) == accq.verify(data)


def test_equal_exports_are_equal_files(tmp_path):
    data = _chain(np.random.default_rng(5))
    for name in "ab":
        accq.export_integers(data, tmp_path / f"{name}.npz")
    for suffix in ("npz", "json"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def _float_ends():
    """float32 in and out around one convolution."""
    graph = models.GraphBuilder()
    x = graph.tensor("x", [1, 4, 4, 3], dtype=np.float32)
    stored = graph.tensor("stored", [1, 4, 4, 3], scale=0.037, zero_point=5)
    graph.op(models.Op.QUANTIZE, [x], [stored])
    y = models.add_conv2d(graph, stored, RNG.integers(-9, 9, (2, 3, 3, 3)), bias=np.zeros(2))
    z = graph.tensor("z", [1, 4, 4, 2], dtype=np.float32)
    graph.op(models.Op.DEQUANTIZE, [y], [z], version=2)
    return graph.build([x], [z])


def test_float_inputs_and_outputs(tmp_path):
    data = _float_ends()
    model = accq.export_integers(data, tmp_path / "f.npz")
    samples = RNG.normal(scale=3, size=(50, 4, 4, 3)).astype(np.float32)
    expected = np.concatenate([models.run(data, sample[None])[0] for sample in samples])
    np.testing.assert_array_equal(model.run(samples), expected)


def test_a_residual_network(tmp_path):
    data = models.residual(RNG, size=6, channels=8)
    model = accq.export_integers(data, tmp_path / "r.npz")
    x = RNG.integers(-128, 128, (3, 6, 6, 8)).astype(np.int8)
    expected = np.concatenate([models.run(data, sample[None])[0] for sample in x])
    np.testing.assert_array_equal(model.run(x), expected)


def _sum(rng, scales, zeros, activation=0):
    graph = models.GraphBuilder()
    a, b = (
        graph.tensor(name, [1, 4, 5, 3], scale=scale, zero_point=zero)
        for name, scale, zero in zip("ab", scales, zeros, strict=False)
    )
    y = models.add_add(graph, a, b, output_scale=scales[2], output_zero=zeros[2])
    graph.subgraph.operators[-1].builtinOptions.fusedActivationFunction = activation
    return graph.build([a, b], [y])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_sums_of_two_tensors(tmp_path_factory, seed):
    rng = np.random.default_rng(seed)
    scales = [float(np.float32(10 ** rng.uniform(-2, 0))) for _ in range(3)]
    data = _sum(rng, scales, rng.integers(-128, 128, 3).tolist(), int(rng.integers(0, 4)))
    model = accq.export_integers(data, tmp_path_factory.mktemp("sums") / "m.npz")
    a, b = (rng.integers(-128, 128, (1, 4, 5, 3)).astype(np.int8) for _ in range(2))
    np.testing.assert_array_equal(model.run(a, b), models.run(data, a, b)[0])


def test_sums_that_litert_computes_otherwise_are_refused(tmp_path):
    model = accq.export_integers(_sum(RNG, (1.0, 1.0, 2.0**-8), (0, 0, 0)), tmp_path / "m.npz")
    x = np.zeros((1, 4, 5, 3), np.int8)
    with pytest.raises(accq.UnsupportedModelError, match="where LiteRT leaves XNNPACK"):
        model.run(x, x)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(1, 3), st.booleans(), st.integers(0, 2**32 - 1))
def test_means_of_windows(tmp_path_factory, window, stride, valid, seed):
    rng = np.random.default_rng(seed)
    zero = int(rng.integers(-128, 128))
    graph = models.GraphBuilder()
    x = graph.tensor("x", [1, 6, 5, 3], scale=0.1, zero_point=zero)
    out = [-(-(n - window + 1) // stride) if valid else -(-n // stride) for n in (6, 5)]
    y = graph.tensor("y", [1, *out, 3], scale=0.1, zero_point=zero)
    pool = models.schema.Pool2DOptionsT(
        padding=int(valid),
        strideW=stride,
        strideH=stride,
        filterWidth=window,
        filterHeight=window,
    )
    graph.op(models.Op.AVERAGE_POOL_2D, [x], [y], options=pool, version=2)
    data = graph.build([x], [y])
    model = accq.export_integers(data, tmp_path_factory.mktemp("means") / "m.npz")
    values = rng.integers(-128, 128, (1, 6, 5, 3)).astype(np.int8)
    np.testing.assert_array_equal(model.run(values), models.run(data, values)[0])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 8), st.integers(1, 8), st.booleans(), st.integers(0, 2**32 - 1))
def test_means_of_images(tmp_path_factory, height, width, keep, seed):
    rng = np.random.default_rng(seed)
    zeros = rng.integers(-128, 128, 2).tolist()
    scale = float(np.float32(10 ** rng.uniform(-2, 0)))
    graph = models.GraphBuilder()
    x = graph.tensor("x", [1, height, width, 9], scale=scale, zero_point=zeros[0])
    shape, scale = [1, 1, 1, 9] if keep else [1, 9], scale * 10 ** rng.uniform(-1, 0.5)
    y = graph.tensor("y", shape, scale=scale, zero_point=zeros[1])
    axes = graph.tensor("axes", [2], dtype=np.int32, data=np.array([1, 2]))
    reducer = models.schema.ReducerOptionsT(keepDims=keep)
    graph.op(models.Op.MEAN, [x, axes], [y], options=reducer, version=2)
    data = graph.build([x], [y])
    model = accq.export_integers(data, tmp_path_factory.mktemp("images") / "m.npz")
    values = rng.integers(-128, 128, (1, height, width, 9)).astype(np.int8)
    np.testing.assert_array_equal(model.run(values), models.run(data, values)[0])


def test_what_the_reference_does_not_know(tmp_path):
    graph = models.GraphBuilder()
    x = graph.tensor("x", [1, 4], scale=0.1)
    y = models.add_fully_connected(graph, x, RNG.integers(-9, 9, (3, 4)), name="logits")
    z = graph.tensor("z", [1, 3], scale=1 / 256, zero_point=-128)
    softmax = models.schema.SoftmaxOptionsT(beta=1.0)
    graph.op(models.Op.SOFTMAX, [y], [z], options=softmax, version=2)
    model = accq.export_integers(graph.build([x], [z]), tmp_path / "m.npz")
    values = np.zeros((1, 4), np.int8)
    with pytest.raises(accq.UnsupportedModelError, match="the NumPy reference has no SOFTMAX"):
        model.run(values)
    assert model.run(values, until="logits").shape == (1, 3)
    with pytest.raises(ValueError, match="until: expected the name of one tensor, 0 are called"):
        model.run(values, until="nothing")


@pytest.mark.parametrize(
    "inputs",
    [(), (np.zeros((2, 9, 8, 4)),), (np.zeros((3, 9, 8, 4), np.int8),), (np.zeros((2, 9), "i1"),)],
    ids=["none", "float64", "half a batch", "rank"],
)
def test_wrong_inputs(tmp_path, inputs):
    model = accq.export_integers(_chain(RNG), tmp_path / "m.npz")
    with pytest.raises(ValueError, match="expected"):
        model.run(*inputs)


def test_refuses_dot_products_that_it_can_not_take(tmp_path):
    data = models.conv2d(np.ones((2, 3, 3, 4)), (1, 5, 5, 4), output_scale=1e-9)
    with pytest.raises(accq.UnsupportedModelError, match="its multiplier"):
        accq.export_integers(data, tmp_path / "m.npz")
    with pytest.raises(ValueError, match=r"ends in \.npz"):
        accq.export_integers(data, tmp_path / "m.zip")
    assert not list(tmp_path.iterdir())


def test_damaged_and_mixed_up_files(tmp_path):
    for name, seed in (("a", 1), ("b", 2)):
        accq.export_integers(_chain(np.random.default_rng(seed)), tmp_path / f"{name}.npz")
    good = (tmp_path / "a.json").read_text()
    arrays = (tmp_path / "a.npz").read_bytes()

    def refused(match):
        with pytest.raises(accq.InvalidFileError, match=match):
            accq.load_integers(tmp_path / "a.npz")

    (tmp_path / "a.npz").write_bytes((tmp_path / "b.npz").read_bytes())
    refused("not the arrays")
    (tmp_path / "a.npz").write_bytes(arrays)
    for change, match in (
        ({"version": 2}, "expected version 1, received 2"),
        ({"format": "else"}, "keras-accq integers"),
        ({"more": 1}, "unknown 'more'"),
        ({"inputs": ["x"]}, "expected an integer"),
        ({"arrays": {}}, "unknown 'arrays'"),
    ):
        (tmp_path / "a.json").write_text(json.dumps({**json.loads(good), **change}))
        refused(match)
    (tmp_path / "a.json").write_text("{")
    refused("not JSON")


def test_running_needs_numpy_only(tmp_path):
    accq.export_integers(_chain(RNG), tmp_path / "m.npz")
    code = (
        "import sys, numpy as np, keras_accq as accq;"
        f"accq.load_integers({str(tmp_path / 'm.npz')!r}).run(np.zeros((2, 9, 8, 4), np.int8));"
        "print(sorted({'tensorflow', 'keras', 'ai_edge_litert', 'flatbuffers'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
