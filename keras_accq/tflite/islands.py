"""Float operators between a DEQUANTIZE and a QUANTIZE, where the model means them to be.

Whatever else the converter leaves in float is no part of the model.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from keras_accq.errors import ConversionError
from keras_accq.tflite.emit import Grid
from keras_accq.tflite.in_float import FloatArray, InFloat
from keras_accq.tflite.reader import Model, Operator, Subgraph

_ENDS = ("QUANTIZE", "DEQUANTIZE")


@dataclass(frozen=True, eq=False)
class Island:
    """One layer's float operators as the file must hold them.

    Attributes:
        name: The layer's.
        made: What it was written as.
        input_grid: Of the tensor that a DEQUANTIZE gives them.
        output_grid: Of the tensor that a QUANTIZE makes of their result.
    """

    name: str
    made: InFloat
    input_grid: Grid
    output_grid: Grid


def match_islands(model: Model, expected: Iterable[Island]) -> dict[tuple[int, int], str]:
    """The float operators of a file that are layers of the model.

    Args:
        model: As the converter wrote it.
        expected: What it was given.

    Returns:
        By subgraph and index of each operator, the layer's name.

    Raises:
        ConversionError: A layer's operators, constants or grids are not in the file.
    """
    remaining = list(expected)
    found: dict[tuple[int, int], str] = {}
    for graph in model.subgraphs:
        for ops in _connected(graph):
            island = next((i for i in remaining if _is_island(graph, ops, i)), None)
            if island is not None:
                remaining.remove(island)
                found.update(((graph.index, op.index), island.name) for op in ops)
    if remaining:
        wanted = remaining[0]
        raise ConversionError(
            f"layer {wanted.name!r}: expected the float operators "
            f"{', '.join(wanted.made.operators)} with the layer's constants, from "
            f"{wanted.input_grid} to {wanted.output_grid}; the file holds none such"
        )
    return found


def _connected(graph: Subgraph) -> list[list[Operator]]:
    """Float operators that hand each other their results, in the file's order."""
    parts: list[list[Operator]] = []
    for op in graph.operators:
        if op.name in _ENDS or not any(_is_float(graph, t) for t in op.outputs):
            continue
        joined = [part for part in parts if any(set(o.outputs) & set(op.inputs) for o in part)]
        parts = [part for part in parts if part not in joined]
        parts.append([*(o for part in joined for o in part), op])
    return parts


def _is_float(graph: Subgraph, tensor: int) -> bool:
    return tensor >= 0 and graph.tensors[tensor].type == "FLOAT32"


def _is_island(graph: Subgraph, ops: Sequence[Operator], island: Island) -> bool:
    if sorted(op.name for op in ops) != sorted(island.made.operators):
        return False
    made = {t for op in ops for t in op.outputs}
    read = {t for op in ops for t in op.inputs if _is_float(graph, t)} - made
    constants = [graph.tensors[t].array() for t in read if graph.tensors[t].raw is not None]
    before = {t for t in read if graph.tensors[t].raw is None}
    after = [op for op in graph.operators if set(op.inputs) & made and op not in ops]
    return (
        _same(constants, island.made.constants)
        and _grids(graph, "DEQUANTIZE", before) == {island.input_grid}
        and {op.name for op in after} == {"QUANTIZE"}
        and {_grid(graph, op.outputs[0]) for op in after} == {island.output_grid}
    )


def _grids(graph: Subgraph, name: str, made: set[int]) -> set[Grid | None]:
    """Of what is read by the operators that make the tensors; {None} where others make one."""
    makers = {t: op for op in graph.operators for t in op.outputs}
    return {
        _grid(graph, makers[t].inputs[0]) if t in makers and makers[t].name == name else None
        for t in made
    }


def _grid(graph: Subgraph, tensor: int) -> Grid | None:
    q = graph.tensors[tensor].quantization
    if q is None or q.scale.size != 1:
        return None
    return Grid(float(q.scale[0]), int(q.zero_point[0]))


def _same(found: Sequence[FloatArray], expected: Sequence[FloatArray]) -> bool:
    """Whether both hold the same values, in any order; the converter joins equal constants."""
    values = {(array.size, array.tobytes()) for array in found}
    return values == {(array.size, array.tobytes()) for array in expected}
