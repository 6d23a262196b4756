import keras
import keras_models
import numpy as np
import pytest

from keras_accq.quantize import quantize
from keras_accq.weight_decay import exclude_from_weight_decay


def test_scales_norms_and_biases_do_not_decay() -> None:
    qmodel = quantize(keras_models.sequential(), calibration_data=keras_models.images(8))
    optimizer = keras.optimizers.SGD(0.1, weight_decay=0.5)
    exclude_from_weight_decay(optimizer, qmodel)
    optimizer.build(qmodel.trainable_variables)
    before = {v.path: np.array(v) for v in qmodel.trainable_variables}
    zeros = [np.zeros(v.shape, np.float32) for v in qmodel.trainable_variables]
    optimizer.apply(zeros, qmodel.trainable_variables)
    changed = {v.path for v in qmodel.trainable_variables if (np.array(v) != before[v.path]).any()}
    kernels = {"conv1/kernel", "conv2/kernel", "dense/kernel"}
    # Batch normalization is the caller's own choice.
    assert changed == {*kernels, "norm1/gamma", "norm1/beta"}


def test_mistakes_are_refused() -> None:
    model = keras_models.sequential()
    with pytest.raises(ValueError, match="'plain' has no quantized layers"):
        exclude_from_weight_decay(keras.optimizers.SGD(weight_decay=0.1), model)
    qmodel = quantize(model, input_range=(0, 255))
    optimizer = keras.optimizers.SGD(weight_decay=0.1)
    optimizer.build(qmodel.trainable_variables)
    with pytest.raises(ValueError, match="before the optimizer is built"):
        exclude_from_weight_decay(optimizer, qmodel)
