"""Float operators between a DEQUANTIZE and a QUANTIZE, where the model means them to be.

Whatever else the converter leaves in float is no part of the model.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from keras_accq.errors import ConversionError
from keras_accq.tflite.emit import Grid
from keras_accq.tflite.in_float import FloatArray, InFloat
from keras_accq.tflite.reader import Model, Operator, Subgraph


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
        model: As the converter wrote it. Of layers that compute the same of one tensor, in part or
            wholly, it computes that once.
        expected: What it was given.

    Returns:
        By subgraph and index of each operator, the name of a layer that it belongs to; last those
        that make a layer's result.

    Raises:
        ConversionError: A layer's operators, constants or grids are not in the file.
    """
    remaining = list(expected)
    taken: list[_Found] = []
    names: dict[tuple[int, int], str] = {}
    for graph in model.subgraphs:
        for found in _found(graph):
            island = next((i for i in remaining if found.is_of(i)), None)
            if island is not None:
                remaining.remove(island)
                taken.append(found)
                names.update(((graph.index, op.index), island.name) for op in found.operators)
    missing = [i for i in remaining if not any(found.is_of(i) for found in taken)]
    if missing:
        wanted = missing[0]
        raise ConversionError(
            f"layer {wanted.name!r}: expected the float operators "
            f"{', '.join(wanted.made.operators)} with the layer's constants, from "
            f"{wanted.input_grid} to {wanted.output_grid}; the file holds none such"
        )
    return names


@dataclass(frozen=True, eq=False)
class _Found:
    """What a QUANTIZE's float input is made by.

    Attributes:
        operators: In the file's order.
        constants: All float constants that they read.
        input_grids: Of the DEQUANTIZEs before them; None for another float tensor.
        output_grid: Of the QUANTIZE.
    """

    operators: tuple[Operator, ...]
    constants: tuple[FloatArray, ...]
    input_grids: frozenset[Grid | None]
    output_grid: Grid | None

    def is_of(self, island: Island) -> bool:
        return (
            sorted(op.name for op in self.operators) == sorted(island.made.operators)
            and _values(self.constants) == _values(island.made.constants)
            and self.input_grids == {island.input_grid}
            and self.output_grid == island.output_grid
        )


def _found(graph: Subgraph) -> Iterator[_Found]:
    makers = {t: op for op in graph.operators for t in op.outputs}
    for op in graph.operators:
        if op.name == "QUANTIZE":
            yield _before(graph, op, makers)


def _before(graph: Subgraph, quantize: Operator, makers: Mapping[int, Operator]) -> _Found:
    operators: dict[int, Operator] = {}
    constants: dict[int, FloatArray] = {}
    grids: set[Grid | None] = set()
    waiting = [t for t in quantize.inputs if graph.tensors[t].type == "FLOAT32"]
    while waiting:
        tensor = waiting.pop()
        maker = makers.get(tensor)
        if graph.tensors[tensor].raw is not None:
            constants[tensor] = graph.tensors[tensor].array()
        elif maker is None or maker.name == "DEQUANTIZE":
            grids.add(None if maker is None else _grid(graph, maker.inputs[0]))
        elif maker.index not in operators:
            operators[maker.index] = maker
            waiting += [t for t in maker.inputs if t >= 0 and graph.tensors[t].type == "FLOAT32"]
    return _Found(
        tuple(operators[index] for index in sorted(operators)),
        tuple(constants.values()),
        frozenset(grids),
        _grid(graph, quantize.outputs[0]),
    )


def _grid(graph: Subgraph, tensor: int) -> Grid | None:
    q = graph.tensors[tensor].quantization
    if q is None or q.scale.size != 1:
        return None
    return Grid(float(q.scale[0]), int(q.zero_point[0]))


def _values(constants: Iterable[FloatArray]) -> set[tuple[int, bytes]]:
    """To compare them in any order: of equal constants the converter keeps one."""
    return {(array.size, array.tobytes()) for array in constants}
