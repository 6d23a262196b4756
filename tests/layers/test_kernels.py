import numpy as np
import pytest

CASES = {
    "Conv2D": ({"filters": 5, "kernel_size": (2, 3)}, (6, 7, 4), 5),
    "DepthwiseConv2D": ({"kernel_size": (2, 3), "depth_multiplier": 2}, (6, 7, 4), 8),
    "Conv2DTranspose": ({"filters": 5, "kernel_size": (2, 3)}, (6, 7, 4), 5),
    "Dense": ({"units": 5}, (4,), 5),
}


def built(name):
    import keras

    arguments, shape, _ = CASES[name]
    layer = getattr(keras.layers, name)(**arguments)
    layer.build((None, *shape))
    return layer


@pytest.mark.parametrize("name", CASES)
def test_there_and_back(name):
    import keras

    from keras_accq.layers.kernels import channels, from_matrix, to_matrix

    layer = built(name)
    kernel = np.arange(np.prod(layer.kernel.shape), dtype=np.float64).reshape(layer.kernel.shape)
    matrix = to_matrix(layer, kernel)
    assert matrix.dtype == np.float64
    assert matrix.shape[1] == channels(layer) == CASES[name][2]
    np.testing.assert_array_equal(from_matrix(layer, matrix), kernel)
    tensor = keras.ops.convert_to_tensor(kernel)
    same = to_matrix(layer, tensor, keras.ops)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(same), matrix)
    back = from_matrix(layer, same, keras.ops)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(back), kernel)


@pytest.mark.parametrize("name", CASES)
def test_a_column_is_what_one_output_channel_sums_over(name):
    import keras

    from keras_accq.layers.kernels import channels, from_matrix

    layer = built(name)
    for channel in (0, 3):
        matrix = np.zeros((np.prod(layer.kernel.shape) // channels(layer), channels(layer)))
        matrix[:, channel] = 1 + np.arange(len(matrix))
        layer.kernel.assign(from_matrix(layer, matrix))
        x = np.random.default_rng(0).normal(size=(1, *CASES[name][1])).astype(np.float32)
        y = keras.ops.convert_to_numpy(layer(x))
        others = np.delete(y, channel, axis=-1)
        assert np.all(others == 0)
        assert np.any(y[..., channel] != 0)


def test_rows_of_a_transposed_kernel_are_in_file_order():
    from keras_accq.layers.kernels import to_matrix

    layer = built("Conv2DTranspose")
    kernel = np.random.default_rng(1).integers(-9, 9, layer.kernel.shape)
    matrix = to_matrix(layer, kernel)
    for h, w, out, cin in np.ndindex(kernel.shape):
        assert matrix[(h * 3 + w) * 4 + cin, out] == kernel[h, w, out, cin]
