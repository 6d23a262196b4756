import numpy as np
import tensorflow as tf

from keras_accq.quantizers.operands import Operands
from keras_accq.quantizers.type_bound import TypeBound


def test_rounds_to_nearest_and_clips() -> None:
    method = TypeBound()
    weights = np.array([[0.24, -0.26], [0.9, -9.0], [0.0, 0.5]])
    v, parameters = method.initial(weights, np.array([0.1, 0.5]), Operands(16, 4, 4))
    variable = tf.Variable(v)
    with tf.GradientTape() as tape:
        q, s = method.quantize(
            variable.value(),
            {name: tf.constant(value) for name, value in parameters.items()},
            Operands(16, 4, 4),
        )
        loss = tf.reduce_sum(q * s)
    np.testing.assert_array_equal(q, [[2, -1], [7, -7], [0, 1]])
    np.testing.assert_allclose(s, [0.1, 0.5], rtol=1e-6)
    # Straight through, but for the weights that were clipped.
    np.testing.assert_allclose(tape.gradient(loss, variable), [[1, 1], [0, 0], [1, 1]], rtol=1e-5)
