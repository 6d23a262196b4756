"""Scale groups: which tensors are quantized, and which share one scale and zero point.

In a chain such as Conv2D -> BatchNormalization -> ReLU or Add -> ReLU only the last tensor exists
as integers, unless an inner one has another reader. Pooling, padding and reshaping hand their
input's scale through, Concatenate has one for all its tensors, and Softmax, sigmoid and tanh have
fixed ones. All tensors that one compute layer reads share one scale too: its operand's range spans
the values of all its calls, and with its one set of biases it has one accumulator's unit.
"""

from dataclasses import dataclass, field

import keras

from keras_accq.graph.nodes import Graph, Node
from keras_accq.graph.supported import Kind, fixed_range, has_relu, has_softmax, kind, refusal

# Clamping to N bits and these layers can change places, so a tensor that only clamped operands
# are made of is clamped once, where it is made.
_COMMUTE_WITH_CLAMP = (Kind.PASS, Kind.CONCATENATE)


@dataclass(eq=False)
class Group:
    """Tensors that share one scale and zero point.

    Attributes:
        name: Of the layer that makes the first tensor, for messages and the quantizer's name.
        sources: Nodes whose outputs are quantized: they give the range. Inputs included.
        tensors: Keys of all tensors of the group.
        readers: Compute nodes that take a tensor of the group; one of each layer.
        symmetric: Whether the zero point has to be 0.
    """

    name: str
    sources: list[Node] = field(default_factory=list)
    tensors: set[int] = field(default_factory=set)
    readers: list[Node] = field(default_factory=list)
    symmetric: bool = False

    def never_negative(self) -> bool:
        """Whether the values come from ReLUs."""
        return all(has_relu(node.layer) for node in self.sources)

    @property
    def fixed_range(self) -> tuple[float, float] | None:
        """The real values of -128 and 127, where the grid is always the same."""
        ranges = {fixed_range(node.layer) for node in self.sources}
        return ranges.pop() if len(ranges) == 1 else None

    def is_data(self) -> bool:
        """Whether the values are the model's inputs, rescaled at most."""
        return all(
            isinstance(node.layer, keras.layers.InputLayer) or kind(node.layer) is Kind.RESCALING
            for node in self.sources
        )


def find(graph: Graph) -> list[Group]:
    """The scale groups of a supported model, in topological order.

    A compute layer with a softmax of its own is taken without: its output is the logits.

    Raises:
        UnsupportedModelError: Tensors that must share a scale and have different fixed ones.
    """
    consumers, outputs = graph.consumers(), graph.outputs()
    group_of: dict[int, Group] = {}
    groups: list[Group] = []
    # A tensor that each compute layer reads.
    read_by: dict[int, int] = {}
    for node in (*graph.inputs, *graph.nodes):
        node_kind = kind(node.layer)
        if node_kind is Kind.COMPUTE:
            taken = group_of[node.inputs[0]]
            if id(node.layer) in read_by:
                _merge([group_of[read_by[id(node.layer)]], taken], groups, group_of)
            else:
                read_by[id(node.layer)] = node.inputs[0]
                taken.readers.append(node)
        if node_kind is Kind.SOFTMAX:
            continue
        if node_kind in (Kind.PASS, Kind.AVERAGE):
            group = group_of[node.inputs[0]]
        elif node_kind is Kind.CONCATENATE:
            group = _merge([group_of[key] for key in node.inputs], groups, group_of)
        else:
            if node.output not in outputs and _is_fused(node, consumers[node.output]):
                continue
            group = Group(node.label, [node])
            groups.append(group)
        group.tensors.add(node.output)
        group_of[node.output] = group
        if node_kind is Kind.PRODUCT:
            # Only with such a second operand does LiteRT sum these products in XNNPACK, whose
            # results are rounded once: elsewhere one in some hundreds is off by one.
            group_of[node.inputs[1]].symmetric = True
    for group in groups:
        _check_fixed(group, graph)
    return groups


def _check_fixed(group: Group, graph: Graph) -> None:
    ranges = {fixed_range(node.layer) for node in group.sources}
    if len(ranges) == 1:
        return
    fixed = [node for node in group.sources if fixed_range(node.layer) is not None]
    reason = (
        f"has a fixed scale, and shares it with {', '.join(n.name for n in group.sources)} where "
        "they are concatenated, or read by one shared layer; expected a layer between, such as a "
        "Conv2D of kernel size 1, or another activation"
    )
    raise refusal(graph, [(node.name, reason) for node in fixed])


def _is_fused(node: Node, readers: list[Node]) -> bool:
    """Whether a node's output is only an intermediate value of the layer that reads it."""
    if len(readers) != 1 or (kind(node.layer) is Kind.COMPUTE and has_relu(node.layer)):
        return False
    return (kind(node.layer), kind(readers[0].layer)) in {
        (None, Kind.RESCALING),  # an input
        (Kind.COMPUTE, Kind.BATCH_NORM),
        (Kind.COMPUTE, Kind.RELU),
        (Kind.COMPUTE, Kind.HARD_SIGMOID),
        (Kind.BATCH_NORM, Kind.RELU),
        (Kind.BATCH_NORM, Kind.HARD_SIGMOID),
        (Kind.ARITHMETIC, Kind.RELU),
    }


def _merge(parts: list[Group], groups: list[Group], group_of: dict[int, Group]) -> Group:
    kept = min(parts, key=groups.index)
    for part in parts:
        if part is kept or part not in groups:
            continue
        groups.remove(part)
        kept.sources += part.sources
        kept.tensors |= part.tensors
        kept.readers += part.readers
        kept.symmetric |= part.symmetric
        group_of.update(dict.fromkeys(part.tensors, kept))
    return kept


def only_narrow(graph: Graph, narrow_readers: set[str]) -> set[int]:
    """Tensors that nothing but N-bit operands is made of.

    Args:
        graph: The model.
        narrow_readers: Names of compute layers that clamp their input to fewer than 8 bits.
    """
    consumers, outputs = graph.consumers(), graph.outputs()
    narrow: set[int] = set()
    for node in reversed((*graph.inputs, *graph.nodes)):
        if node.output in outputs or not consumers[node.output]:
            continue
        if all(
            reader.name in narrow_readers
            or (kind(reader.layer) in _COMMUTE_WITH_CLAMP and reader.output in narrow)
            for reader in consumers[node.output]
        ):
            narrow.add(node.output)
    return narrow


def softmax_layer_name(node: Node) -> str:
    """The name of the layer that a compute layer's own softmax becomes."""
    assert has_softmax(node.layer)
    return f"{node.name}_softmax"
