"""The quantized counterparts of Keras's compute layers."""

from typing import Any

import keras
from keras import ops

from keras_accq.layers.weights import QuantizedWeights


@keras.saving.register_keras_serializable(package="keras_accq")
class QuantizedConv2D(QuantizedWeights, keras.layers.Conv2D):
    """`keras.layers.Conv2D` whose dot products fit an accumulator; see `QuantizedWeights`."""

    def call(self, inputs: Any) -> Any:
        return self._finish(self.convolution_op(inputs, self._fake_quantized_kernel()))


@keras.saving.register_keras_serializable(package="keras_accq")
class QuantizedDepthwiseConv2D(QuantizedWeights, keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D` whose dot products fit an accumulator."""

    _channel_axis = -2

    @property
    def _variable(self) -> Any:
        return self.kernel

    def call(self, inputs: Any) -> Any:
        outputs = ops.depthwise_conv(
            inputs,
            self._fake_quantized_kernel(),
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        return self._finish(outputs)


@keras.saving.register_keras_serializable(package="keras_accq")
class QuantizedDense(QuantizedWeights, keras.layers.Dense):
    """`keras.layers.Dense` whose dot products fit an accumulator; see `QuantizedWeights`."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self._finish(ops.matmul(inputs, self._fake_quantized_kernel()))
