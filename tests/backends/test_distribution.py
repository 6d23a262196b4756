"""Training on two devices; the budget holds after, and the grids are those of one model."""

import keras
import numpy as np
import pytest
from backends.networks import images, labels, small
from backends.test_each import LOSS, assert_budgets_hold

import keras_accq as accq
from keras_accq.layers import ActivationQuantizer
from keras_accq.quantizers.grids import grid


@pytest.fixture
def distributed(backend, request):
    """A scope in which models are distributed over two CPU devices."""
    if backend == "tensorflow":
        with request.getfixturevalue("mirrored").scope():
            yield
    elif backend == "jax":
        devices = keras.distribution.list_devices()
        assert len(devices) == 2
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
        yield
        keras.distribution.set_distribution(None)
    else:
        pytest.skip("Keras distributes PyTorch models only through PyTorch's own launcher")


# With data the ranges are set once; without, each device observes its own half of a batch.
@pytest.mark.parametrize("observe", [False, True])
def test_two_devices_train_within_the_budget(observe, distributed, backend, tmp_path) -> None:
    x = images() * np.where(np.arange(64) % 2, 1, -3)[:, None, None, None].astype(np.float32)
    data = {} if observe else {"calibration_data": x}
    qmodel = accq.quantize(small(), 12, **data)
    before = [w.copy() for w in qmodel.get_weights()]
    qmodel.compile(keras.optimizers.SGD(0.02), LOSS)
    qmodel.fit(x, labels(), batch_size=32, epochs=2, verbose=0, callbacks=[accq.BudgetMonitor()])
    kernel = qmodel.get_layer("conv").kernel
    if backend == "jax":
        assert len(kernel.value.sharding.device_set) == 2
    else:
        assert len(kernel.value.values) == 2
    after = qmodel.get_weights()
    assert any((a != b).any() for a, b in zip(before, after, strict=True))
    assert_budgets_hold(qmodel)
    for layer in qmodel.layers:
        if isinstance(layer, ActivationQuantizer) and layer.observe:
            low, high, scale, zero_point = (
                keras.ops.convert_to_numpy(variable)
                for variable in (layer.low, layer.high, layer.scale, layer.zero_point)
            )
            wanted = grid(float(low), float(high), layer.bits)
            np.testing.assert_allclose(scale, wanted[0], rtol=1e-6)
            assert zero_point == wanted[1]
    assert np.isfinite(qmodel.predict(x, batch_size=32, verbose=0)).all()
    if backend == "tensorflow":
        certificate = accq.convert(qmodel, tmp_path / "model.tflite")
        assert certificate.verdict == "P = 12 monolithic: all 3 ops"
