import numpy as np
import tensorflow as tf

from keras_accq.quantizers.max_scale import MaxScale
from keras_accq.quantizers.operands import Operands


def test_largest_weight_becomes_the_largest_integer() -> None:
    weights = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    weights[:, 2] = 0
    q, s = MaxScale().quantize(tf.constant(weights), {}, Operands(None, 8, 8))
    np.testing.assert_array_equal(np.abs(q).max(axis=0), [127, 127, 0, 127])
    assert np.abs(q.numpy() * s.numpy() - weights).max() <= 0.5 * s.numpy().max() * 1.001
    assert s.numpy()[2] == 1


def test_gradient_reaches_all_weights() -> None:
    v = tf.Variable(np.random.default_rng(1).normal(size=(30, 4)).astype(np.float32))
    with tf.GradientTape() as tape:
        q, s = MaxScale().quantize(v.value(), {}, Operands(None, 8, 8))
        loss = tf.reduce_sum(q * s)
    np.testing.assert_allclose(tape.gradient(loss, v).numpy(), 1, rtol=1e-5)
