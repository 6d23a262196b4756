import keras
import numpy as np
import pytest

from keras_accq.errors import UnsupportedModelError
from keras_accq.graph.nodes import read


def _branching() -> keras.Model:
    inputs = keras.Input((4,), name="x")
    a = keras.layers.Dense(4, name="a")(inputs)
    b = keras.layers.Dense(4, name="b")(a)
    return keras.Model(inputs, keras.layers.Add(name="sum")([b, a]))


def test_nodes_are_in_topological_order() -> None:
    graph = read(_branching())
    assert [node.name for node in graph.inputs] == ["x"]
    assert [node.name for node in graph.nodes] == ["a", "b", "sum"]
    a, b, total = graph.nodes
    assert total.inputs == (b.output, a.output)
    assert graph.outputs() == {total.output}
    assert [node.name for node in graph.consumers()[a.output]] == ["b", "sum"]
    assert graph.producers()[a.output] is a


def test_sequential_models_are_read_alike() -> None:
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="a")])
    assert [node.name for node in read(model).nodes] == ["a"]


def test_calls_of_a_layer_outside_the_model_do_not_count() -> None:
    model = _branching()
    keras.Model(model.input, keras.layers.Dense(2)(model.get_layer("b").output))
    model.get_layer("a")(keras.Input((4,)))
    assert [node.name for node in read(model).nodes] == ["a", "b", "sum"]


def test_other_models_are_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="not built"):
        read(keras.Sequential([keras.layers.Dense(3)]))

    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(UnsupportedModelError, match="subclass Own"):
        read(Own())
    with pytest.raises(TypeError, match="expected a Keras model"):
        read(np.zeros(3))


def test_tf_keras_models_are_told_what_to_do() -> None:
    import tf_keras

    model = tf_keras.Sequential([tf_keras.layers.Dense(3, input_shape=(4,))])
    with pytest.raises(UnsupportedModelError, match=r"tf_keras.*pip install 'keras>=3"):
        read(model)
