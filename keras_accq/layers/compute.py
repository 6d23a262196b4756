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
class QuantizedConv1D(QuantizedWeights, keras.layers.Conv1D):
    """`keras.layers.Conv1D` whose dot products fit an accumulator; see `QuantizedWeights`."""

    def call(self, inputs: Any) -> Any:
        return self._finish(self.convolution_op(inputs, self._fake_quantized_kernel()))


@keras.saving.register_keras_serializable(package="keras_accq")
class QuantizedDepthwiseConv2D(QuantizedWeights, keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D` whose dot products fit an accumulator."""

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
class QuantizedConv2DTranspose(QuantizedWeights, keras.layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose` whose dot products fit an accumulator.

    The bound is that of the whole kernel. An output pixel sums only the taps of its phase (see
    `keras_accq.transposed`), so no pixel needs more, and an engine that spreads the input out with
    zeros and sums over all taps is covered as well.
    """

    @property
    def _variable(self) -> Any:
        return self.kernel

    def call(self, inputs: Any) -> Any:
        outputs = ops.conv_transpose(
            inputs,
            self._fake_quantized_kernel(),
            strides=self.strides,
            padding=self.padding,
            output_padding=self.output_padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
        return self._finish(outputs)


@keras.saving.register_keras_serializable(package="keras_accq")
class QuantizedDense(QuantizedWeights, keras.layers.Dense):
    """`keras.layers.Dense` whose dot products fit an accumulator; see `QuantizedWeights`."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self._finish(ops.matmul(inputs, self._fake_quantized_kernel()))
