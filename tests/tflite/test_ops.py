import re

import numpy as np
import pytest
import tflite_models as models
from ai_edge_litert import schema_py_generated as schema

from keras_accq.bounds import Partition
from keras_accq.errors import InvalidFileError
from keras_accq.tflite import options
from keras_accq.tflite.ops import quantized_ops
from keras_accq.tflite.reader import load
from keras_accq.transposed import Axis

RNG = np.random.default_rng(11)
CONV = RNG.integers(-127, 128, (4, 3, 3, 2))
DEPTHWISE = RNG.integers(-127, 128, (1, 3, 2, 6))
TRANSPOSED = RNG.integers(-127, 128, (2, 4, 3, 3))
DENSE = RNG.integers(-127, 128, (5, 8))


def only_op(data):
    (op,) = quantized_ops(load(data))
    return op


def test_convolution():
    scales = RNG.uniform(0.001, 0.02, 4).astype(np.float32)
    op = only_op(
        models.conv2d(
            CONV,
            [1, 9, 9, 4],
            input_scale=0.3,
            input_zero=-7,
            weight_scale=scales,
            bias=np.arange(4),
            output_scale=0.7,
            output_zero=9,
            stride=(2, 1),
            dilation=(1, 2),
            padding="VALID",
            activation=models.RELU6,
        )
    )
    assert op.reason is None
    assert (op.kind, op.op, op.custom, op.name) == ("conv2d", "CONV_2D", False, "conv")
    np.testing.assert_array_equal(op.weights(), CONV.reshape(4, 18))
    assert op.weights().dtype == np.int8
    np.testing.assert_array_equal(op.bias, np.arange(4))
    assert (op.s_x, op.z_x) == (np.float32(0.3), -7)
    assert (op.s_y, op.z_y) == (np.float32(0.7), 9)
    np.testing.assert_array_equal(op.s_w, scales)
    np.testing.assert_array_equal(
        op.multiplier, (np.float32(0.3) * scales).astype(np.float32) / np.float32(0.7)
    )
    assert (op.padding, op.stride_h, op.stride_w) == ("VALID", 2, 1)
    assert (op.dilation_h, op.dilation_w, op.filter_h, op.filter_w) == (1, 2, 3, 3)
    assert (op.groups, op.activation, op.channels) == (2, models.RELU6, 4)
    assert (op.acc_bits, op.partition) == (16, None)
    assert (op.in_min, op.in_max, op.out_min, op.out_max) == (-128, 127, -128, 127)


def test_depthwise_weights_come_channel_by_channel():
    op = only_op(models.depthwise_conv2d(DEPTHWISE, [1, 5, 5, 3]))
    assert (op.kind, op.depth_multiplier, op.bias) == ("depthwise_conv2d", 2, None)
    np.testing.assert_array_equal(op.weights(), DEPTHWISE.reshape(6, 6).T)
    np.testing.assert_array_equal(op.s_w, np.full(6, 0.01, np.float32))


@pytest.mark.parametrize("keep", [False, True])
def test_fully_connected(keep):
    op = only_op(models.fully_connected(DENSE, [2, 3, 8], keep_num_dims=keep))
    assert (op.kind, op.reason, op.keep_num_dims) == ("fully_connected", None, keep)
    np.testing.assert_array_equal(op.weights(), DENSE)


def test_transposed_convolution():
    op = only_op(
        models.transpose_conv(
            TRANSPOSED,
            [2, 4, 5, 3],
            input_zero=-7,
            weight_scale=[0.01, 0.02],
            stride=(2, 3),
            output_size=(8, 14),
            activation=models.RELU6,
        )
    )
    assert (op.kind, op.op, op.custom, op.reason) == (
        "transpose_conv",
        "TRANSPOSE_CONV",
        False,
        None,
    )
    np.testing.assert_array_equal(op.weights(), TRANSPOSED.reshape(2, 36))
    assert (op.padding, op.stride_h, op.stride_w, op.activation) == ("SAME", 2, 3, models.RELU6)
    assert (op.filter_h, op.filter_w, op.channels, op.bias) == (4, 3, 2, None)
    assert op.axes == (Axis(4, 4, 2, 8, "SAME"), Axis(5, 3, 3, 14, "SAME"))
    assert [len(phase.places) for phase in op.phases()] == [2 * 3] * 6
    assert (
        load(models.transpose_conv(TRANSPOSED, [1, 4, 4, 3]))
        .subgraphs[0]
        .tensors[op.shape_tensor]
        .name.endswith("shape")
    )


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"weights": TRANSPOSED[:, :1]}, r"along its height it has a kernel of 1, less than"),
        ({"output_size": (6, 8)}, "along its height it has an output of 6; .* make 7 to 8"),
        ({"output_size": (8, 9)}, "along its width it has an output of 9"),
        ({"padding": "VALID", "output_size": (11, 10)}, "width .* VALID padding make 9 to 10"),
    ],
)
def test_transposed_geometry_that_is_refused(change, text):
    arguments = {"weights": TRANSPOSED, "stride": (2, 2), "padding": "SAME"} | change
    if arguments["padding"] == "VALID":
        arguments["output_size"] = (10, 11)
    op = only_op(models.transpose_conv(arguments.pop("weights"), [1, 4, 4, 3], **arguments))
    assert re.search(text, op.reason), op.reason


def _set_shape(values):
    def change(model):
        buffer = model.subgraphs[0].tensors[1].buffer
        model.buffers[buffer].data = np.frombuffer(np.int32(values).tobytes(), np.uint8)

    return change


def _tensor(index, **fields):
    def change(model):
        for key, value in fields.items():
            setattr(model.subgraphs[0].tensors[index], key, value)

    return change


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (_set_shape([2, 8, 8, 2]), "do not agree in batch and channels"),
        (_set_shape([1, 8, 8, 3]), "do not agree in batch and channels"),
        (_set_shape([1, 8, -8, 2]), "along its width it has an output of -8"),
        (_set_shape([1, 8, 7, 2]), r"output has shape \[1, 8, 8, 2\].* give \[1, 8, 7, 2\]"),
        (_tensor(1, buffer=0), "is no INT32 constant of 4 elements"),
        (_tensor(1, shape=np.int32([2, 2])), "is no INT32 constant of 4 elements"),
        (_tensor(1, type=schema.TensorType.FLOAT32), "is no INT32 constant of 4 elements"),
        (_tensor(0, shapeSignature=np.int32([-1, 4, 4, 3])), "4 fixed dimensions are needed"),
        (_tensor(0, shape=np.int32([1, 4, 2, 6])), "do not agree in batch and channels"),
    ],
)
def test_output_shapes_that_are_refused(change, text):
    model = models.unpack(
        models.transpose_conv(TRANSPOSED, [1, 4, 4, 3], stride=(2, 2), output_size=(8, 8))
    )
    change(model)
    op = only_op(models.pack(model))
    assert re.search(text, op.reason), op.reason


def test_bias_is_checked_in_every_phase():
    weights = np.zeros((1, 2, 1, 2), np.int8)
    weights[0, 1] = -128
    arguments = {"stride": (2, 1), "input_zero": 127, "output_size": (6, 3)}
    least = 2**31 - 1 - 2 * 127 * 128  # what z_x * sum(q) of the second phase leaves
    for bias, reason in ((least - 2 * 128 * 128, False), (least + 1, True)):
        data = models.transpose_conv(weights, [1, 3, 3, 2], bias=[bias], **arguments)
        assert (only_op(data).reason is not None) == reason
    assert "leaves int32" in only_op(data).reason


def test_custom_operator():
    blob = options.encode(
        options.CONV_2D,
        {
            "acc_bits": 14,
            "partition": options.RUNS,
            "partition_size": 9,
            "in_min": -8,
            "in_max": 7,
            "out_min": -100,
            "out_max": 99,
            "padding": options.VALID,
            "stride_h": 2,
        },
    )
    weights = CONV[:, :, :, :2]
    op = only_op(
        models.conv2d(weights, [1, 9, 9, 2], padding="VALID", stride=(2, 1), custom_options=blob)
    )
    assert op.reason is None
    assert (op.op, op.custom, op.kind) == ("AccqConv2D", True, "conv2d")
    assert (op.acc_bits, op.partition) == (14, Partition("runs", 9))
    assert (op.in_min, op.in_max, op.out_min, op.out_max) == (-8, 7, -100, 99)
    assert (op.padding, op.stride_h, op.stride_w) == ("VALID", 2, 1)


def test_operators_without_products_are_passed_over():
    ops = quantized_ops(load(models.residual(RNG)))
    assert [op.name for op in ops] == ["first", "second"]


def test_a_builtin_has_the_range_of_the_clamps_before_it():
    ops = quantized_ops(load(models.residual(RNG, clamp=(-8, 7))))
    assert [(op.in_min, op.in_max) for op in ops] == [(-128, 127), (-8, 7)]


def test_same_padding_widens_the_range_to_its_value():
    graph = models.GraphBuilder()
    x = graph.tensor("x", [1, 4, 4, 2], scale=0.1, zero_point=5)
    y = models.add_conv2d(graph, models.add_clamp(graph, x, 10, 20), CONV)
    op = only_op(graph.build([x], [y]))
    assert (op.reason, op.in_min, op.in_max) == (None, 5, 20)


def test_dense_as_convolution_has_the_name_of_its_end():
    op = only_op(models.dense_as_conv(DENSE, [2, 8], name="head"))
    assert (op.kind, op.name) == ("conv2d", "head")


def _batch_matmul(**constant):
    graph = models.GraphBuilder()
    a = graph.tensor("a", [2, 2], scale=0.1)
    b = graph.tensor("b", [2, 2], scale=0.1, **constant)
    y = graph.tensor("y", [2, 2], scale=0.1)
    graph.op(models.Op.BATCH_MATMUL, [a, b], [y], options=schema.BatchMatMulOptionsT())
    return only_op(graph.build([a] if constant else [a, b], [y]))


def test_other_dot_products_are_listed():
    op = _batch_matmul(data=np.ones((2, 2)))
    assert (op.kind, op.name) == ("batch_matmul", "y")
    assert op.reason == "keras-accq has no operator for BATCH_MATMUL"
    with pytest.raises(ValueError, match="no usable weights"):
        op.weights()


def test_products_of_two_activations_are_named_as_such():
    assert _batch_matmul().reason == (
        "a product of two activations is not bounded by this certificate: it stays a built-in with "
        "32-bit sums"
    )


def conv(**changes):
    """A sound convolution's file with fields of its objects set, by "object.field"."""
    model = models.unpack(
        models.conv2d(CONV, [1, 5, 5, 2], bias=np.arange(4), weight_scale=[0.01] * 4)
    )
    graph = model.subgraphs[0]
    objects = dict(zip("xwby", graph.tensors, strict=True))
    objects |= {f"{k}q": t.quantization for k, t in objects.items()}
    objects |= {"op": graph.operators[0], "options": graph.operators[0].builtinOptions}
    for path, value in changes.items():
        name, field = path.split("__")
        assert hasattr(objects[name], field)
        setattr(objects[name], field, value)
    return models.pack(model)


def floats(*values):
    return np.array(values, np.float32)


def ints(*values):
    return np.array(values, np.int32)


def zeros(*values):
    return np.array(values, np.int64)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"x__type": schema.TensorType.FLOAT32}, "its input 'input' is FLOAT32"),
        ({"x__type": schema.TensorType.UINT8}, "its input 'input' is UINT8"),
        ({"y__type": schema.TensorType.INT16}, "its output 'conv' is INT16"),
        ({"w__type": schema.TensorType.UINT8}, "its weights 'conv/weights' is UINT8"),
        ({"w__buffer": 0}, "weights 'conv/weights' are computed; plain constants"),
        ({"w__externalBuffer": 1}, "are external"),
        ({"w__sparsity": schema.SparsityParametersT()}, "are sparse"),
        ({"b__buffer": 0}, "its bias 'conv/bias' is no INT32 constant"),
        ({"b__type": schema.TensorType.FLOAT32}, "its bias 'conv/bias' is no INT32 constant"),
        ({"op__inputs": ints(0)}, r"it has inputs \[0\]"),
        ({"op__inputs": ints(-1, 1, 2)}, r"it has inputs \[-1, 1, 2\]"),
        ({"op__inputs": ints(0, 1, 2, 2)}, r"it has inputs \[0, 1, 2, 2\]"),
        ({"op__outputs": ints()}, r"outputs \[\]"),
        ({"xq__scale": floats(1e-39)}, "must be positive and not denormal"),
        (
            {
                "xq__scale": floats(1e-20),
                "wq__scale": floats(1, 1, 1e-19, 1),
                "yq__scale": floats(1e-20),
            },
            "channel 2: s_w = 1e-19 or s_x .* is denormal",
        ),
        (
            {"b__shape": ints(2, 2), "bq__scale": floats(1), "bq__zeroPoint": zeros(0)},
            r"its bias 'conv/bias' .* in the shape \[2, 2\]",
        ),
        ({"x__quantization": None}, "its input 'input' has no single scale"),
        ({"yq__scale": None, "yq__zeroPoint": None}, "its output 'conv' has no single scale"),
        ({"xq__scale": floats(0)}, "has scale 0.0; it must be positive"),
        ({"xq__scale": floats(-1)}, "has scale -1.0; it must be positive"),
        ({"xq__zeroPoint": zeros(128)}, "zero point 128; it must be in"),
        ({"yq__zeroPoint": zeros(-129)}, "zero point -129; it must be in"),
        ({"w__quantization": None}, "weights 'conv/weights' have no scales"),
        ({"wq__zeroPoint": zeros(0, 0, 1, 0)}, "zero point that is not 0"),
        ({"w__shape": ints(4, 9, 2)}, r"shape \[4, 9, 2\]; 4 positive dimensions"),
        (
            {"w__shape": ints(1, 3, 3, 8), "wq__scale": floats(1), "wq__zeroPoint": zeros(0)},
            "its bias 'conv/bias' has 4 elements for 1 channels",
        ),
        (
            {"w__shape": ints(1, 9, 2, 4), "wq__quantizedDimension": 3},
            "scales along dimension 3; the output channels are dimension 0",
        ),
        ({"x__shape": ints(5, 5, 2)}, r"its input has shape \[5, 5, 2\]; 4 dimensions"),
        ({"x__shape": ints(0, 5, 5, 2)}, "are empty"),
        ({"x__shape": ints(1, 5, 5, 3)}, "make no groups"),
        ({"x__shape": ints(1, 5, 5, 6)}, "make no groups"),
        ({"x__shape": ints(1, 6, 5, 2)}, r"output has shape \[1, 5, 5, 4\]; .* \[1, 6, 5, 4\]"),
        ({"options__padding": 1}, r"give \[1, 3, 3, 4\]"),
        ({"options__padding": 2}, "its padding is number 2"),
        ({"options__strideH": 0}, "its stride_h is 0"),
        ({"options__dilationWFactor": -1}, "its dilation_w is -1"),
        ({"options__fusedActivationFunction": 4}, "its activation is number 4"),
        ({"options__quantizedBiasType": schema.TensorType.INT64}, "a bias that is not INT32"),
        ({"wq__scale": floats(0.01, 0.01, 0, 0.01)}, r"channel 2: its multiplier .* is not in"),
        ({"wq__scale": floats(0.01, -0.01, 1, 1)}, "channel 1: its multiplier"),
        (
            {"xq__scale": floats(1), "wq__scale": floats(1, 1, 256, 1), "yq__scale": floats(1)},
            r"channel 2: .* = 256 is not in \(0, 256\)",
        ),
        ({"xq__scale": floats(3e38), "wq__scale": floats(1e9, 1, 1, 1)}, "channel 0: .* = inf"),
        ({"xq__scale": floats(1e-30), "wq__scale": floats(1e-30, 1, 1, 1)}, "channel 0: .* = 0 "),
    ],
)
def test_reasons(changes, text):
    reason = only_op(conv(**changes)).reason
    assert reason is not None
    assert re.search(text, reason), reason


def test_the_greatest_multiplier_is_taken():
    scale = np.nextafter(np.float32(256), np.float32(0))
    op = only_op(conv(xq__scale=floats(1), wq__scale=floats(1, 1, scale, 1), yq__scale=floats(1)))
    assert op.reason is None
    assert op.multiplier[2] == scale


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("weightsFormat", 1, "stored shuffled"),
        ("asymmetricQuantizeInputs", True, "asymmetric hybrid"),
        ("fusedActivationFunction", 5, "activation is number 5"),
    ],
)
def test_reasons_of_fully_connected(field, value, text):
    model = models.unpack(models.fully_connected(DENSE, [2, 8]))
    setattr(model.subgraphs[0].operators[0].builtinOptions, field, value)
    assert text in only_op(models.pack(model)).reason


def test_rows_that_do_not_split_into_features():
    model = models.unpack(models.fully_connected(DENSE, [2, 8]))
    model.subgraphs[0].tensors[0].shape = ints(1, 9)
    assert "does not split into rows of 8 features" in only_op(models.pack(model)).reason


def test_depth_multiplier_that_does_not_fit():
    model = models.unpack(models.depthwise_conv2d(DEPTHWISE, [1, 5, 5, 3]))
    model.subgraphs[0].operators[0].builtinOptions.depthMultiplier = 1
    assert "depth multiplier 1] is needed" in only_op(models.pack(model)).reason


def test_padding_value_outside_the_operand_range_of_a_custom_operator():
    blob = options.encode(options.CONV_2D, {"in_min": 1, "in_max": 7})
    op = only_op(models.conv2d(CONV, [1, 5, 5, 2], custom_options=blob))
    assert op.reason == ("its padding value, the zero point 0, is outside its input range [1, 7]")


@pytest.mark.parametrize(("bias", "fits"), [(2**31 - 1 - 128 * 8, True), (2**31 - 128 * 8, False)])
@pytest.mark.parametrize("sign", [1, -1])
def test_bias_and_sum_at_the_edge_of_int32(bias, fits, sign):
    weights = np.ones((1, 8), np.int8)
    op = only_op(models.fully_connected(weights, [1, 8], bias=np.array([sign * bias])))
    assert (op.reason is None) == fits
    if not fits:
        assert f"its sum with bias can reach {2**31}" in op.reason


def test_bias_less_zero_points_outside_int32():
    weights = np.full((1, 8), 127, np.int8)
    data = models.fully_connected(weights, [1, 8], bias=np.array([2**31 - 1]), input_zero=-128)
    assert f"is {2**31 - 1 + 128 * 127 * 8}, which leaves int32" in only_op(data).reason


def test_damaged_options_of_a_custom_operator_say_where():
    data = models.conv2d(CONV, [1, 5, 5, 2], custom_options=b"\0\0\0\0")
    with pytest.raises(InvalidFileError, match=r"operator 0 \(AccqConv2D, 'conv'\) of subgraph 0"):
        quantized_ops(load(data))


def test_changing_sizes_are_no_mismatch():
    data = models.conv2d(CONV, [1, 5, 5, 2], shape_signature=[-1, -1, 5, 2])
    model = models.unpack(data)
    model.subgraphs[0].tensors[0].shape = ints(1, 1, 5, 2)
    assert only_op(models.pack(model)).reason is None
