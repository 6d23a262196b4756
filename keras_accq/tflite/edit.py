"""Changing a parsed model in place: new tensors, operators and constants; sweeping what is left."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from keras_accq.tflite.flat import Table
from keras_accq.tflite.reader import Subgraph
from keras_accq.tflite.schema import OPERATORS, TENSOR_TYPES, UNIONS

_CUSTOM = OPERATORS.index("CUSTOM")
# Old runtimes read only an 8-bit code; this number sends them to the 32-bit one.
_LAST_OLD_CODE = 127


def operator_code(tree: Table, name: str, version: int, *, custom: bool = False) -> int:
    """The index of an operator code, which is appended when the model has none like it."""
    number = _CUSTOM if custom else OPERATORS.index(name)
    codes = tree.setdefault("operator_codes", [])
    for i in reversed(range(len(codes))):
        code = codes[i]
        if (
            max(code.get("builtin_code", 0), code.get("deprecated_builtin_code", 0)) == number
            and code.get("version", 1) == version
            and (not custom or code.get("custom_code") == name.encode())
        ):
            return i
    entry = Table(
        "OperatorCode",
        deprecated_builtin_code=min(number, _LAST_OLD_CODE),
        builtin_code=number,
        version=version,
    )
    if custom:
        entry["custom_code"] = name.encode()
    codes.append(entry)
    return len(codes) - 1


def add_buffer(tree: Table, data: bytes) -> int:
    """Appends a buffer and returns its index."""
    buffers = tree.setdefault("buffers", [])
    if not buffers:
        buffers.append(Table("Buffer"))  # Buffer 0 stands for "none".
    buffers.append(Table("Buffer", data=np.frombuffer(data, np.uint8)))
    return len(buffers) - 1


def set_metadata(tree: Table, name: str, content: bytes | None) -> None:
    """Sets the metadata entry of that name, or removes it with None."""
    entries = [e for e in tree.get("metadata", []) if e.get("name") != name.encode()]
    if content is not None:
        entries.append(Table("Metadata", name=name.encode(), buffer=add_buffer(tree, content)))
    if entries or "metadata" in tree:
        tree["metadata"] = entries


def make_operator(
    code: int,
    inputs: Sequence[int],
    outputs: Sequence[int],
    options: Table | None = None,
) -> Table:
    """An operator table of a built-in."""
    operator = Table(
        "Operator",
        opcode_index=code,
        inputs=np.asarray(inputs, np.int32),
        outputs=np.asarray(outputs, np.int32),
    )
    if options is not None:
        operator["builtin_options_type"] = UNIONS["BuiltinOptions"].index(options.of)
        operator["builtin_options"] = options
    return operator


class GraphEditor:
    """Edits one subgraph of a parsed model; `finish` puts the new list of operators in place.

    Args:
        tree: The "Model" table, changed in place.
        graph: The subgraph's record, as it was read.

    Attributes:
        sequence: For each operator as read, the operators that now stand in its place.
    """

    def __init__(self, tree: Table, graph: Subgraph) -> None:
        self.tree = tree
        self.graph = graph
        self._table: Table = tree["subgraphs"][graph.index]
        self.sequence: list[list[Table]] = [[op] for op in self._table.get("operators", [])]
        self._names = {tensor.get("name", b"") for tensor in self._tensors}
        self._uses: Counter[int] = Counter(graph.visible)
        for (operator,) in self.sequence:
            self._uses.update(self._read_by(operator))

    @property
    def _tensors(self) -> list[Table]:
        tensors: list[Table] = self._table["tensors"]
        return tensors

    @staticmethod
    def _read_by(operator: Table) -> set[int]:
        return set(np.asarray(operator.get("inputs", ())).tolist())

    def uses(self, tensor: int) -> int:
        """How many operators read a tensor now; being visible to the user counts as one."""
        return self._uses[tensor]

    def set_inputs(self, operator: Table, inputs: Sequence[int]) -> None:
        """Lets an operator read other tensors."""
        self._uses.subtract(self._read_by(operator))
        operator["inputs"] = np.asarray(inputs, np.int32)
        self._uses.update(self._read_by(operator))

    def remove(self, index: int) -> None:
        """Takes out the operator that was read at `index`."""
        for operator in self.sequence[index]:
            self._uses.subtract(self._read_by(operator))
        self.sequence[index] = []

    def derive(self, tensor: int, name: str, **changes: Any) -> int:
        """Appends a copy of a tensor without its constant; `changes` are fields of its table.

        Args:
            tensor: Index of the tensor to copy.
            name: Its name, to which a number is added where the graph has it already.
            **changes: Fields of the new table; None leaves a field out.
        """
        table = Table("Tensor", **self._tensors[tensor])
        table.pop("buffer", None)
        table.update(changes)
        for field in [field for field, value in table.items() if value is None]:
            del table[field]
        unique, number = name.encode(), 1
        while unique in self._names:
            number += 1
            unique = f"{name}_{number}".encode()
        self._names.add(unique)
        table["name"] = unique
        self._tensors.append(table)
        return len(self._tensors) - 1

    def constant(self, name: str, values: np.ndarray, scale: np.ndarray | None = None) -> int:
        """Appends an INT32 constant, quantized when it has scales, and returns its tensor."""
        array = np.asarray(values, np.int32)
        table = Table(
            "Tensor",
            shape=np.asarray(array.shape, np.int32),
            type=TENSOR_TYPES.index("INT32"),
            buffer=add_buffer(self.tree, array.tobytes()),
            name=name.encode(),
        )
        if scale is not None:
            table["quantization"] = Table(
                "QuantizationParameters", scale=scale, zero_point=np.zeros(scale.size, np.int64)
            )
        self._tensors.append(table)
        return len(self._tensors) - 1

    def name(self, tensor: int) -> str:
        """A tensor's name."""
        return str(self._tensors[tensor].get("name", b"").decode("utf-8", "replace"))

    def field(self, tensor: int, key: str) -> Any:
        """A field of a tensor's table; None when it is absent."""
        return self._tensors[tensor].get(key)

    def finish(self) -> None:
        """Puts the edited operators in place."""
        self._table["operators"] = [op for operators in self.sequence for op in operators]


class Sweeper:
    """Removes the tensors, buffers and operator codes that editing left without a user.

    What nothing referred to before the edit is somebody else's and stays.

    Args:
        tree: The "Model" table before the edit.
    """

    def __init__(self, tree: Table) -> None:
        self._tree = tree
        self._old_tensors = [
            set(range(len(g.get("tensors", [])))) - _used_tensors(tree, i)
            for i, g in enumerate(tree["subgraphs"])
        ]
        self._old_buffers = set(range(len(tree.get("buffers", [])))) - _used_buffers(tree)
        self._old_codes = set(range(len(tree.get("operator_codes", [])))) - _used_codes(tree)

    def sweep(self) -> None:
        """Removes them and renumbers all references."""
        tree = self._tree
        for i, graph in enumerate(tree["subgraphs"]):
            used = _used_tensors(tree, i) | self._old_tensors[i]
            if "tensors" in graph:
                graph["tensors"], places = _keep(graph["tensors"], used)
                _renumber_tensors(tree, i, places)
        if "buffers" in tree:
            used = _used_buffers(tree) | self._old_buffers | {0}
            tree["buffers"], places = _keep(tree["buffers"], used)
            for table in _buffer_users(tree):
                if table.get("buffer", 0):  # 0 keeps its place, and stands for "none".
                    table["buffer"] = places[table["buffer"]]
            if "metadata_buffer" in tree:
                tree["metadata_buffer"] = [places[b] for b in tree["metadata_buffer"].tolist()]
        if "operator_codes" in tree:
            used = _used_codes(tree) | self._old_codes
            tree["operator_codes"], places = _keep(tree["operator_codes"], used)
            for operator in _operators(tree):
                operator["opcode_index"] = places[operator.get("opcode_index", 0)]


def _keep(items: list[Table], used: Iterable[int]) -> tuple[list[Table], dict[int, int]]:
    kept = sorted(i for i in used if i < len(items))
    return [items[i] for i in kept], {old: new for new, old in enumerate(kept)}


def _operators(tree: Table) -> list[Table]:
    return [op for graph in tree["subgraphs"] for op in graph.get("operators", [])]


_OPERATOR_TENSORS = ("inputs", "outputs", "intermediates")


def _signature_maps(tree: Table, graph: int) -> list[Table]:
    return [
        entry
        for signature in tree.get("signature_defs", [])
        if signature.get("subgraph_index", 0) == graph
        for entry in [*signature.get("inputs", []), *signature.get("outputs", [])]
    ]


def _used_tensors(tree: Table, index: int) -> set[int]:
    graph = tree["subgraphs"][index]
    result = {entry.get("tensor_index", 0) for entry in _signature_maps(tree, index)}
    vectors = [graph.get("inputs", ()), graph.get("outputs", ())]
    for operator in graph.get("operators", []):
        vectors += [operator.get(key, ()) for key in _OPERATOR_TENSORS]
    for vector in vectors:
        result.update(np.asarray(vector).tolist())
    return result - {-1}


def _renumber_tensors(tree: Table, index: int, places: dict[int, int]) -> None:
    graph = tree["subgraphs"][index]
    places = {**places, -1: -1}

    def renumber(table: Table, keys: Iterable[str]) -> None:
        for key in keys:
            if key in table:
                table[key] = np.array([places[t] for t in table[key].tolist()], np.int32)

    renumber(graph, ("inputs", "outputs"))
    for operator in graph.get("operators", []):
        renumber(operator, _OPERATOR_TENSORS)
    for entry in _signature_maps(tree, index):
        entry["tensor_index"] = places[entry.get("tensor_index", 0)]


def _buffer_users(tree: Table) -> list[Table]:
    tensors = [tensor for graph in tree["subgraphs"] for tensor in graph.get("tensors", [])]
    return [*tensors, *tree.get("metadata", [])]


def _used_buffers(tree: Table) -> set[int]:
    used = {table.get("buffer", 0) for table in _buffer_users(tree)}
    return used.union(np.asarray(tree.get("metadata_buffer", ())).tolist())


def _used_codes(tree: Table) -> set[int]:
    return {operator.get("opcode_index", 0) for operator in _operators(tree)}
