import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from keras_accq.quantizers.straight_through import round_half_even, truncate

_FLOATS = arrays.arrays(
    np.float32,
    st.integers(1, 20),
    elements=st.floats(-300, 300, width=32, allow_nan=False),
)


@given(_FLOATS)
def test_values_are_exactly_rounded(x: np.ndarray) -> None:
    np.testing.assert_array_equal(truncate(x).numpy(), np.trunc(x))
    np.testing.assert_array_equal(round_half_even(x).numpy(), np.round(x))


def test_gradients_pass_unchanged() -> None:
    x = tf.Variable([-2.7, -0.5, 0.2, 1.5])
    for function in (truncate, round_half_even):
        with tf.GradientTape() as tape:
            y = tf.reduce_sum(function(x) * tf.constant([1.0, 2.0, 3.0, 4.0]))
        np.testing.assert_array_equal(tape.gradient(y, x).numpy(), [1, 2, 3, 4])
