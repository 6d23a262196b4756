"""Cuts single operators out of a `.tflite` file."""

import numpy as np

from keras_accq.tflite.flat import Table, serialize
from keras_accq.tflite.ops import quantized_ops
from keras_accq.tflite.reader import load


def cut_out(data: bytes, index: int) -> bytes:
    """A model of nothing but operator `index` of the first subgraph, with its constants."""
    model = load(data)
    tree, graph = model.tree, model.subgraphs[0]
    op = graph.operators[index]
    place: dict[int, int] = {}
    buffers = [Table("Buffer")]
    tensors: list[Table] = []
    for tensor in (*op.inputs, *op.outputs):
        if tensor < 0 or tensor in place:
            continue
        place[tensor] = len(tensors)
        kept = Table("Tensor", **tree["subgraphs"][0]["tensors"][tensor])
        kept["buffer"] = 0
        if graph.tensors[tensor].raw is not None:
            kept["buffer"] = len(buffers)
            buffers.append(tree["buffers"][graph.tensors[tensor].buffer])
        tensors.append(kept)
    fed = [place[t] for t in dict.fromkeys(op.inputs) if t >= 0 and graph.tensors[t].raw is None]
    table = tree["subgraphs"][0]["operators"][index]
    alone = Table(
        "Operator",
        **{key: value for key, value in table.items() if key not in ("inputs", "outputs")},
        inputs=np.array([place.get(t, -1) for t in op.inputs], np.int32),
        outputs=np.array([place[t] for t in op.outputs], np.int32),
    )
    alone["opcode_index"] = 0
    subgraph = Table(
        "SubGraph",
        tensors=tensors,
        inputs=np.array(fed, np.int32),
        outputs=alone["outputs"],
        operators=[alone],
    )
    codes = [tree["operator_codes"][table.get("opcode_index", 0)]]
    return serialize(
        Table("Model", version=3, operator_codes=codes, subgraphs=[subgraph], buffers=buffers)
    )


def cut_out_dot_product(data: bytes) -> bytes:
    """The one convolution, depthwise, transposed or fully-connected operator of a file."""
    (op,) = quantized_ops(load(data))
    return cut_out(data, op.index)
