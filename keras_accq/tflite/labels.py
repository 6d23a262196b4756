"""Giving a converted file the Keras model's names, and its order of inputs and outputs."""

from collections.abc import Iterable, Mapping

import numpy as np

from keras_accq.tflite.flat import serialize
from keras_accq.tflite.patterns import dense_as_conv
from keras_accq.tflite.reader import Model


def relabel(
    model: Model, names: Mapping[int, str], inputs: Mapping[str, str], outputs: Iterable[str]
) -> bytes:
    """The file with tensors named after layers and inputs, and inputs and outputs in order.

    The converter joins the names of all operations that became one, and sorts inputs and outputs
    as it likes; only its signature knows which is which.

    Args:
        model: As the converter wrote it.
        names: Layer names by the index of their operator in the first subgraph.
        inputs: Names for the inputs by the signature's, in the order wanted.
        outputs: The signature's output names, in the order wanted.
    """
    graph, table = model.subgraphs[0], model.tree["subgraphs"][0]
    wanted: dict[int, str] = {}
    for index, name in names.items():
        op = graph.operators[index]
        dense = dense_as_conv(graph, op)
        if dense is not None:
            wanted[op.outputs[0]] = f"{name}/rows"
            op = dense.after
        wanted[op.outputs[0]] = name
    signature = model.tree["signature_defs"][0]
    by_name = {
        entry["name"].decode(): entry.get("tensor_index", 0)
        for entry in (*signature["inputs"], *signature["outputs"])
    }
    for key, name in inputs.items():
        if name not in wanted.values():
            wanted.setdefault(by_name[key], name)
    taken = set(wanted.values())
    for tensor, fields in enumerate(table["tensors"]):
        label = wanted.get(tensor) or _free(graph.tensors[tensor].name, taken)
        fields["name"] = label.encode()
    table["inputs"] = np.array([by_name[key] for key in inputs], np.int32)
    table["outputs"] = np.array([by_name[key] for key in outputs], np.int32)
    return serialize(model.tree, len(model.data))


def _free(name: str, taken: set[str]) -> str:
    free, number = name, 1
    while free in taken:
        free, number = f"{name}/{number}", number + 1
    taken.add(free)
    return free
