"""Making a Keras model's biases the ones that its file will hold."""

import keras
import numpy as np

from keras_accq.graph.nodes import Node, read
from keras_accq.graph.offsets import add_offset
from keras_accq.tflite.convert import check_model, traced
from keras_accq.tflite.export import ExpectedOp, Exporter


def round_biases(qmodel: keras.Model) -> None:
    """Moves every bias to a whole number of accumulator units, in place.

    A file's biases are integers in units of s_w·s_x, after BatchNormalization is folded; the Keras
    model trains on with real ones. Rounding moves each sum by at most half a unit, but it turns
    the roundings of a few activations, each of which moves many sums of the next layer, so that a
    model's and its file's predictions differ here and there without either being the better one.
    After this call, as the last step of training, the model predicts what its file will: biases
    (or the offsets or means of BatchNormalization) are changed by at most half a unit each.

    Args:
        qmodel: A model that `accq.quantize` returned, with all ranges observed.

    Raises:
        ConversionError, UnsupportedModelError, ValueError: As `accq.convert`.
    """
    graph = read(qmodel)
    check_model(graph)
    exporter = Exporter(graph, raw_inputs=False)
    traced(graph, exporter, 1)
    expected = {op.name: op for op in exporter.ops}
    consumers = graph.consumers()
    done: set[tuple[int, ...]] = set()
    for node in graph.nodes:
        if node.label not in expected:
            continue
        readers = consumers[node.output]
        # Several calls of one layer have one bias, in one unit.
        owners = id(node.layer), *(id(reader.layer) for reader in readers)
        if owners not in done:
            _round(node, readers, expected[node.label])
            done.add(owners)


def _round(node: Node, readers: list[Node], op: ExpectedOp) -> None:
    unit = op.kernel.scales.astype(np.float64) * op.input_grid.scale
    bias = op.kernel.bias.astype(np.float64)
    add_offset(node, readers, (np.rint(bias / unit) * unit - bias) / op.gain)
