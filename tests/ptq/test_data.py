import keras_models
import numpy as np
import pytest

from keras_accq.graph.nodes import read
from keras_accq.ptq.data import RepeatableData


@pytest.fixture(scope="module")
def graph():
    return read(keras_models.sequential())


def _read(graph, data):
    return np.concatenate(list(RepeatableData(graph, data)))


def test_arrays_and_lists_of_batches_are_read_again_and_again(graph):
    images = keras_models.images(100)
    for given in (images, [images[:30], images[30:]]):
        data = RepeatableData(graph, given)
        for _ in range(3):
            np.testing.assert_array_equal(np.concatenate(list(data)), images)


def test_a_generator_is_refused_before_it_is_read(graph):
    def batches():
        raise AssertionError
        yield

    with pytest.raises(TypeError, match=r"generator, which can be read once; pass .* list\("):
        RepeatableData(graph, batches())


def test_data_that_run_out_are_noticed(graph):
    class Once:
        def __init__(self):
            self.batches = iter([keras_models.images(10)])

        def __iter__(self):
            return self.batches

    data = RepeatableData(graph, Once())
    list(data)
    with pytest.raises(ValueError, match="gave 10 examples when it was read first and 0 when"):
        list(data)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (None, ValueError, "received None"),
        ([], ValueError, "at least one batch, received none"),
        (np.zeros((0, 8, 8, 3)), ValueError, "at least 1; received"),
        (np.full((5, 8, 8, 3), 7.0), ValueError, "'image' is 7.0 everywhere"),
        (np.ones((5, 8, 9, 3)), ValueError, r"expects shape .* received \(5, 8, 9, 3\)"),
        (5, TypeError, "an array, a dict of arrays or an iterable"),
    ],
)
def test_useless_data_are_refused(graph, data, error, message):
    with pytest.raises(error, match=message):
        _read(graph, data)


def test_a_pass_that_ends_early_does_not_count(graph):
    data = RepeatableData(graph, [keras_models.images(10), keras_models.images(6)])
    next(iter(data))
    assert len(np.concatenate(list(data))) == 16
    assert len(np.concatenate(list(data))) == 16
