"""BatchNormalization's statistics measured anew, as the quantized layers before it make them."""

from typing import Any

import keras
import numpy as np

from keras_accq.graph.expand import expand
from keras_accq.graph.nodes import Graph, Node, read
from keras_accq.ptq.data import RepeatableData
from keras_accq.ptq.moments import Moments, channel_moments


def reestimate_batchnorm(
    qmodel: keras.Model, calibration_data: Any, model: keras.Model | None = None
) -> None:
    """Sets the moving means and variances of a quantized model's BatchNormalization, in place.

    Layer by layer, in topological order, to the exact mean and variance of all calibration data,
    while all layers before are quantized and set. A layer that is called several times stays as it
    is.

    With the float model they are not replaced but moved, by the change that quantization made: the
    mean by the difference of the two models' means, the variance by the quotient of their
    variances. That keeps the statistics of the training set, of which some hundreds of calibration
    examples know little: their chance is the same in both models, and falls out.

    Args:
        qmodel: A model that `accq.quantize` returned, with all ranges observed. One without
            BatchNormalization stays as it is.
        calibration_data: As for `quantize`; run through the model once per layer.
        model: The float model that it was made from (the equalized one, if it was equalized).

    Raises:
        TypeError, ValueError, UnsupportedModelError: Models that do not belong together, or as
            `quantize`.
    """
    graph = read(qmodel)
    data = RepeatableData(graph, calibration_data)
    nodes = _norms(graph)
    if not nodes:
        return
    before = None if model is None else _float_moments(expand(model), nodes, data)
    for i, node in enumerate(nodes):
        (now,) = channel_moments(graph, [(node.name, graph.tensors[node.inputs[0]])], data)
        layer = node.layer
        mean, variance = now.mean, now.variance
        if before is not None:
            mean = _array(layer.moving_mean) + mean - before[i].mean
            quotient = np.divide(
                variance,
                before[i].variance,
                out=np.ones_like(variance),
                where=before[i].variance > 0,
            )
            variance = _array(layer.moving_variance) * quotient
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(variance)


def _norms(graph: Graph) -> list[Node]:
    norms = [
        node for node in graph.nodes if isinstance(node.layer, keras.layers.BatchNormalization)
    ]
    shared = {node.name for node in norms if node.number > 1}
    return [node for node in norms if node.name not in shared]


def _float_moments(floats: Graph, nodes: list[Node], data: RepeatableData) -> list[Moments]:
    by_name = {node.name: node for node in _norms(floats)}
    different = [
        node.name
        for node in nodes
        if node.name not in by_name
        or by_name[node.name].layer.moving_mean.shape != node.layer.moving_mean.shape
    ]
    if different:
        raise ValueError(
            "model: expected the float model that was quantized; it differs in "
            f"{', '.join(different)}"
        )
    found = [by_name[node.name] for node in nodes]
    return channel_moments(
        floats, [(node.name, floats.tensors[node.inputs[0]]) for node in found], data
    )


def _array(variable: Any) -> Any:
    return keras.ops.convert_to_numpy(variable).astype(np.float64)
