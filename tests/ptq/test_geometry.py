import keras
import numpy as np
import pytest

from keras_accq.errors import UnsupportedModelError
from keras_accq.ptq import geometry
from keras_accq.ptq.geometry import Geometry

L = keras.layers


@pytest.mark.parametrize(
    ("layer", "groups"),
    [
        (L.Conv2D(6, (3, 2), strides=2, padding="same", use_bias=False), 1),
        (L.Conv2D(6, 3, dilation_rate=2, use_bias=False), 1),
        (L.Conv2D(8, 3, groups=2, use_bias=False), 2),
        (L.DepthwiseConv2D(3, depth_multiplier=2, padding="same", use_bias=False), 4),
        (L.Conv2DTranspose(6, (3, 4), strides=2, padding="same", use_bias=False), 1),
        (L.Conv2DTranspose(6, 2, strides=3, output_padding=1, use_bias=False), 1),
    ],
)
def test_vectors_times_weights_are_the_layer(layer, groups, monkeypatch):
    # So few numbers at a time that examples come one by one.
    monkeypatch.setattr(geometry, "_NUMBERS", 1)
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(3, 7, 8, 4)).astype(np.float32)
    expected = keras.ops.convert_to_numpy(keras.Sequential([keras.Input((7, 8, 4)), layer])(inputs))
    found = Geometry(layer)
    assert found.groups == groups
    weights = found.grouped(keras.ops.convert_to_numpy(layer.kernel))
    parts = list(found.vectors(inputs))
    assert len(parts) == 3
    outputs = [np.concatenate(list(own @ weights), axis=-1) for (own,) in parts]
    np.testing.assert_allclose(
        np.concatenate(outputs).reshape(expected.shape), expected, rtol=1e-4, atol=1e-5
    )


def test_overlap_is_how_many_windows_see_an_input():
    for layer, overlap in (
        (L.Conv2D(2, 3), 9),
        (L.Conv2D(2, 3, strides=2), 9 / 4),
        (L.Conv2D(2, 1, strides=2), 1),
        (L.DepthwiseConv2D((1, 5)), 5),
    ):
        layer.build((None, 8, 8, 2))
        assert Geometry(layer).overlap == overlap
    dense = L.Dense(3)
    dense.build((None, 5))
    assert Geometry(dense).overlap == 1


def test_several_tensors_are_cut_alike_and_kernels_return():
    layer = L.Dense(3)
    layer.build((None, 5))
    found = Geometry(layer)
    a = np.random.default_rng(1).normal(size=(4, 5))
    ((first, second),) = found.vectors(a, 2 * a)
    np.testing.assert_array_equal(second, 2 * first)
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    np.testing.assert_array_equal(found.kernel(found.grouped(kernel)), kernel)


def test_other_layers_are_refused():
    layer = L.DepthwiseConv1D(3, name="line")
    layer.build((None, 8, 4))
    with pytest.raises(
        UnsupportedModelError, match="line: method 'axe' does not take DepthwiseConv1D"
    ):
        Geometry(layer)


@pytest.mark.parametrize(
    "layer",
    [L.Conv1D(6, 3, strides=2, padding="same", use_bias=False), L.Dense(5, use_bias=False)],
)
def test_sequences(layer):
    inputs = np.random.default_rng(0).normal(size=(3, 9, 4)).astype(np.float32)
    expected = keras.ops.convert_to_numpy(keras.Sequential([keras.Input((9, 4)), layer])(inputs))
    found = Geometry(layer)
    weights = found.grouped(keras.ops.convert_to_numpy(layer.kernel))
    (((own,),),) = (list(found.vectors(inputs)),)
    np.testing.assert_allclose(
        (own @ weights)[0].reshape(expected.shape), expected, rtol=1e-4, atol=1e-5
    )
