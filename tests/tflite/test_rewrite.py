import os
import stat
from pathlib import Path

import numpy as np
import pytest
import tflite_models as models
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st
from transposed_layers import transposed_layers

from keras_accq.bounds import Partition
from keras_accq.errors import ConversionError, InvalidFileError
from keras_accq.tflite import options
from keras_accq.tflite.claims import METADATA_NAME
from keras_accq.tflite.flat import serialize
from keras_accq.tflite.ops import quantized_ops
from keras_accq.tflite.reader import load
from keras_accq.tflite.rewrite import Constraint, rewrite

RNG = np.random.default_rng(1)
RESIDUAL = models.residual(RNG)
DENSE = models.dense_as_conv(
    RNG.integers(-127, 128, (3, 8)), [2, 8], bias=np.arange(3), weight_scale=[0.01, 0.02, 0.03]
)


def names(data):
    return [op.name for op in load(data).operators()]


def inputs_of(data, rng=RNG):
    graph = load(data).subgraphs[0]
    return [rng.integers(-128, 128, graph.tensors[t].shape).astype(np.int8) for t in graph.inputs]


def assert_same_outputs(a, b, *inputs):
    for x, y in zip(models.run(a, *inputs), models.run(b, *inputs), strict=True):
        np.testing.assert_array_equal(x, y)


def meaning(data):
    """What the dot products of a file are, without their numbers."""
    fields = (
        "kind op name acc_bits partition in_min in_max out_min out_max activation padding stride_h "
        "stride_w dilation_h dilation_w depth_multiplier groups keep_num_dims form s_x z_x s_y z_y"
    )
    ops = quantized_ops(load(data))
    assert all(op.reason is None for op in ops)
    return [
        [
            *(getattr(op, f) for f in fields.split()),
            op.s_w.tolist(),
            None if op.bias is None else op.bias.tolist(),
            op.weights().tolist(),
        ]
        for op in ops
    ]


def test_builtins_become_custom_operators_and_the_clamp_their_range():
    report = rewrite(RESIDUAL)
    assert names(report.model) == ["AccqConv2D", "AccqConv2D", "ADD"]
    first, second = quantized_ops(load(report.model))
    assert (first.in_min, first.in_max) == (-128, 127)
    assert (second.in_min, second.in_max) == (-8, 7)
    assert second.input == first.output  # The unclamped tensor, which the ADD reads, too.
    assert [(op.before, op.after) for op in report.taken] == [("CONV_2D", "AccqConv2D")] * 2
    assert report.kept == ()


def test_and_back():
    custom = rewrite(RESIDUAL).model
    report = rewrite(custom, ops="builtin")
    assert names(report.model) == names(RESIDUAL)
    assert report.taken[1].after == "MAXIMUM, MINIMUM, CONV_2D"
    assert_same_outputs(RESIDUAL, report.model, *inputs_of(RESIDUAL))
    again = rewrite(report.model).model
    assert meaning(again) == meaning(custom)


def test_dense_as_convolution_becomes_one_operator_and_back():
    report = rewrite(DENSE)
    assert names(report.model) == ["AccqFullyConnected"]
    (op,) = quantized_ops(load(report.model))
    assert (op.form, op.name, op.keep_num_dims) == (options.FORM_CONV, "dense", False)
    graph = load(report.model).subgraphs[0]
    assert graph.tensors[op.weights_tensor].shape == (3, 8)
    assert len(graph.tensors) == 4
    assert report.taken[0].before == "RESHAPE, CONV_2D, RESHAPE"
    back = rewrite(report.model, ops="builtin").model
    assert names(back) == ["RESHAPE", "CONV_2D", "RESHAPE"]
    assert_same_outputs(DENSE, back, *inputs_of(DENSE))
    assert meaning(rewrite(back).model) == meaning(report.model)


@settings(max_examples=60, deadline=None)
@given(transposed_layers())
def test_transposed_convolutions_there_and_back(layer):
    layer = dict(layer)
    x = layer.pop("x")
    data = models.transpose_conv(layer.pop("weights"), x.shape, **layer)
    custom = rewrite(data)
    assert names(custom.model) == ["AccqTransposeConv"]
    back = rewrite(custom.model, ops="builtin").model
    assert names(back) == ["TRANSPOSE_CONV"]
    assert_same_outputs(data, back, x)
    assert meaning(back) == meaning(data)
    assert meaning(rewrite(back).model) == meaning(custom.model)


def test_a_transposed_convolution_takes_its_clamps():
    graph = models.GraphBuilder()
    x = graph.tensor("x", [1, 3, 3, 2], scale=0.1, zero_point=-8)
    weights = RNG.integers(-127, 128, (2, 3, 3, 2))
    clamped = models.add_clamp(graph, x, -8, 7)
    y = models.add_transpose_conv(graph, clamped, weights, stride=(2, 2), bias=[5, 6])
    data = graph.build([x], [models.add_clamp(graph, y, -20, 30)])
    custom = rewrite(data).model
    assert names(custom) == ["AccqTransposeConv"]
    (op,) = quantized_ops(load(custom))
    assert (op.in_min, op.in_max, op.out_min, op.out_max) == (-8, 7, -20, 30)
    back = rewrite(custom, ops="builtin").model
    assert names(back) == ["MAXIMUM", "MINIMUM", "TRANSPOSE_CONV", "MAXIMUM", "MINIMUM"]
    assert_same_outputs(data, back, *inputs_of(data))


def test_a_clamp_stays_that_leaves_out_what_missing_inputs_are():
    """With VALID padding, too: the outputs at the border miss some of the inputs."""
    graph = models.GraphBuilder()
    x = graph.tensor("x", [1, 3, 3, 2], scale=0.1, zero_point=0)
    weights = RNG.integers(-127, 128, (2, 3, 3, 2))
    y = models.add_transpose_conv(
        graph, models.add_clamp(graph, x, 5, 9), weights, stride=(2, 2), padding="VALID"
    )
    data = graph.build([x], [y])
    custom = rewrite(data).model
    assert names(custom) == ["MAXIMUM", "MINIMUM", "AccqTransposeConv"]
    (op,) = quantized_ops(load(custom))
    assert (op.in_min, op.in_max) == (0, 9)
    assert_same_outputs(data, rewrite(custom, ops="builtin").model, *inputs_of(data))


def test_a_shared_weight_keeps_its_shape_for_the_other_reader():
    graph = models.GraphBuilder()
    x = graph.tensor("x", [2, 8], scale=0.05)
    weights = RNG.integers(-127, 128, (8, 8))
    y = models.add_dense_as_conv(graph, x, weights)
    image = models.add_reshape(graph, x, [2, 1, 1, 8], name="image")
    z = models.add_conv2d(graph, image, weights.reshape(8, 1, 1, 8), name="other")
    graph.subgraph.operators[-1].inputs[1] = graph.subgraph.operators[1].inputs[1]
    data = graph.build([x], [y, z])
    back = rewrite(rewrite(data).model, ops="builtin").model
    assert names(rewrite(data).model) == ["AccqFullyConnected", "RESHAPE", "AccqConv2D"]
    assert_same_outputs(data, back, *inputs_of(data))


@st.composite
def random_models(draw):
    """Chains of dot products, clamps and reshapes with every option drawn."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    graph = models.GraphBuilder()
    size, channels = draw(st.integers(3, 6)), draw(st.sampled_from([2, 4]))
    x = t = graph.tensor("input", [1, size, size, channels], scale=0.05, zero_point=-3)
    for i in range(draw(st.integers(1, 4))):
        _, h, w, channels = (int(d) for d in graph.subgraph.tensors[t].shape)
        if draw(st.booleans()):
            # Around -3, which pads the first convolution and is clamped like any other value.
            t = models.add_clamp(
                graph, t, draw(st.integers(-128, -3)), draw(st.integers(-3, 127)), name=f"clamp{i}"
            )
        kind = draw(st.sampled_from(["conv", "depthwise"]))
        out = channels * draw(st.sampled_from([1, 2]))
        per_channel = draw(st.booleans())
        window = [draw(st.integers(1, min(3, h))), draw(st.integers(1, min(3, w)))]
        common = {
            "name": f"op{i}",
            "weight_scale": rng.uniform(0.002, 0.02, out) if per_channel else 0.01,
            "bias": rng.integers(-2000, 2000, out),
            "output_scale": float(rng.uniform(0.05, 0.3)),
            "output_zero": int(rng.integers(-10, 10)),
            "stride": (draw(st.integers(1, 2)), draw(st.integers(1, 2))),
            "padding": draw(st.sampled_from(["SAME", "VALID"])),
            "activation": draw(st.integers(0, 3)),
        }
        if kind == "conv":
            groups = draw(st.sampled_from([1, 2]))
            shape = (out, *window, channels // groups)
            t = models.add_conv2d(graph, t, rng.integers(-127, 128, shape), **common)
        else:
            shape = (1, *window, out)
            t = models.add_depthwise_conv2d(graph, t, rng.integers(-127, 128, shape), **common)
    features = int(np.prod(graph.subgraph.tensors[t].shape))
    flat = models.add_reshape(graph, t, [1, features], name="flat")
    weights = rng.integers(-127, 128, (3, features))
    if draw(st.booleans()):
        flat = models.add_clamp(graph, flat, -20, 19, name="clamp")
    add = draw(st.sampled_from([models.add_fully_connected, models.add_dense_as_conv]))
    y = add(graph, flat, weights, bias=rng.integers(-99, 99, 3), output_scale=0.5)
    return graph.build([x], [t, y] if draw(st.booleans()) else [y])


@settings(max_examples=40, deadline=None)
@given(random_models(), st.integers(0, 2**32))
def test_round_trips_give_the_same_outputs(data, seed):
    custom = rewrite(data)
    assert custom.kept == ()
    back = rewrite(custom.model, ops="builtin").model
    assert_same_outputs(data, back, *inputs_of(data, np.random.default_rng(seed)))
    # A builtin's range is what its producers guarantee: reading it again can only sharpen it.
    again = rewrite(back).model
    assert meaning(rewrite(rewrite(again, ops="builtin").model).model) == meaning(again)
    assert names(again) == names(custom.model)


@pytest.mark.parametrize("build", ["conv", "depthwise", "dense", "dense_as_conv"])
def test_lowered_ranges_clamp_as_numpy_does(build):
    x = RNG.integers(-128, 128, (1, 6, 6, 4)).astype(np.int8)
    common = {"bias": RNG.integers(-500, 500, 4), "output_scale": 0.02, "output_zero": 3}
    if build == "conv":
        data = models.conv2d(RNG.integers(-127, 128, (4, 3, 3, 4)), x.shape, **common)
    elif build == "depthwise":
        data = models.depthwise_conv2d(RNG.integers(-127, 128, (1, 3, 3, 4)), x.shape, **common)
    else:
        x = x.reshape(9, 16)
        weights = RNG.integers(-127, 128, (4, 16))
        kind = models.fully_connected if build == "dense" else models.dense_as_conv
        data = kind(weights, x.shape, **common)
    (record,) = quantized_ops(load(data))
    constraint = Constraint(
        acc_bits=15, partition=Partition("runs", 4), in_min=-16, in_max=15, out_min=-30, out_max=25
    )
    custom = rewrite(data, constraints={record.name: constraint}).model
    lowered = rewrite(data, ops="builtin", constraints={record.name: constraint}).model
    assert rewrite(custom, ops="builtin").model == lowered
    (expected,) = models.run(data, np.clip(x, -16, 15))
    (output,) = models.run(lowered, x)
    np.testing.assert_array_equal(output, np.clip(expected, -30, 25))
    assert output.min() == -30
    assert output.max() == 25
    (built,) = quantized_ops(load(lowered))
    assert (built.acc_bits, built.partition) == (15, Partition("runs", 4))
    assert (built.in_min, built.in_max) == (-16, 15)
    assert meaning(rewrite(lowered).model) == meaning(custom)
    (op,) = quantized_ops(load(rewrite(lowered).model))
    assert (op.in_min, op.in_max, op.out_min, op.out_max) == (-16, 15, -30, 25)


@pytest.mark.parametrize("scale", [0.01, np.linspace(0.01, 0.02, 6)], ids=["one", "each"])
def test_a_missing_bias_is_written_as_stock_litert_takes_it(scale):
    weights = RNG.integers(-9, 9, (1, 3, 3, 6))
    unbiased = models.depthwise_conv2d(weights, [1, 7, 7, 6], weight_scale=scale)
    assert quantized_ops(load(unbiased))[0].bias is None
    with_bias = models.depthwise_conv2d(
        weights, [1, 7, 7, 6], weight_scale=scale, bias=np.zeros(6, np.int32)
    )
    back = rewrite(rewrite(unbiased).model, ops="builtin").model
    assert_same_outputs(with_bias, back, *inputs_of(back))


def test_operators_with_one_range_share_its_clamp():
    graph = models.GraphBuilder()
    x = graph.tensor("x", [1, 4, 4, 2], scale=0.1)
    outputs = [
        models.add_conv2d(graph, x, RNG.integers(-127, 128, (2, 3, 3, 2)), name=f"c{i}")
        for i in range(3)
    ]
    narrow, other = Constraint(in_min=-4, in_max=3), Constraint(in_min=-8, in_max=7)
    constraints = {"c0": narrow, "c1": narrow, "c2": other}
    lowered = rewrite(graph.build([x], outputs), ops="builtin", constraints=constraints).model
    assert names(lowered).count("MAXIMUM") == 2


def test_a_clamp_that_others_read_stays_for_them():
    graph = models.GraphBuilder()
    x = graph.tensor("x", [1, 4, 4, 2], scale=0.1)
    clamped = models.add_clamp(graph, x, -8, 7)
    y = models.add_conv2d(graph, clamped, RNG.integers(-127, 128, (2, 3, 3, 2)))
    total = models.add_add(graph, clamped, y)
    custom = rewrite(graph.build([x], [total])).model
    assert names(custom) == ["MAXIMUM", "MINIMUM", "AccqConv2D", "ADD"]
    (op,) = quantized_ops(load(custom))
    assert (op.input, op.in_min, op.in_max) == (0, -8, 7)


def test_a_clamp_that_would_move_the_padding_stays():
    graph = models.GraphBuilder()
    x = graph.tensor("x", [1, 4, 4, 2], scale=0.1, zero_point=0)
    y = models.add_conv2d(
        graph, models.add_clamp(graph, x, 5, 9), RNG.integers(-127, 128, (2, 3, 3, 2))
    )
    data = graph.build([x], [y])
    custom = rewrite(data).model
    assert names(custom) == ["MAXIMUM", "MINIMUM", "AccqConv2D"]
    (op,) = quantized_ops(load(custom))
    assert (op.in_min, op.in_max) == (0, 9)
    assert_same_outputs(data, rewrite(custom, ops="builtin").model, *inputs_of(data))


def test_a_visible_clamp_is_not_taken_into_the_output():
    graph = models.GraphBuilder()
    x = graph.tensor("x", [1, 4, 4, 2], scale=0.1)
    y = models.add_conv2d(graph, x, RNG.integers(-127, 128, (2, 3, 3, 2)))
    clamped = models.add_clamp(graph, y, -8, 7)
    assert names(rewrite(graph.build([x], [clamped])).model) == ["AccqConv2D"]
    assert names(rewrite(graph.build([x], [y, clamped])).model) == [
        "AccqConv2D",
        "MAXIMUM",
        "MINIMUM",
    ]


def test_what_can_not_be_taken_stays_and_says_why():
    graph = models.GraphBuilder()
    x = graph.tensor("x", [1, 8], scale=0.05)
    y = models.add_fully_connected(graph, x, RNG.integers(-9, 9, (8, 8)), name="ok")
    z = models.add_fully_connected(graph, y, RNG.integers(-9, 9, (8, 8)), name="big")
    graph.subgraph.tensors[z].quantization.scale = np.float32([1e-9])
    report = rewrite(graph.build([x], [z]))
    assert names(report.model) == ["AccqFullyConnected", "FULLY_CONNECTED"]
    (kept,) = report.kept
    assert (kept.index, kept.name, kept.op) == (1, "big", "FULLY_CONNECTED")
    assert "channel 0: its multiplier" in kept.reason
    text = str(report)
    assert "1 of 2 dot-product operators replaced" in text
    assert "FULLY_CONNECTED -> AccqFullyConnected" in text
    assert "FULLY_CONNECTED kept: channel 0" in text


def test_nothing_to_take_gives_the_file_back():
    assert rewrite(RESIDUAL, ops="builtin").model == RESIDUAL
    custom = rewrite(RESIDUAL).model
    report = rewrite(custom)
    assert report.model == custom
    assert [op.reason for op in report.kept] == ["it is a custom operator already"] * 2


def test_all_else_in_the_file_stays():
    model = models.unpack(RESIDUAL)
    model.buffers.append(schema.BufferT(data=np.frombuffer(b"content", np.uint8)))
    model.metadata = [schema.MetadataT(name=b"mine", buffer=len(model.buffers) - 1)]
    graph = model.subgraphs[0]
    maps = [
        [schema.TensorMapT(name=name, tensorIndex=int(t))]
        for name, t in ((b"x", graph.inputs[0]), (b"y", graph.outputs[0]))
    ]
    model.signatureDefs = [
        schema.SignatureDefT(signatureKey=b"serve", inputs=maps[0], outputs=maps[1])
    ]
    other = models.unpack(models.conv2d(RNG.integers(-9, 9, (2, 1, 1, 2)), [1, 3, 3, 2]))
    offset = len(model.buffers)
    for tensor in other.subgraphs[0].tensors:
        tensor.buffer += offset if tensor.buffer else 0
    model.buffers += other.buffers
    other.subgraphs[0].name = b"other"
    model.subgraphs.append(other.subgraphs[0])
    data = models.pack(model)
    custom = rewrite(data).model
    back = rewrite(custom, ops="builtin").model
    for rewritten in (custom, back):
        now = load(rewritten)
        assert now.description == "test"
        assert bytes(now.metadata["mine"]) == b"content"
        assert [g.name for g in now.subgraphs] == ["main", "other"]
        (signature,) = now.tree["signature_defs"]
        assert signature["signature_key"] == b"serve"
        (entry,) = signature["outputs"]
        assert now.subgraphs[0].tensors[entry["tensor_index"]].name == "add"
    assert names(custom)[-1] == "AccqConv2D"
    assert METADATA_NAME in load(custom).metadata
    assert METADATA_NAME not in load(back).metadata
    assert_same_outputs(data, back, *inputs_of(data))


def test_operators_keep_their_numbers_under_control_dependencies():
    def number(data):
        model = models.unpack(data)
        model.buffers.append(schema.BufferT(data=np.uint8([1])))
        model.metadata = [
            *(model.metadata or []),
            schema.MetadataT(name=b"model_control_dependencies", buffer=len(model.buffers) - 1),
        ]
        return models.pack(model)

    assert names(rewrite(number(RESIDUAL)).model) == [
        "AccqConv2D",
        "MAXIMUM",
        "MINIMUM",
        "AccqConv2D",
        "ADD",
    ]
    assert names(rewrite(number(DENSE)).model) == ["RESHAPE", "AccqConv2D", "RESHAPE"]
    report = rewrite(number(rewrite(RESIDUAL).model), ops="builtin")
    assert names(report.model) == ["CONV_2D", "AccqConv2D", "ADD"]
    assert "control dependencies number its operators" in report.kept[0].reason


def test_a_changing_batch():
    data = models.dense_as_conv(
        RNG.integers(-127, 128, (3, 8)), [1, 8], shape_signature=[-1, 8], bias=np.arange(3)
    )
    model = models.unpack(data)
    model.subgraphs[0].tensors[-1].shapeSignature = np.int32([-1, 3])
    after = model.subgraphs[0].operators[2].inputs[1]
    target = model.buffers[model.subgraphs[0].tensors[after].buffer]
    before = model.buffers[
        model.subgraphs[0].tensors[model.subgraphs[0].operators[0].inputs[1]].buffer
    ]
    target.data = np.frombuffer(np.int32([-1, 3]).tobytes(), np.uint8)
    before.data = np.frombuffer(np.int32([-1, 1, 1, 8]).tobytes(), np.uint8)
    data = models.pack(model)
    custom = rewrite(data).model
    assert names(custom) == ["AccqFullyConnected"]
    back = rewrite(custom, ops="builtin").model
    assert_same_outputs(data, back, RNG.integers(-128, 128, (5, 8)).astype(np.int8))


@pytest.mark.parametrize(
    ("constraints", "error", "text"),
    [
        ({"nowhere": Constraint()}, ValueError, "output 'nowhere', the file has 0"),
        (
            {"second": Constraint(in_min=0, in_max=7)},
            ConversionError,
            r"zero point -8, is outside the input range \[0, 7\]",
        ),
        ({"second": Constraint(acc_bits=33)}, InvalidFileError, "'acc_bits' must be in"),
        ({"second": Constraint(out_min=3, out_max=2)}, InvalidFileError, "is empty"),
    ],
)
def test_refuses_constraints(constraints, error, text):
    with pytest.raises(error, match=text):
        rewrite(RESIDUAL, constraints=constraints)


def test_a_constraint_must_be_met():
    data = models.unpack(RESIDUAL)
    data.subgraphs[0].tensors[1].quantization.zeroPoint[0] = 1
    with pytest.raises(ConversionError, match=r"'first'.* has a constraint, .* not 0"):
        rewrite(models.pack(data), constraints={"first": Constraint()})


def test_another_ops():
    with pytest.raises(ValueError, match="expected 'custom' or 'builtin', received 'both'"):
        rewrite(RESIDUAL, ops="both")


def test_a_newer_schema_is_not_written_back():
    model = load(RESIDUAL)
    model.tree["subgraphs"][0]["operators"][4]["builtin_options_type"] = 250
    with pytest.raises(InvalidFileError, match=r"a newer TFLite schema .* BuiltinOptions has type"):
        rewrite(serialize(model.tree))


def test_writes_a_file(tmp_path):
    path = tmp_path / "out.tflite"
    report = rewrite(RESIDUAL, path)
    assert path.read_bytes() == report.model
    assert os.listdir(tmp_path) == ["out.tflite"]


def test_a_failure_leaves_no_file(tmp_path):
    path = tmp_path / "out.tflite"
    with pytest.raises(InvalidFileError):
        rewrite(RESIDUAL[:-100], path)
    with pytest.raises(ValueError, match="nowhere"):
        rewrite(RESIDUAL, path, constraints={"nowhere": Constraint()})
    assert os.listdir(tmp_path) == []


def test_a_read_only_folder(tmp_path):
    # The superuser may write to any folder on a disk, but makes no file in /proc either.
    folder = tmp_path if os.geteuid() else Path("/proc")
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(OSError, match=r"out\.tflite"):
            rewrite(RESIDUAL, folder / "out.tflite")
        assert not (folder / "out.tflite").exists()
    finally:
        tmp_path.chmod(stat.S_IRWXU)


def test_a_full_disk_leaves_no_file(tmp_path, monkeypatch):
    def no_space(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    path = tmp_path / "out.tflite"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="No space"):
        rewrite(RESIDUAL, path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out.tflite"]


def test_a_file_without_int8_says_how_one_is_made():
    graph = models.GraphBuilder()
    x = graph.tensor("x", [1, 8], scale=0.05)
    y = models.add_fully_connected(graph, x, RNG.integers(-9, 9, (8, 8)))
    graph.subgraph.tensors[x].type = schema.TensorType.FLOAT32
    report = rewrite(graph.build([x], [y]))
    assert "0 of 1 dot-product operators replaced: none computes in int8" in str(report)
