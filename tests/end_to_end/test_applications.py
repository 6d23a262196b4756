"""Networks of `keras.applications` with random weights: a training step, conversion, kernels."""

import numpy as np
import pytest

import keras_accq as accq

pytestmark = pytest.mark.slow

_NAMES = {
    "MobileNet": {"alpha": 0.25},
    "MobileNetV2": {"alpha": 0.35},
    "MobileNetV3Small": {"alpha": 0.75},
    "MobileNetV3Large": {"alpha": 0.75},
    "EfficientNetB0": {},
    "ResNet50": {},
}


def _network(name: str, images):
    """With BatchNormalization that has seen the images: else all tensors fade toward 0."""
    import keras

    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(
        input_shape=images.shape[1:],
        weights=None,
        classes=10,
        classifier_activation=None,
        **_NAMES[name],
    )
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    model(images, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model


@pytest.mark.parametrize("name", _NAMES)
def test_from_a_training_step_to_kernels(name, tmp_path, delegate_library) -> None:
    import keras
    from ai_edge_litert.interpreter import Interpreter
    from end_to_end.running import outputs

    from keras_accq.layers import ActivationQuantizer

    random = np.random.default_rng(0)
    images = random.uniform(0, 255, (16, 32, 32, 3)).astype(np.float32)
    model = _network(name, images)
    qmodel = accq.quantize(model, 16, calibration_data=images)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Tracing a graph of some hundred layers takes longer than the step.
    qmodel.compile(keras.optimizers.SGD(1e-4), loss, run_eagerly=True)
    assert np.isfinite(qmodel.train_on_batch(images, np.arange(16) % 10))
    accq.round_biases(qmodel)

    path = tmp_path / "custom.tflite"
    certificate = accq.convert(qmodel, path, input_type="float32", output_type="float32")
    count = len(accq.summary(qmodel).layers)
    assert certificate.verdict == f"P = 16 monolithic: all {count} ops"
    accq.rewrite(path, tmp_path / "builtin.tflite", ops="builtin")
    (stock,) = outputs(Interpreter, tmp_path / "builtin.tflite", [images])
    (ours,) = outputs(accq.Interpreter, path, [images])
    np.testing.assert_array_equal(ours, stock)
    logits = np.asarray(qmodel(images, training=False))
    quantizers = [x for x in qmodel.layers if isinstance(x, ActivationQuantizer)]
    step = float(quantizers[-1].quantization()[0])
    assert np.ptp(logits, axis=0).max() > 10 * step
    # With random weights a single rounding of the sums in float32, one in some ten thousand values,
    # can change all that follows. An operator that computes something else would do so everywhere.
    same = (np.abs(stock - logits) < 0.5 * step).all(axis=1)
    assert same.mean() >= 0.5
