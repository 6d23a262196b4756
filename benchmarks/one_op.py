"""Cuts single operators out of a `.tflite` file."""

import copy

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

DOT_PRODUCTS = (
    schema.BuiltinOperator.CONV_2D,
    schema.BuiltinOperator.DEPTHWISE_CONV_2D,
    schema.BuiltinOperator.FULLY_CONNECTED,
)


def cut_out(data: bytes, index: int) -> bytes:
    """A model of nothing but operator `index` of the first subgraph, with its constants."""
    model = schema.ModelT.InitFromPackedBuf(bytearray(data))
    graph = model.subgraphs[0]
    operator = graph.operators[index]
    used = [int(t) for t in (*operator.inputs, *operator.outputs) if t >= 0]
    place = {tensor: number for number, tensor in enumerate(dict.fromkeys(used))}

    buffers, tensors = [schema.BufferT()], []
    for tensor in place:
        kept = copy.copy(graph.tensors[tensor])
        content = model.buffers[kept.buffer]
        kept.buffer = 0
        if content.data is not None and len(content.data):
            kept.buffer = len(buffers)
            buffers.append(content)
        tensors.append(kept)
    code = model.operatorCodes[operator.opcodeIndex]
    operator.opcodeIndex = 0
    operator.inputs = [place.get(int(t), -1) for t in operator.inputs]
    operator.outputs = [place[int(t)] for t in operator.outputs]
    alone = schema.ModelT(
        version=3,
        operatorCodes=[code],
        buffers=buffers,
        subgraphs=[
            schema.SubGraphT(
                tensors=tensors,
                inputs=[t for t in operator.inputs if t >= 0 and not tensors[t].buffer],
                outputs=operator.outputs,
                operators=[operator],
            )
        ],
    )
    builder = flatbuffers.Builder(len(data))
    builder.Finish(alone.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def cut_out_dot_product(data: bytes) -> bytes:
    """The one built-in convolution, depthwise or fully-connected operator of a file."""
    model = schema.ModelT.InitFromPackedBuf(bytearray(data))
    (index,) = [
        index
        for index, operator in enumerate(model.subgraphs[0].operators)
        if _code(model.operatorCodes[operator.opcodeIndex]) in DOT_PRODUCTS
    ]
    return cut_out(data, index)


def _code(entry: schema.OperatorCodeT) -> int:
    # Older files have the number in the deprecated field only.
    return max(entry.builtinCode, entry.deprecatedBuiltinCode)
