"""Small Keras networks, one for each thing that conversion has to get right."""

import keras
import numpy as np
from keras import layers


def conv_bn_relu():
    x = inputs = keras.Input((9, 8, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Conv2D(6, (3, 1))(x)
    x = layers.BatchNormalization(scale=False)(x)
    return keras.Model(inputs, x)


def depthwise():
    x = inputs = keras.Input((10, 10, 4))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", use_bias=False)(x)
    x = layers.ReLU(6)(layers.BatchNormalization(center=False)(x))
    x = layers.DepthwiseConv2D(3, strides=2, padding="same", activation="relu")(x)
    x = layers.DepthwiseConv2D(3, dilation_rate=2, padding="same")(x)
    return keras.Model(inputs, x)


def dilated_groups():
    x = inputs = keras.Input((12, 12, 4))
    x = layers.Conv2D(8, 3, dilation_rate=2, padding="same", activation="relu6")(x)
    x = layers.Conv2D(8, 3, groups=4, activation="relu")(x)
    x = layers.Conv2D(4, 1, groups=2)(x)
    return keras.Model(inputs, x)


def transposed():
    x = inputs = keras.Input((6, 5, 3))
    x = layers.Conv2DTranspose(8, 3, strides=2, padding="same", use_bias=False)(x)
    x = y = layers.ReLU()(layers.BatchNormalization()(x))
    # With SAME padding a file takes no kernel below the stride; here VALID is the same.
    x = layers.Conv2DTranspose(6, (1, 2), strides=(2, 3), padding="same", activation="relu6")(x)
    y = layers.Conv2DTranspose(4, (3, 4), strides=(2, 3), output_padding=0)(y)
    x = layers.Conv2DTranspose(6, 2, activation="relu")(x)
    x = layers.Conv2DTranspose(4, 3, padding="same")(layers.ZeroPadding2D(((0, 0), (0, 0)))(x))
    return keras.Model(inputs, [x, y])


def residual():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    for _ in range(2):
        y = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
        y = layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same")(y))
        x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.Flatten()(layers.AveragePooling2D(8)(x))  # the whole map, as MLPerf Tiny writes it
    return keras.Model(inputs, layers.Dense(10)(x))


def pools_and_branches():
    x = inputs = keras.Input((12, 12, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(x)
    x = layers.Conv2D(8, 3, activation="relu")(layers.ZeroPadding2D(((1, 0), (2, 1)))(x))
    left = layers.Conv2D(4, 1, activation="relu")(x)
    right = layers.MaxPooling2D(3, strides=1, padding="same")(x)
    x = layers.Concatenate()([left, right])
    x = layers.AveragePooling2D(2)(layers.Dropout(0.3)(x))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = layers.Flatten()(layers.MaxPooling2D()(x))
    x = layers.Dense(12)(layers.Reshape((-1,))(x))
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    return keras.Model(inputs, layers.Dense(5)(x))


def dense_only():
    return keras.Sequential(
        [
            keras.Input((20,)),
            layers.Dense(16, activation="relu"),
            layers.Dense(12, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dense(7),
        ]
    )


def two_inputs_two_outputs():
    a, b = keras.Input((6, 6, 2), name="a"), keras.Input((6, 6, 2), name="b")
    x = layers.Conv2D(4, 3, activation="relu", padding="same")(a)
    y = layers.Conv2D(4, 3, activation="relu", padding="same")(b)
    both = layers.Add()([x, y])
    first = layers.Dense(3)(layers.GlobalMaxPooling2D()(both))
    return keras.Model([a, b], [first, layers.Conv2D(2, 1)(x), both])


def grown():
    x = inputs = keras.Input((6, 8, 3))
    x = layers.Conv2D(6, 3, padding="same", activation="relu")(x)
    x = layers.Cropping2D(((1, 2), (3, 0)))(layers.UpSampling2D((2, 3))(x))
    x = layers.Subtract()([x, layers.Conv2D(6, 3, padding="same")(x)])
    y = layers.Permute((3, 1, 2))(x)
    return keras.Model(inputs, [layers.Conv2D(4, 1)(x), layers.Conv2D(3, 1)(y)])


def squeeze_and_excite():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
    x = layers.Activation("hard_swish")(layers.BatchNormalization()(x))
    y = layers.GlobalAveragePooling2D(keepdims=True)(x)
    y = layers.Conv2D(4, 1, activation="relu")(y)
    x = layers.Multiply()([x, layers.Conv2D(8, 1, activation="hard_sigmoid")(y)])
    x = layers.Conv2D(8, 1, activation="silu")(x)
    y = layers.Dense(8, activation="sigmoid")(layers.GlobalAveragePooling2D()(x))
    x = layers.ReLU()(layers.Multiply()([x, layers.Reshape((1, 1, 8))(y)]))
    x = layers.Dense(6, activation="gelu")(layers.Flatten()(x))
    # Dense on a sigmoid's own scale.
    y = layers.Dense(4)(layers.Dense(6, activation="tanh")(x))
    return keras.Model(inputs, [layers.Dense(5)(x), y])


def slopes():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.LeakyReLU(0.1)(layers.Conv2D(8, 3)(x))
    y = layers.PReLU(shared_axes=[1, 2])(layers.Conv2D(8, 3)(x))
    z = layers.PReLU()(layers.Conv2D(4, 3)(x))
    return keras.Model(inputs, [layers.Conv2D(4, 1)(y), layers.Conv2D(4, 1)(z)])


def lone_layers():
    """Layers with nothing before them that could take their factors."""
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Rescaling([1 / 100, 1 / 120, 1 / 90], offset=[-1, -0.9, -1.1])(x)
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Add()([x, layers.Conv2D(8, 3, padding="same")(x)])
    x = layers.Activation("relu")(layers.BatchNormalization()(x))
    x = layers.Activation("hard_sigmoid")(layers.MaxPooling2D()(x))
    x = layers.BatchNormalization()(layers.Dense(6, activation="relu")(layers.Flatten()(x)))
    return keras.Model(inputs, [x, layers.Dense(4)(x)])


def separable():
    x = inputs = keras.Input((8, 8, 3))
    x = layers.SeparableConv2D(8, 3, padding="same", depth_multiplier=2)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.SeparableConv2D(6, 3, strides=2, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(4)(layers.Dense(5, activation="relu")(x)))


def sequence():
    x = inputs = keras.Input((24, 3))
    x = layers.Conv1D(8, 5, padding="same", use_bias=False)(x)
    x = layers.MaxPooling1D(2)(layers.ReLU()(layers.BatchNormalization()(x)))
    x = layers.Conv1D(8, 3, strides=2, activation="relu")(layers.ZeroPadding1D((2, 0))(x))
    x = layers.AveragePooling1D(2)(x)
    y = layers.Conv1D(4, 1)(layers.UpSampling1D(3)(layers.Cropping1D((1, 0))(x)))
    z = layers.Dense(3)(layers.GlobalAveragePooling1D()(x))
    x = layers.Dense(3)(layers.GlobalMaxPooling1D()(layers.BatchNormalization()(x)))
    return keras.Model(inputs, [x, y, z])


def twins():
    """Two images through one tower, a nested model, whose layers are called twice."""
    x = inputs = keras.Input((8, 8, 2))
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(x))
    x = layers.Conv2D(6, 3, activation="relu")(layers.ReLU()(x))
    tower = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    a, b = keras.Input((8, 8, 2), name="a"), keras.Input((8, 8, 2), name="b")
    x, y = tower(a), tower(b)
    return keras.Model([a, b], [layers.Dense(3)(layers.Subtract()([x, y])), x])


ALL = (
    conv_bn_relu,
    depthwise,
    dilated_groups,
    residual,
    pools_and_branches,
    dense_only,
    two_inputs_two_outputs,
    grown,
    squeeze_and_excite,
    slopes,
    lone_layers,
    separable,
    sequence,
    twins,
)


def randomized(build, seed: int = 0) -> keras.Model:
    """A network with the statistics of a trained one: no gamma is 1 and no beta 0.

    The first BatchNormalization gets gammas that are negative, zero, and nearly zero.
    """
    keras.utils.set_random_seed(seed)
    model, random = build(), np.random.default_rng(seed)
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    for norm in norms:
        norm.moving_mean.assign(random.normal(size=norm.moving_mean.shape) * 0.3)
        norm.moving_variance.assign(random.uniform(0.2, 1.5, norm.moving_variance.shape))
        if norm.beta is not None:
            norm.beta.assign(random.normal(size=norm.beta.shape) * 0.3)
        if norm.gamma is not None:
            gamma = random.uniform(0.5, 1.5, norm.gamma.shape)
            if norm is norms[0]:
                gamma[:4] = [-1.2, 0.0, 1e-20, -1e-7]
            norm.gamma.assign(gamma)
    for layer in model.layers:
        for name, size in (("bias", 0.2), ("alpha", 0.4)):
            variable = getattr(layer, name, None)
            if isinstance(variable, keras.Variable):
                variable.assign(random.normal(size=variable.shape) * size)
    return model


def inputs_of(model: keras.Model, count: int = 48, seed: int = 1) -> list[np.ndarray]:
    """Random inputs: pixels for networks that rescale them, else normal numbers."""
    random = np.random.default_rng(seed)
    pixels = any(isinstance(layer, layers.Rescaling) for layer in model.layers)
    draw = (lambda s: random.uniform(0, 255, s)) if pixels else (lambda s: random.normal(size=s))
    return [draw((count, *t.shape[1:])).astype(np.float32) for t in model.inputs]
