import numpy as np
import pytest
import tflite_models as models
from ai_edge_litert import schema_py_generated as schema

from keras_accq.tflite.edit import GraphEditor, Sweeper, operator_code, set_metadata
from keras_accq.tflite.flat import Table, serialize
from keras_accq.tflite.reader import load

RNG = np.random.default_rng(2)
RESIDUAL = models.residual(RNG, size=3, channels=2)


@pytest.fixture
def model():
    return load(RESIDUAL)


def reread(model):
    return load(serialize(model.tree))


def test_operator_codes_are_found_again(model):
    codes = len(model.tree["operator_codes"])
    assert operator_code(model.tree, "CONV_2D", 3) == 0
    assert operator_code(model.tree, "CONV_2D", 6) == codes
    assert operator_code(model.tree, "AccqConv2D", 1, custom=True) == codes + 1
    assert operator_code(model.tree, "AccqFullyConnected", 1, custom=True) == codes + 2
    assert operator_code(model.tree, "AccqConv2D", 1, custom=True) == codes + 1
    assert operator_code(model.tree, "BITCAST", 1) == codes + 3
    code = model.tree["operator_codes"][-1]
    assert (code["deprecated_builtin_code"], code["builtin_code"]) == (127, 159)


def test_derived_tensors_have_names_of_their_own(model):
    editor = GraphEditor(model.tree, model.subgraphs[0])
    first, second = (editor.derive(0, "input", shape_signature=None) for _ in range(2))
    assert [editor.name(t) for t in (first, second)] == ["input_2", "input_3"]
    assert editor.field(first, "buffer") is None


def test_uses_count_readers_and_what_the_user_sees(model):
    graph = model.subgraphs[0]
    editor = GraphEditor(model.tree, graph)
    first = graph.operators[0].outputs[0]
    assert [editor.uses(t) for t in (graph.inputs[0], first, graph.outputs[0])] == [2, 2, 1]
    editor.set_inputs(editor.sequence[3][0], [first, 1, 2])
    assert editor.uses(first) == 3
    editor.remove(1)
    assert editor.uses(first) == 2


def test_sweeping_removes_what_editing_left(model):
    graph = model.subgraphs[0]
    sweeper = Sweeper(model.tree)
    editor = GraphEditor(model.tree, graph)
    clamped = graph.operators[3]
    editor.set_inputs(editor.sequence[3][0], [graph.operators[0].outputs[0], *clamped.inputs[1:]])
    for index in (1, 2):
        editor.remove(index)
    editor.finish()
    sweeper.sweep()
    swept = reread(model)
    assert [op.name for op in swept.operators()] == ["CONV_2D", "CONV_2D", "ADD"]
    names = [t.name for t in swept.subgraphs[0].tensors]
    assert names == [t.name for t in graph.tensors if not t.name.startswith("clamp")]
    assert len(swept.tree["buffers"]) == len(load(RESIDUAL).tree["buffers"]) - 2
    codes = [code.get("builtin_code", 0) for code in swept.tree["operator_codes"]]
    assert codes == [models.Op.CONV_2D, models.Op.ADD]


def test_sweeping_leaves_what_nothing_used_before():
    changed = models.unpack(RESIDUAL)
    changed.buffers += [schema.BufferT(data=np.uint8([1, 2, 3])) for _ in range(2)]
    changed.operatorCodes.append(schema.OperatorCodeT(builtinCode=models.Op.RELU, version=1))
    spare = schema.TensorT(name=b"spare", shape=np.int32([3]), buffer=len(changed.buffers) - 1)
    spare.type = schema.TensorType.INT8
    changed.subgraphs[0].tensors.insert(0, spare)
    for operator in changed.subgraphs[0].operators:
        operator.inputs, operator.outputs = operator.inputs + 1, operator.outputs + 1
    graph = changed.subgraphs[0]
    graph.inputs, graph.outputs = graph.inputs + 1, graph.outputs + 1
    model = load(models.pack(changed))
    Sweeper(model.tree).sweep()
    swept = reread(model)
    assert swept.subgraphs[0].tensors[0].name == "spare"
    assert [b.get("data", np.uint8([])).size for b in swept.tree["buffers"]][-2:] == [3, 3]
    assert len(swept.tree["operator_codes"]) == len(changed.operatorCodes)


def test_sweeping_renumbers_signatures_metadata_and_the_old_metadata_buffer():
    changed = models.unpack(RESIDUAL)
    changed.buffers.append(schema.BufferT(data=np.frombuffer(b"content", np.uint8)))
    last = len(changed.buffers) - 1
    changed.metadata = [schema.MetadataT(name=b"m", buffer=last)]
    changed.metadataBuffer = np.int32([last])
    output = int(changed.subgraphs[0].outputs[0])
    maps = [schema.TensorMapT(name=b"y", tensorIndex=output)]
    changed.signatureDefs = [schema.SignatureDefT(signatureKey=b"s", inputs=[], outputs=maps)]
    model = load(models.pack(changed))
    sweeper = Sweeper(model.tree)
    editor = GraphEditor(model.tree, model.subgraphs[0])
    editor.remove(0)
    editor.finish()
    sweeper.sweep()
    swept = reread(model)
    assert bytes(swept.metadata["m"]) == b"content"
    (place,) = swept.tree["metadata_buffer"]
    assert bytes(swept.tree["buffers"][place]["data"]) == b"content"
    (entry,) = swept.tree["signature_defs"][0]["outputs"]
    assert entry["tensor_index"] == swept.subgraphs[0].outputs[0] < output


def test_metadata_is_set_replaced_and_removed():
    tree = Table("Model", version=3, subgraphs=[Table("SubGraph")])
    for content in (b"one", b"two"):
        set_metadata(tree, "name", content)
        assert bytes(load(serialize(tree)).metadata["name"]) == content
    set_metadata(tree, "name", None)
    assert load(serialize(tree)).metadata == {}
