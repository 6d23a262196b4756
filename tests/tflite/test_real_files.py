"""Files as TFLiteConverter really writes them, from a Keras model quantized after training."""

import numpy as np
import pytest
import tflite_models as models

from keras_accq.tflite.ops import quantized_ops
from keras_accq.tflite.reader import load
from keras_accq.tflite.rewrite import rewrite

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def digits():
    """Handwritten digits: images in [0, 1], [1797, 8, 8, 1], and their labels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return (data.images[..., None] / 16).astype(np.float32), data.target


@pytest.fixture(scope="module")
def network(digits):
    """A small residual network with every kind of layer, trained for a few seconds."""
    import keras

    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    y = keras.layers.DepthwiseConv2D(3, padding="same", depth_multiplier=1)(x)
    y = keras.layers.BatchNormalization()(y)
    y = keras.layers.Conv2D(8, 1, activation="relu6")(y)
    x = keras.layers.Add()([x, y])
    x = keras.layers.Conv2D(16, 3, strides=2, dilation_rate=1)(x)
    x = keras.layers.ReLU()(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(16, activation="relu")(x)
    outputs = keras.layers.Dense(10)(x)
    model = keras.Model(inputs, outputs)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    model.fit(*digits, epochs=6, batch_size=64, verbose=0)
    return model


def convert(network, images, batch):
    import tensorflow as tf

    module = tf.Module()
    module.weights = [variable.value for variable in network.variables]
    module.function = tf.function(
        lambda x: network(x, training=False),
        input_signature=[tf.TensorSpec((batch, 8, 8, 1), tf.float32)],
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [module.function.get_concrete_function()], module
    )
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None]] for image in images[:100])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


@pytest.mark.parametrize("batch", [1, None], ids=["batch1", "batchNone"])
def test_every_dot_product_is_taken_and_comes_back(network, digits, batch):
    data = convert(network, digits[0], batch)
    assert len(quantized_ops(load(data))) == 6
    custom = rewrite(data)
    assert custom.kept == ()
    assert len(custom.taken) == 6
    ops = quantized_ops(load(custom.model))
    assert [op.kind for op in ops] == [
        "conv2d",
        "depthwise_conv2d",
        "conv2d",
        "conv2d",
        "fully_connected",
        "fully_connected",
    ]
    assert all(op.custom and op.reason is None for op in ops)
    back = rewrite(custom.model, ops="builtin")
    assert len(back.taken) == 6
    images = np.round(digits[0][:50] * 255 - 128).astype(np.int8)
    # With the batch left open the whole set goes in at once.
    size = 1 if batch else len(images)
    outputs = []
    for start in range(0, len(images), size):
        chunk = images[start : start + size]
        (expected,) = models.run(data, chunk)
        (restored,) = models.run(back.model, chunk)
        np.testing.assert_array_equal(restored, expected)
        outputs.append(expected)
    accuracy = np.mean(np.concatenate(outputs).argmax(1) == digits[1][:50])
    assert accuracy > 0.7  # The outputs compared are those of a network that works.


def test_signatures_stay_callable(network, digits):
    from ai_edge_litert.interpreter import Interpreter

    data = convert(network, digits[0], 1)
    back = rewrite(rewrite(data).model, ops="builtin").model
    expected, restored = (Interpreter(model_content=d).get_signature_list() for d in (data, back))
    assert restored == expected
    assert restored
    runner = Interpreter(model_content=back).get_signature_runner()
    image = np.round(digits[0][:1] * 255 - 128).astype(np.int8)
    ((name, _),) = runner.get_input_details().items()
    (output,) = runner(**{name: image}).values()
    np.testing.assert_array_equal(output, models.run(data, image)[0])
