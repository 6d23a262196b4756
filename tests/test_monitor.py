import keras
import keras_models
import numpy as np
import pytest

import keras_accq as accq
from keras_accq.bounds import accumulator_limit, worst_case
from keras_accq.layers.kernels import to_matrix

_IMAGES = keras_models.images()
_LABELS = np.arange(64) % 5


def _trained(qmodel, *callbacks, epochs: int = 2):
    qmodel.compile(keras.optimizers.SGD(1e-3), "sparse_categorical_crossentropy", run_eagerly=True)
    return qmodel.fit(
        _IMAGES, _LABELS, epochs=epochs, batch_size=64, callbacks=list(callbacks), verbose=0
    ).history


def _quantized(acc_bits: int, **options):
    return accq.quantize(keras_models.sequential(), acc_bits, input_range=(0, 255), **options)


def test_the_logs_hold_the_exact_share_of_each_accumulator() -> None:
    qmodel = _quantized(14, exclude=["conv1"])
    history = _trained(qmodel, accq.BudgetMonitor())
    names = {"conv2", "dense"}
    assert {key for key in history if "/" in key} == {
        f"{kind}/{name}" for kind in ("budget_use", "overflow_risk") for name in names
    }
    for name in names:
        layer = qmodel.get_layer(name)
        q = to_matrix(layer, layer.quantized_kernel()[0]).T
        worst = int(worst_case(q, *layer.operands.input_range).max())
        assert history[f"budget_use/{name}"][-1] == worst / accumulator_limit(14) <= 1
    assert history["budget_use"][-1] == max(history[f"budget_use/{n}"][-1] for n in names)
    assert all(len(values) == 2 for values in history.values())


@pytest.mark.parametrize("method", ["a2q", "a2q+", "a2q_unsigned", "round"])
def test_weights_that_would_not_fit_are_a_risk(method) -> None:
    wide = _quantized(24, method=method, weight_bits=8, input_bits=8)
    narrow = _quantized(24, method=method, weight_bits=8, input_bits=8)
    for layer in (narrow.get_layer("conv1"), narrow.get_layer("conv2")):
        matrix = layer._variable.numpy()
        if "log2_norm" in layer._parameters:
            layer._parameters["log2_norm"].assign(layer._parameters["log2_norm"] + 20)
        layer._variable.assign(matrix * (1 if "log2_norm" in layer._parameters else 1e6))
    assert _trained(wide, accq.BudgetMonitor(), epochs=1)["overflow_risk"] == [0.0]
    # All weights are at 127, with an accumulator that holds them.
    assert _trained(narrow, accq.BudgetMonitor(), epochs=1)["overflow_risk"] == [0.0]
    for layer in (narrow.get_layer("conv1"), narrow.get_layer("conv2")):
        layer.operands = type(layer.operands)(14, 8, 8)
    history = _trained(narrow, accq.BudgetMonitor(), epochs=1)
    assert history["overflow_risk/conv1"] == [1.0]
    assert 0.3 < history["budget_use/conv1"][0] <= 1
    channels = {"conv1": 8, "conv2": 12, "dense": 5}
    assert history["overflow_risk"][0] == pytest.approx(
        sum(n * history[f"overflow_risk/{name}"][0] for name, n in channels.items()) / 25
    )


def test_only_the_model_s_values() -> None:
    history = _trained(_quantized(16), accq.BudgetMonitor(per_layer=False), epochs=1)
    assert {key for key in history if key != "loss"} == {"budget_use", "overflow_risk"}


def test_tensorboard_gets_them(tmp_path) -> None:
    from tensorflow.compat.v1.train import summary_iterator

    board = keras.callbacks.TensorBoard(tmp_path)
    _trained(_quantized(16), accq.BudgetMonitor(), board, epochs=1)
    (file,) = (tmp_path / "train").glob("events*")
    tags = {value.tag for event in summary_iterator(str(file)) for value in event.summary.value}
    assert {"epoch_budget_use", "epoch_overflow_risk", "epoch_budget_use/conv2"} <= tags


def test_weights_that_diverged_are_nan() -> None:
    qmodel = _quantized(16)
    monitor = accq.BudgetMonitor()
    monitor.set_model(qmodel)
    layer = qmodel.get_layer("conv2")
    layer._variable.assign(np.full(layer._variable.shape, np.nan))
    logs = {}
    monitor.on_epoch_end(0, logs)
    assert np.isnan(logs["budget_use/conv2"])
    assert np.isfinite(logs["budget_use/conv1"])


def test_a_model_without_budgets_is_refused() -> None:
    model = keras_models.sequential()
    with pytest.raises(ValueError, match="'plain' has no layer with an accumulator budget"):
        _trained(model, accq.BudgetMonitor())


@pytest.mark.slow
def test_the_logs_of_tf_keras_hold_the_same() -> None:
    pytest.importorskip("tensorflow_model_optimization")
    from tf_keras_models import compiled, digits, residual

    from keras_accq.tfmot.to_keras3 import quantized_model

    x, y = digits()
    qmodel = compiled(accq.quantize(residual(), 14, input_range=(0, 1)))
    monitor = accq.BudgetMonitor()
    history = qmodel.fit(x[:64], y[:64], epochs=2, callbacks=[monitor], verbose=0).history
    again = accq.BudgetMonitor()
    again.set_model(quantized_model(qmodel))
    logs: dict[str, float] = {}
    again.on_epoch_end(0, logs)
    assert len(logs) == 8
    for key, value in logs.items():
        assert history[key][-1] == pytest.approx(value, abs=1e-12)
