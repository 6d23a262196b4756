"""The layers of a quantized tf_keras model that have no dot products."""

from typing import Any

import keras
import tensorflow as tf

from keras_accq.layers.activation import TensorQuantizer
from keras_accq.layers.prelu import QuantizedSlopes
from keras_accq.tfmot.packages import tf_keras

_registered = tf_keras.utils.register_keras_serializable(package="keras_accq")


@_registered
class ActivationQuantizer(TensorQuantizer, tf_keras.layers.Layer):
    """`TensorQuantizer` as a layer of tf_keras."""

    # AutoGraph would rewrite plain Python branches, to no use.
    call = tf.autograph.experimental.do_not_convert(TensorQuantizer.call)

    def _add_scalar(self, name: str, value: str, trainable: bool = False) -> Any:
        return self.add_weight(
            name=name,
            shape=(),
            initializer=value,
            trainable=trainable,
            experimental_autocast=False,
            dtype="float32",
            # Replicas of a distributed model observe different batches.
            aggregation=tf.VariableAggregation.MEAN,
        )

    def _is_symbolic(self) -> bool:
        # Where tf_keras infers the shape of a layer's output.
        return str(tf.compat.v1.get_default_graph().name).endswith("_scratch_graph")


@_registered
class QuantizedPReLU(QuantizedSlopes, tf_keras.layers.PReLU):
    """`tf_keras.layers.PReLU` whose slopes lie on one symmetric grid of 255 integers."""


@_registered
def hard_sigmoid(x: Any) -> Any:
    """Keras 3's relu6(x + 3) / 6; that of tf_keras is another function."""
    return keras.ops.hard_sigmoid(x)
