"""Digits and Fashion-MNIST: trained on this backend; `test_across.py` runs the files."""

import keras
import numpy as np
import pytest
from backends.networks import classifier, real_data
from backends.test_each import LOSS, assert_budgets_hold

import keras_accq as accq

BATCH = 100
# Epochs and learning rates before and after quantization.
SCHEDULES = {"digits": (15, 5e-3, 4, 1e-3), "fashion": (4, 5e-3, 1, 1e-3)}
LEAST_ACCURACY = {"digits": 0.9, "fashion": 0.75}


@pytest.mark.parametrize("name", SCHEDULES)
def test_trained_and_quantized(name, backend, exchange) -> None:
    x, y, x_test, y_test = real_data(name)
    epochs, rate, fine_epochs, fine_rate = SCHEDULES[name]
    model = classifier(x.shape[1])
    model.compile(keras.optimizers.Adam(rate), LOSS)
    model.fit(x, y, batch_size=BATCH, epochs=epochs, verbose=0)
    qmodel = accq.quantize(model, 16, calibration_data=x[:256], input_range=(0, 255))
    qmodel.compile(keras.optimizers.Adam(fine_rate), LOSS)
    qmodel.fit(x, y, batch_size=BATCH, epochs=fine_epochs, verbose=0)
    assert_budgets_hold(qmodel)
    logits = qmodel.predict(x_test, batch_size=BATCH, verbose=0)
    accuracies = [
        np.mean(found.argmax(1) == y_test)
        for found in (model.predict(x_test, batch_size=BATCH, verbose=0), logits)
    ]
    print(f"{name} on {backend}: float {accuracies[0]:.4f}, quantized {accuracies[1]:.4f}")
    assert min(accuracies) > LEAST_ACCURACY[name]
    assert accuracies[1] > accuracies[0] - 0.03
    qmodel.save(exchange / f"{backend}-{name}.keras")
    np.save(exchange / f"{backend}-{name}.npy", logits)
