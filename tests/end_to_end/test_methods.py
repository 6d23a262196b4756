"""Every method's integers in a file: certified, and driven to their bounds in LiteRT and kernels.

Layers are quantized without training, from random float weights, and written as flatbuffers by the
tests' own builders.
"""

import re

import keras
import numpy as np
import pairwise
import pytest
import tflite_models as models
from worst_case import worst_case_input

import keras_accq as accq
from keras_accq import fill
from keras_accq.bounds import Partition, accumulator_limit, least_acc_bits, worst_case
from keras_accq.errors import BudgetError
from keras_accq.layers import QuantizedConv2D, QuantizedDense, QuantizedDepthwiseConv2D
from keras_accq.layers.kernels import to_matrix
from keras_accq.quantizers import methods
from keras_accq.tflite.ops import quantized_ops
from keras_accq.tflite.options import encode
from keras_accq.tflite.reader import load

pytestmark = [
    pytest.mark.usefixtures("delegate_library"),
    # Narrow accumulators are the point here.
    pytest.mark.filterwarnings("ignore:Most weights do not fit"),
]

_LAYERS = {
    "conv": (QuantizedConv2D, {"filters": 5, "kernel_size": 3}, (3, 3, 16)),
    "grouped": (QuantizedConv2D, {"filters": 4, "kernel_size": 3, "groups": 2}, (3, 3, 24)),
    "depthwise": (QuantizedDepthwiseConv2D, {"kernel_size": 5, "depth_multiplier": 2}, (5, 5, 3)),
    "dense": (QuantizedDense, {"units": 5}, (200,)),
}
_CASES = pairwise.cover(
    method=sorted(methods.METHODS),
    acc_bits=(8, 10, 12, 14, 16, 20, 32),
    tile=(None, 9, 64),
    kind=tuple(_LAYERS),
)
_CODES = {
    "conv": "AccqConv2D",
    "grouped": "AccqConv2D",
    "depthwise": "AccqDepthwiseConv2D",
    "dense": "AccqFullyConnected",
}
_BUILDERS = {
    "conv": models.conv2d,
    "grouped": models.conv2d,
    "depthwise": models.depthwise_conv2d,
    "dense": models.fully_connected,
}


def _choice(kernel, method, acc_bits, tile, depthwise):
    stats = fill.LayerStats(
        "layer",
        kernel.T,
        acc_bits,
        Partition.of_tile(tile),
        rounding=methods.get(method).rounding(depthwise),
    )
    return fill.choose([stats])


def _layer(kind, method, acc_bits, tile):
    """A layer of random weights at the widths that the fill rule chooses."""
    layer_class, arguments, shape = _LAYERS[kind]
    rng = np.random.default_rng(acc_bits)

    def built(**widths):
        layer = layer_class(**arguments, use_bias=False, tile=tile, method=method, **widths)
        layer.build((None, *shape))
        return layer

    float_layer = layer_class.__mro__[2](**arguments)
    float_layer.build((None, *shape))
    kernel = rng.normal(size=float_layer.kernel.shape)
    depthwise = kind == "depthwise"
    choice = _choice(to_matrix(float_layer, kernel), method, acc_bits, tile, depthwise)
    chosen = choice.layers[0]
    layer = built(acc_bits=acc_bits, input_bits=choice.input_bits, weight_bits=chosen.weight_bits)
    layer.set_float_weights(kernel, None, chosen.scales)
    return layer


def _file(layer, kind, samples):
    """The layer with `samples` inputs, its sums spread over int8: its bytes."""
    q, scales = layer.quantized_kernel()
    operands = layer.operands
    low, high = operands.input_range
    options = {
        "acc_bits": operands.acc_bits,
        "partition": 1 if operands.tile is None else 2,
        "partition_size": operands.tile or 0,
        "in_min": low,
        "in_max": high,
    }
    weights = {
        "conv": lambda: q.transpose(3, 0, 1, 2),
        "grouped": lambda: q.transpose(3, 0, 1, 2),
        "depthwise": lambda: q.reshape(1, *q.shape[:2], -1),
        "dense": lambda: q.T,
    }[kind]()
    if kind != "dense":
        options["padding"] = models.PADDING["VALID"]
    if kind == "depthwise":
        options["depth_multiplier"] = q.shape[3]
    worst = int(worst_case(to_matrix(layer, q).T, low, high).max())
    arguments = {} if kind == "dense" else {"padding": "VALID"}
    return _BUILDERS[kind](
        weights,
        (samples, *_LAYERS[kind][2]),
        custom_options=encode(_CODES[kind], options),
        weight_scale=scales,
        output_scale=float(0.05 * scales.max() * max(worst, 1) / 127),
        **arguments,
    )


def _worst_inputs(data, kind):
    """Inputs that drive each channel to its largest and its smallest sum."""
    (op,) = quantized_ops(load(data))
    shape = (1, *_LAYERS[kind][2])
    return np.concatenate(
        [
            worst_case_input(op, channel, shape, sign=sign)
            for channel in range(op.channels)
            for sign in (1, -1)
        ]
    )


def _delegated(data, x):
    interpreter = accq.Interpreter(model_content=data)
    assert interpreter.delegated_nodes == 1
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def test_every_pair_is_among_the_cases() -> None:
    assert len(_CASES) < 70
    for first in methods.METHODS:
        assert {c["acc_bits"] for c in _CASES if c["method"] == first} == {
            *(8, 10, 12, 14, 16, 20, 32)
        }
        assert {c["kind"] for c in _CASES if c["method"] == first} == set(_LAYERS)


@pytest.mark.parametrize("case", _CASES, ids=lambda c: "-".join(map(str, c.values())))
def test_certified_and_exact_at_the_worst_inputs(case) -> None:
    method, acc_bits, tile, kind = (case[k] for k in ("method", "acc_bits", "tile", "kind"))
    try:
        layer = _layer(kind, method, acc_bits, tile)
    except BudgetError as error:
        # The documented error names a P that does.
        assert method == "type_bound"
        least = int(re.search(r"acc_bits >= (\d+)", str(error)).group(1))
        assert least > acc_bits
        layer = _layer(kind, method, least, tile)
        acc_bits = least
    operands = layer.operands
    q = to_matrix(layer, layer.quantized_kernel()[0]).T
    assert (q != 0).any()

    count = 2 * len(q)
    data = _file(layer, kind, count)
    certificate = accq.verify(data)
    (certified,) = certificate.ops
    assert certified.fits
    assert certified.acc_bits == acc_bits
    assert certified.partition == operands.partition
    worst = worst_case(q, *operands.input_range, operands.partition)
    np.testing.assert_array_equal(certified.worst_case, worst)
    assert worst.max() <= accumulator_limit(acc_bits)

    x = _worst_inputs(data, kind)
    for arithmetic in ("wrap", "saturate"):
        simulated = accq.simulate(data, x, arithmetic=arithmetic)
        assert (simulated.overflows, simulated.differences) == (0, 0)
    np.testing.assert_array_equal(_delegated(data, x), simulated.outputs[0])

    # These inputs do reach the bound: one bit less is too few.
    needed = int(least_acc_bits(q, *operands.input_range, operands.partition).max())
    assert needed <= acc_bits
    if needed > 2:
        partition = operands.partition
        less = accq.simulate(data, x, acc_bits=needed - 1, partition=partition, arithmetic="wrap")
        assert less.overflows > 0


@pytest.mark.parametrize(
    ("method", "least"), [("a2q", 9), ("a2q+", 9), ("round", 9), ("a2q_unsigned", 10)]
)
def test_a_budget_below_one_is_the_documented_error(method, least) -> None:
    inputs = keras.Input((40,))
    model = keras.Model(inputs, keras.layers.Dense(3, name="dense")(inputs))
    with pytest.raises(BudgetError, match=rf"dense: .*expected acc_bits >= {least}"):
        accq.quantize(model, acc_bits=least - 1, input_bits=8, method=method)
    accq.quantize(model, acc_bits=least, input_bits=8, weight_bits=4, method=method)
    with pytest.raises(BudgetError, match=r"dense: .*40 products.*expected acc_bits >= 9"):
        accq.quantize(model, acc_bits=8, method="type_bound")


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted(set(methods.METHODS) - {"axe"}))
def test_trains_saves_and_loads(method, tmp_path) -> None:
    rng = np.random.default_rng(0)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 8)),
            keras.layers.Conv2D(4, 3, activation="relu", name="conv"),
            keras.layers.DepthwiseConv2D(3, activation="relu", name="depthwise"),
            keras.layers.Flatten(),
            keras.layers.Dense(3, name="dense"),
        ]
    )
    qmodel = accq.quantize(model, acc_bits=16, method=method, input_range=(-3, 3))
    x = rng.normal(size=(32, 6, 6, 8)).astype(np.float32)
    before = qmodel.get_layer("conv").get_weights()
    qmodel.compile(keras.optimizers.SGD(0.05), "mse")
    qmodel.fit(x, rng.normal(size=(32, 3)), batch_size=8, epochs=2, verbose=0)
    for name in ("conv", "depthwise", "dense"):
        layer = qmodel.get_layer(name)
        q = to_matrix(layer, layer.quantized_kernel()[0]).T
        worst = worst_case(q, *layer.operands.input_range, layer.operands.partition)
        assert 0 < worst.max() <= accumulator_limit(16)
    changed = [
        not np.array_equal(a, b)
        for a, b in zip(before, qmodel.get_layer("conv").get_weights(), strict=True)
    ]
    assert all(changed)
    qmodel.save(tmp_path / "model.keras")
    again = accq.load_model(tmp_path / "model.keras")
    assert again.get_layer("conv").method == methods.get(method)
    np.testing.assert_array_equal(again(x), qmodel(x))
