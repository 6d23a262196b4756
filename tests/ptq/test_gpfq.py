import numpy as np

from keras_accq.ptq.gpfq import system


def test_the_system_is_the_sum_over_inputs_up_to_each():
    rng = np.random.default_rng(0)
    quantized, floats = rng.normal(size=(2, 30, 5))
    weights = rng.normal(size=(5, 2))
    gram, cross = (quantized.T @ quantized)[None], (quantized.T @ floats)[None]
    target, matrix = system(weights[None], gram, cross)
    np.testing.assert_array_equal(matrix, gram)
    for t in range(5):
        path = floats[:, : t + 1] @ weights[: t + 1]
        np.testing.assert_allclose(target[0, t], quantized[:, t] @ path)


def test_a_silent_input_leaves_its_weight_as_it_is():
    quantized = np.random.default_rng(1).normal(size=(30, 3))
    quantized[:, 1] = 0
    weights = np.array([[1.0], [2.0], [3.0]])
    gram = (quantized.T @ quantized)[None]
    target, matrix = system(weights[None], gram, gram)
    assert matrix[0, 1, 1] == 1
    assert target[0, 1, 0] == 2
    assert matrix[0, 1, 0] == 0
