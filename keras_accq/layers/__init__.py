"""Keras layers of a quantized model, registered for saving and loading."""

from keras_accq.layers.activation import ActivationQuantizer as ActivationQuantizer
from keras_accq.layers.attention import ActivationProduct as ActivationProduct
from keras_accq.layers.attention import AttentionSoftmax as AttentionSoftmax
from keras_accq.layers.compute import QuantizedConv1D as QuantizedConv1D
from keras_accq.layers.compute import QuantizedConv2D as QuantizedConv2D
from keras_accq.layers.compute import QuantizedConv2DTranspose as QuantizedConv2DTranspose
from keras_accq.layers.compute import QuantizedDense as QuantizedDense
from keras_accq.layers.compute import QuantizedDepthwiseConv2D as QuantizedDepthwiseConv2D
from keras_accq.layers.prelu import QuantizedPReLU as QuantizedPReLU
from keras_accq.layers.weights import QuantizedWeights as QuantizedWeights
