import keras
import numpy as np
import pytest

from keras_accq.graph.nodes import read
from keras_accq.search.data import collect, sha256

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(70, 3)), RNG.normal(size=(70, 2))


def _graph():
    inputs = {name: keras.Input((size,), name=name) for name, size in (("a", 3), ("b", 2))}
    outputs = keras.layers.Concatenate()([inputs["a"], inputs["b"]])
    return read(keras.Model(inputs, outputs))


@pytest.mark.parametrize(
    "data",
    [
        {"a": A, "b": B},
        [{"a": A[at : at + 30], "b": B[at : at + 30]} for at in (0, 30, 60)],
        (({"a": A[at : at + 35], "b": B[at : at + 35]}, None) for at in (0, 35)),
    ],
)
def test_all_batches_in_the_structure_of_the_inputs(data) -> None:
    collected = collect(_graph(), data)
    np.testing.assert_array_equal(collected["a"], A)
    np.testing.assert_array_equal(collected["b"], B)


def test_the_input_that_is_bad_is_named() -> None:
    with pytest.raises(ValueError, match=r"all values of input 'b' are 2\.0"):
        collect(_graph(), {"a": A, "b": np.full((70, 2), 2.0)})
    with pytest.raises(ValueError, match="input 'a' holds NaN"):
        collect(_graph(), {"a": np.where(A > 2, np.nan, A), "b": B})


def test_the_hash_tells_values_shapes_and_types_apart() -> None:
    different = [A, A + 1e-9, A.T, A.astype(np.float32), A[:69], [A, B], [B, A]]
    assert len({sha256(arrays) for arrays in different}) == len(different)
    assert sha256([A, B]) == sha256([A.copy(), np.asfortranarray(B)])
