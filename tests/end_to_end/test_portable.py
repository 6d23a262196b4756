"""Files of built-ins with their certificate: the same outputs in every runtime, delegate or not."""

import numpy as np
import pytest
import tflite_models as models
from ai_edge_litert.interpreter import Interpreter as Stock

import keras_accq as accq
from keras_accq.tflite.fuse import Constraint

pytestmark = pytest.mark.usefixtures("delegate_library")
_RNG = np.random.default_rng(5)
_IMAGES = _RNG.integers(-128, 128, (4, 1, 10, 10, 6)).astype(np.int8)


def _portable() -> bytes:
    """Convolution with a clamped operand, depthwise, dense; each with a claim that holds."""
    graph = models.GraphBuilder()

    def weights(*shape: int) -> np.ndarray:
        return _RNG.integers(-2, 3, shape)

    x = y = graph.tensor("input", [1, 10, 10, 6], scale=0.05, zero_point=-4)
    y = models.add_conv2d(
        graph,
        y,
        weights(8, 3, 3, 6),
        name="conv",
        output_scale=0.02,
        activation=models.RELU,
        weight_scale=_RNG.uniform(0.005, 0.02, 8),
        bias=_RNG.integers(-50, 50, 8),
    )
    y = models.add_depthwise_conv2d(
        graph, y, weights(1, 3, 3, 8), name="depthwise", output_scale=5e-4
    )
    y = models.add_fully_connected(
        graph, y, weights(5, 8), name="dense", output_scale=1e-5, keep_num_dims=True
    )
    data = graph.build([x], [y])
    claim = Constraint(16, accq.Partition(), in_min=-64, in_max=63)
    claims = {op.name: claim for op in accq.verify(data).ops}
    return accq.rewrite(data, ops="builtin", constraints=claims).model


def _outputs(interpreter) -> np.ndarray:
    interpreter.allocate_tensors()
    results = []
    for image in _IMAGES:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
        interpreter.invoke()
        results.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
    return np.stack(results)


def test_with_and_without_the_delegate_in_litert():
    data = _portable()
    certificate = accq.verify(data)
    assert certificate.verdict == "P = 16 monolithic: all 3 ops"
    assert not any(op.custom for op in certificate.ops)
    stock = _outputs(Stock(model_content=data))
    assert len(np.unique(stock)) > 20
    # A kernel is named so that all layers are taken, whether or not this CPU gains by it.
    for kernel, taken in ((None, None), ("reference", 3)):
        ours = accq.Interpreter(model_content=data, claim="builtin", kernel=kernel)
        np.testing.assert_array_equal(_outputs(ours), stock)
        assert taken in (None, ours.delegated_builtins)
    custom = accq.Interpreter(model_content=accq.rewrite(data).model)
    np.testing.assert_array_equal(_outputs(custom), stock)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated.*")
def test_with_and_without_the_delegate_in_tensorflow(delegate_library):
    import tensorflow as tf

    data = _portable()
    expected = _outputs(Stock(model_content=data))
    np.testing.assert_array_equal(_outputs(tf.lite.Interpreter(model_content=data)), expected)
    options = {"claim": "builtin", "kernel": "reference"}
    delegate = tf.lite.experimental.load_delegate(accq.delegate_path(), options)
    ours = tf.lite.Interpreter(model_content=data, experimental_delegates=[delegate])
    np.testing.assert_array_equal(_outputs(ours), expected)
