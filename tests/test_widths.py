import keras
import numpy as np
import pytest

from keras_accq import widths
from keras_accq.calibration import Measurement
from keras_accq.graph.groups import Group, find
from keras_accq.graph.nodes import read
from keras_accq.settings import LayerSettings

_RNG = np.random.default_rng(0)
_KERNELS = {"a": _RNG.normal(size=(64, 6)), "b": _RNG.normal(size=(64, 3))}
_SAMPLES = np.abs(_RNG.normal(size=4000)).astype(np.float32)
_MEASURED = Measurement(0.0, 6.5, _SAMPLES)


def _group() -> Group:
    """A tensor that comes from a ReLU and is read by the layers a and b."""
    inputs = keras.Input((64,))
    x = keras.layers.ReLU(name="relu")(inputs)
    outputs = [keras.layers.Dense(6, name="a")(x), keras.layers.Dense(3, name="b")(x)]
    return next(g for g in find(read(keras.Model(inputs, outputs))) if g.name == "relu")


def _choose(measurement=None, input_range=None, **settings) -> widths.GroupWidths:
    wanted = {name: LayerSettings(**settings) for name in "ab"}
    return widths.choose(_group(), wanted, _KERNELS, measurement, input_range)


def test_eight_bits_span_everything_measured() -> None:
    chosen = _choose(_MEASURED, input_bits=8, acc_bits=20)
    assert (chosen.bits, chosen.range, chosen.clip) == (8, (0.0, 6.5), None)


def test_few_bits_span_less_than_the_largest_value() -> None:
    chosen = _choose(_MEASURED, input_bits=3)
    assert chosen.bits == 3
    low, high = chosen.range
    assert low == 0
    assert 1 < high < _SAMPLES.max()
    assert {layer.widths_from for layer in chosen.layers.values()} == {"measured"}


def test_a_given_input_range_is_kept_whole() -> None:
    for measurement in (None, _MEASURED):
        chosen = _choose(measurement, (0.0, 255.0), input_bits=4)
        assert (chosen.range, chosen.clip) == ((0.0, 255.0), None)


def test_without_data_training_observes_and_clips_few_bits() -> None:
    few = _choose(input_bits=4)
    assert few.range is None
    assert 2 < few.clip < 4
    assert {layer.widths_from for layer in few.layers.values()} == {"assumed"}
    many = _choose(input_bits=8, acc_bits=20)
    assert (many.range, many.clip) == (None, None)


def test_readers_share_n_and_have_an_m_each() -> None:
    wanted = {"a": LayerSettings(weight_bits=3), "b": LayerSettings(acc_bits=12)}
    chosen = widths.choose(_group(), wanted, _KERNELS, _MEASURED, None)
    assert {layer.operands.input_bits for layer in chosen.layers.values()} == {chosen.bits}
    assert chosen.layers["a"].operands.weight_bits == 3
    assert chosen.layers["b"].operands.acc_bits == 12
    assert chosen.layers["a"].scales.shape == (6,)


def test_excluded_readers_have_no_say() -> None:
    wanted = {"a": LayerSettings(exclude=True, input_bits=3), "b": LayerSettings(input_bits=5)}
    widths.check([_group()], wanted)
    chosen = widths.choose(_group(), wanted, _KERNELS, _MEASURED, None)
    assert chosen.bits == 5
    assert chosen.layers["a"].operands.acc_bits is None
    assert chosen.layers["a"].operands.input_bits == 8
    alone = widths.choose(
        _group(), dict.fromkeys("ab", LayerSettings(exclude=True)), _KERNELS, _MEASURED, None
    )
    assert (alone.bits, alone.range) == (8, (0.0, 6.5))


def test_all_widths_given_are_reported_so() -> None:
    chosen = _choose(_MEASURED, input_bits=5, weight_bits=6)
    assert {layer.widths_from for layer in chosen.layers.values()} == {"given"}


def test_conflicting_input_widths_are_named() -> None:
    wanted = {"a": LayerSettings(input_bits=4), "b": LayerSettings(input_bits=5)}
    with pytest.raises(ValueError, match=r"'relu' share one width.*'a': 4"):
        widths.check([_group()], wanted)


def test_ranges_are_learned_where_training_measured_and_clips_them() -> None:
    assert _choose(_MEASURED, input_bits=4).learn
    assert not _choose(_MEASURED, input_bits=4, method="axe").learn
    assert not _choose(_MEASURED, (0.0, 255.0), input_bits=4).learn
    assert not _choose(input_bits=4).learn
    assert not _choose(_MEASURED, input_bits=8, acc_bits=20).learn


def test_methods_that_train_take_wider_inputs() -> None:
    kernels = {name: np.random.default_rng(1).normal(size=(576, 8)) for name in "ab"}
    bits = {}
    for method in ("a2q", "round", "axe"):
        wanted = {name: LayerSettings(method=method) for name in "ab"}
        bits[method] = widths.choose(_group(), wanted, kernels, _MEASURED, None).bits
    assert bits["axe"] < bits["a2q"]


def test_a_fixed_scale_is_read_with_eight_bits() -> None:
    inputs = keras.Input((64,))
    x = keras.layers.Activation("sigmoid", name="gate")(inputs)
    outputs = keras.layers.Dense(6, name="a")(x)
    (group,) = (g for g in find(read(keras.Model(inputs, outputs))) if g.name == "gate")
    measured = Measurement(0.2, 0.7, np.full(100, 0.5, np.float32))
    settings = {"a": LayerSettings(acc_bits=16)}
    widths.check([group], settings)
    for measurement in (None, measured):
        chosen = widths.choose(group, settings, _KERNELS, measurement, None, solved_bits=4)
        assert (chosen.bits, chosen.range) == (8, (0.0, 255 / 256))
        assert (chosen.clip, chosen.learn) == (None, False)
    with pytest.raises(ValueError, match=r"a reads 'gate'.*8 bits; received 4"):
        widths.check([group], {"a": LayerSettings(acc_bits=16, input_bits=4)})
