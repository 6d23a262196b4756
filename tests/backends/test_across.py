"""What the other backends made, against what TensorFlow makes; runs last, on TensorFlow."""

import numpy as np
import pytest
from backends.networks import METHODS, images, real_data
from backends.real_files import assert_runs_as_predicted
from backends.test_each import numbers
from backends.test_real_data import SCHEDULES

import keras_accq as accq

OTHERS = ("jax", "torch")


def _assert_alike(name: str, ours: np.ndarray, wanted: np.ndarray, method: str) -> None:
    """Alike but for the order of floating-point sums, which rounding may turn into a unit."""
    if name.endswith(" q"):
        difference = np.abs(ours.astype(int) - wanted.astype(int))
        if method == "axe":  # Each integer follows from those before it.
            assert np.mean(difference > 0) <= 0.05, name
        else:
            assert difference.max() <= 1, name
            assert np.mean(difference > 0) <= 0.001, name
    elif name.endswith(" outputs"):
        step = np.diff(np.unique(wanted)).min()
        assert np.mean(np.abs(ours - wanted) > 0.5 * step) <= 0.1, name
        assert np.abs(ours - wanted).max() <= 1.01 * step, name
    else:
        np.testing.assert_allclose(ours, wanted, rtol=1e-3, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("method", METHODS)
def test_backends_agree(method, other, exchange) -> None:
    ours = np.load(exchange / f"tensorflow-{method}.npz")
    theirs = np.load(exchange / f"{other}-{method}.npz")
    assert set(ours) == set(theirs)
    for name in ours:
        _assert_alike(name, theirs[name], ours[name], method)
    mine, their = (accq.Recipe.load(exchange / f"{b}-{method}.json") for b in ("tensorflow", other))
    for a, b in zip(mine.layers, their.layers, strict=True):
        assert (a.name, a.weight_bits, a.tile) == (b.name, b.weight_bits, b.tile)
    for a, b in zip(mine.tensors, their.tensors, strict=True):
        assert (a.name, a.bits) == (b.name, b.bits)
        np.testing.assert_allclose(a.range, b.range, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("method", ["a2q", "a2q+", "axe"])
def test_models_of_other_backends_are_loaded(method, other, exchange, tmp_path) -> None:
    qmodel = accq.load_model(exchange / f"{other}-{method}.keras")
    theirs = np.load(exchange / f"{other}-{method}.npz")
    for name, value in numbers(qmodel, "trained").items():
        if name.endswith((" q", " grid")):
            np.testing.assert_array_equal(value, theirs[name])
        else:
            _assert_alike(name, value, theirs[name], method)
    certificate = accq.convert(qmodel, tmp_path / "model.tflite")
    assert certificate.verdict == "P = 18 monolithic: all 3 ops"


@pytest.mark.parametrize("made_on", ["tensorflow", *OTHERS])
def test_attention_is_converted(made_on, exchange, tmp_path, delegate_library) -> None:
    qmodel = accq.load_model(exchange / f"{made_on}-attention.keras")
    wanted = np.load(exchange / f"{made_on}-attention.npz")["trained outputs"]
    step = float(qmodel.get_layer("logits_quantizer").quantization()[0])
    path, verdict = tmp_path / "model.tflite", "P = 18 monolithic: 8 of 10 ops; not covered"
    assert_runs_as_predicted(qmodel, images(), wanted, step, path, verdict)


@pytest.mark.parametrize("made_on", ["tensorflow", *OTHERS])
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_is_certified(policy, made_on, exchange, tmp_path) -> None:
    qmodel = accq.load_model(exchange / f"{made_on}-{policy}.keras")
    certificate = accq.convert(qmodel, tmp_path / "model.tflite")
    assert certificate.verdict == "P = 12 monolithic: all 3 ops"
    assert np.isfinite(qmodel.predict(images(), verbose=0)).all()


@pytest.mark.parametrize("made_on", ["tensorflow", *OTHERS])
@pytest.mark.parametrize("name", SCHEDULES)
def test_files_predict_what_the_backend_did(
    name, made_on, exchange, tmp_path, delegate_library
) -> None:
    qmodel = accq.load_model(exchange / f"{made_on}-{name}.keras")
    _, _, x, _ = real_data(name)
    wanted = np.load(exchange / f"{made_on}-{name}.npy")
    step = float(qmodel.get_layer("logits_quantizer").quantization()[0])
    assert_runs_as_predicted(qmodel, x, wanted, step, tmp_path / "model.tflite")
