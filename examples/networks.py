"""Small image networks for the examples, plain Keras 3."""

import keras


def resnet8(classes: int = 10) -> keras.Model:
    """MLPerf Tiny's ResNet-8 for 32x32x3 images in 0..255 (about 12.5 MMAC)."""

    def conv(x, filters, kernel_size, strides=1):
        return keras.layers.Conv2D(
            filters, kernel_size, strides, padding="same", kernel_initializer="he_normal"
        )(x)

    def norm(x):
        return keras.layers.BatchNormalization()(x)

    def relu(x):
        return keras.layers.ReLU()(x)

    inputs = x = keras.Input((32, 32, 3))
    x = relu(norm(conv(x, 16, 3)))
    for filters, strides in ((16, 1), (32, 2), (64, 2)):
        y = relu(norm(conv(x, filters, 3, strides)))
        y = norm(conv(y, filters, 3))
        if strides != 1:
            x = conv(x, filters, 1, strides)
        x = relu(keras.layers.Add()([x, y]))
    x = keras.layers.GlobalAveragePooling2D()(x)
    outputs = keras.layers.Dense(classes, activation="softmax")(x)
    return keras.Model(inputs, outputs, name="resnet8")


def mobilenet(classes: int = 10) -> keras.Model:
    """A MobileNetV1-like network for 32x32x3 images in 0..255 (2.97 MMAC).

    One convolution, six depthwise-separable blocks, BatchNorm after every convolution.
    """

    def norm_relu(x):
        return keras.layers.ReLU()(keras.layers.BatchNormalization()(x))

    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(inputs)
    x = norm_relu(keras.layers.Conv2D(16, 3, padding="same", use_bias=False)(x))
    for filters, strides in ((32, 2), (48, 1), (96, 2), (96, 1), (192, 2), (192, 1)):
        x = norm_relu(keras.layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)(x))
        x = norm_relu(keras.layers.Conv2D(filters, 1, use_bias=False)(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(classes)(x), name="mobilenet")


def all_cnn_c(classes: int = 10) -> keras.Model:
    """All-CNN-C for 32x32x3 images in 0..255 (about 270 MMAC), with batch normalization.

    Springenberg et al. 2015, table 1: convolutions alone, K up to 1,728; strides instead of
    pooling, no padding in the last 3x3 layer, an average of the classes' maps at the end.
    """
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(inputs)
    for filters, kernel_size, strides, padding in (
        (96, 3, 1, "same"),
        (96, 3, 1, "same"),
        (96, 3, 2, "same"),
        (192, 3, 1, "same"),
        (192, 3, 1, "same"),
        (192, 3, 2, "same"),
        (192, 3, 1, "valid"),
        (192, 1, 1, "valid"),
    ):
        x = keras.layers.Conv2D(filters, kernel_size, strides, padding=padding, use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.Conv2D(classes, 1)(x)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(x), name="all_cnn_c")
