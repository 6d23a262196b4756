"""Bias correction: the mean error that quantization puts on a channel, taken back by its bias.

Rounded weights and clipped activations move not only single outputs but their mean, layer by layer
(Nagel et al., ICCV 2019, arXiv 1906.04721, section 4.2; measured as in its appendix D).
"""

from typing import Any

import keras

from keras_accq.calibration import before_activation
from keras_accq.graph.expand import expand
from keras_accq.graph.nodes import Graph, Node, read
from keras_accq.graph.offsets import add_offset
from keras_accq.graph.supported import Kind, check, kind
from keras_accq.layers import QuantizedWeights
from keras_accq.ptq.data import RepeatableData
from keras_accq.ptq.moments import channel_moments


def correct_biases(qmodel: keras.Model, model: keras.Model, calibration_data: Any) -> None:
    """Moves biases until every channel has the mean that it has in the float model, in place.

    Layer by layer, in topological order: each is compared with its float counterpart while all
    before it are quantized and corrected, before any activation and after BatchNormalization. The
    bias takes the difference, or BatchNormalization's moving mean (beta where gamma is 0), so that
    training afterwards, which takes means from batches, starts from what it did before. A layer
    with nothing to take it stays as it is, as does one that is called several times.

    Args:
        qmodel: A model that `accq.quantize` returned, with all ranges observed.
        model: The float model that it was made from (the equalized one, if it was equalized).
        calibration_data: As for `quantize`; run through the model once per layer.

    Raises:
        TypeError, ValueError, UnsupportedModelError: Models that do not belong together, or as
            `quantize`.
    """
    graph, floats = read(qmodel), expand(model)
    check(floats)
    nodes = matching_nodes(graph, floats)
    data = RepeatableData(floats, calibration_data)
    wanted = channel_moments(
        floats, [(node.name, _output(floats, node)) for _, node in nodes], data
    )
    consumers = graph.consumers()
    for (node, _), target in zip(nodes, wanted, strict=True):
        (found,) = channel_moments(graph, [(node.name, _output(graph, node))], data)
        add_offset(node, consumers[node.output], target.mean - found.mean, to_mean=True)


def matching_nodes(graph: Graph, floats: Graph) -> list[tuple[Node, Node]]:
    """Quantized compute nodes with their float counterparts, in topological order.

    Raises:
        ValueError: Layers or weights that do not correspond, naming them.
    """
    quantized = [node for node in graph.nodes if isinstance(node.layer, QuantizedWeights)]
    originals = {node.name: node for node in floats.nodes if kind(node.layer) is Kind.COMPUTE}
    if not quantized:
        raise ValueError(
            f"model {graph.model.name!r} has no quantized layers; expected one from accq.quantize"
        )
    different = sorted({node.name for node in quantized} ^ set(originals))
    different += [
        node.name
        for node in quantized
        if node.name in originals
        and node.layer.kernel.shape != originals[node.name].layer.kernel.shape
    ]
    if different:
        raise ValueError(
            f"model: expected the float model that {graph.model.name!r} was quantized from; their "
            f"layers {', '.join(different)} differ"
        )
    shared = {node.name for node in quantized if node.number > 1}
    return [(node, originals[node.name]) for node in quantized if node.name not in shared]


def _output(graph: Graph, node: Node) -> Any:
    """A compute node's output, after BatchNormalization, before any activation."""
    readers = graph.consumers()[node.output]
    if readers and isinstance(readers[0].layer, keras.layers.BatchNormalization):
        return graph.tensors[readers[0].output]
    return before_activation(graph, node)
