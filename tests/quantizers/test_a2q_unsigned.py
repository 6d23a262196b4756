import numpy as np
import pytest
import tensorflow as tf

from keras_accq.quantizers.a2q import A2Q
from keras_accq.quantizers.a2q_unsigned import A2QUnsigned
from keras_accq.quantizers.operands import Operands


def test_is_a2q_with_half_the_budget() -> None:
    """2·(L / 2^N) = L / 2^(N-1): one bit more of accumulator (less its -1) makes up for it."""
    rng = np.random.default_rng(0)
    weights, scales = rng.normal(size=(200, 5)), np.full(5, 0.02)
    results = []
    for method, acc_bits in ((A2QUnsigned(), 21), (A2Q(), 20)):
        operands = Operands(acc_bits, 8, 8)
        v, parameters = method.initial(weights, scales, operands)
        tensors = {name: tf.constant(value) for name, value in parameters.items()}
        results.append(method.quantize(tf.constant(v), tensors, operands)[0].numpy())
        penalty = method.penalty(tf.constant(v), tensors, operands)
        assert float(penalty) < 1e-4
        tensors["log2_norm"] += 1.0
        assert float(method.penalty(tf.constant(v), tensors, operands)) > 1e-4
    assert (results[0] != results[1]).mean() <= 1e-3


@pytest.mark.parametrize("depthwise", [False, True])
def test_its_norm_stays_below_l_by_2_to_the_n(depthwise) -> None:
    operands = Operands(16, 8, 8, None, depthwise)
    q = A2QUnsigned().quantize(
        tf.ones((100, 1)),
        {"log2_scale": tf.zeros(1), "log2_norm": tf.fill([1], 20.0)},
        operands,
    )[0]
    assert float(tf.reduce_sum(q)) == 100  # 127.99 / 100, toward zero
