"""Taking the one rounding that a file makes and a Keras model does not out of a comparison."""

import keras
import numpy as np

from keras_accq.graph.nodes import read
from keras_accq.tflite.convert import _tflite
from keras_accq.tflite.export import Exporter


def snap(qmodel: keras.Model) -> None:
    """Moves every folded bias to a whole number of accumulator units, in the Keras model.

    A file's biases are integers in units of s·s_x. Rounding them turns a few roundings of
    activations, each of which moves many sums of the next layer: without this, two equal
    computations drift apart layer by layer, and a comparison has to allow for much.
    """
    graph = read(qmodel)
    exporter = Exporter(graph, raw_inputs=False)
    _tflite(graph, exporter, 1, "int8", "int8")
    expected = {op.name: op for op in exporter.ops}
    consumers = graph.consumers()
    for node in graph.nodes:
        if node.name not in expected:
            continue
        kernel = expected[node.name].kernel
        unit = kernel.scales.astype(float) * expected[node.name].input_grid.scale
        reader = consumers[node.output][0].layer
        norm = isinstance(reader, keras.layers.BatchNormalization)
        variable = reader.beta if norm else node.layer.bias
        if variable is not None:
            shift = np.rint(kernel.bias / unit) * unit - kernel.bias
            variable.assign(variable.numpy() + shift)
