import numpy as np
import pytest

from keras_accq.ptq.patches import TransposedWindow, Window, patches
from keras_accq.transposed import phases


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("kernel", "strides", "dilation", "groups"),
    [
        ((3, 3), (1, 1), (1, 1), 1),
        ((3, 2), (2, 1), (1, 1), 1),
        ((2, 3), (1, 1), (2, 3), 1),
        ((3, 3), (2, 2), (1, 1), 2),
        ((1, 1), (2, 2), (1, 1), 1),
        ((5, 4), (3, 2), (1, 1), 4),
    ],
)
def test_products_with_a_kernel_are_a_convolution(padding, kernel, strides, dilation, groups):
    import keras

    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(2, 9, 10, 4)).astype(np.float32)
    weights = rng.normal(size=(*kernel, 4 // groups, 8)).astype(np.float32)
    window = Window(kernel, strides, dilation, padding, groups)
    vectors = patches(inputs, window)
    matrix = weights.reshape(-1, groups, 8 // groups).transpose(1, 0, 2)
    ours = np.concatenate(list(vectors @ matrix), axis=-1)

    if groups == 1:
        theirs = keras.ops.conv(
            inputs, weights, strides=strides, padding=padding, dilation_rate=dilation
        )
    else:
        theirs = np.concatenate(
            [
                keras.ops.convert_to_numpy(
                    keras.ops.conv(
                        part, own, strides=strides, padding=padding, dilation_rate=dilation
                    )
                )
                for part, own in zip(
                    np.split(inputs, groups, axis=-1),
                    np.split(weights, groups, axis=-1),
                    strict=True,
                )
            ],
            axis=-1,
        )
    np.testing.assert_allclose(ours, np.reshape(theirs, (-1, 8)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("kernel", "strides", "padding", "output_padding"),
    [
        ((3, 3), (1, 1), "same", None),
        ((3, 2), (2, 2), "same", None),
        ((1, 2), (2, 3), "same", None),
        ((3, 4), (2, 3), "valid", None),
        ((2, 1), (3, 2), "valid", None),
        ((3, 3), (2, 3), "valid", (1, 2)),
    ],
)
def test_products_with_a_transposed_kernel(kernel, strides, padding, output_padding):
    import keras

    rng = np.random.default_rng(2)
    inputs = rng.normal(size=(2, 4, 5, 3)).astype(np.float32)
    weights = rng.normal(size=(*kernel, 6, 3)).astype(np.float32)
    vectors = patches(inputs, TransposedWindow(kernel, strides, padding, output_padding))
    assert vectors.dtype == np.float64
    ours = vectors[0] @ weights.swapaxes(2, 3).reshape(-1, 6)
    theirs = keras.ops.conv_transpose(inputs, weights, strides, padding, output_padding)
    np.testing.assert_allclose(ours, np.reshape(theirs, (-1, 6)), rtol=1e-4, atol=1e-4)
    # The Gram matrix has a block for each phase, and nothing between them.
    gram = vectors[0].T @ vectors[0]
    places = [phase.places for phase in phases(kernel, strides, 3)]
    for i, j in np.ndindex(len(places), len(places)):
        assert gram[np.ix_(places[i], places[j])].any() == (i == j)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_a_depthwise_layer_has_a_group_for_each_input_channel(padding):
    import keras

    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(2, 7, 6, 3)).astype(np.float32)
    weights = rng.normal(size=(3, 3, 3, 2)).astype(np.float32)
    vectors = patches(inputs, Window((3, 3), (2, 2), padding=padding, groups=3))
    ours = np.concatenate(list(vectors @ weights.reshape(9, 3, 2).transpose(1, 0, 2)), axis=-1)
    theirs = keras.ops.depthwise_conv(inputs, weights, strides=(2, 2), padding=padding)
    np.testing.assert_allclose(ours, np.reshape(theirs, (-1, 6)), rtol=1e-4, atol=1e-4)


def test_a_dense_layer_sees_its_inputs():
    inputs = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(patches(inputs, None), inputs[None])


def test_inputs_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="expected 4 axes"):
        patches(np.zeros((2, 3)), Window((1, 1)))
    with pytest.raises(ValueError, match="expected 2 axes"):
        patches(np.zeros((2, 3, 3, 1)), None)
    with pytest.raises(ValueError, match="2 groups divide, received 3"):
        patches(np.zeros((2, 3, 3, 3)), Window((1, 1), groups=2))
