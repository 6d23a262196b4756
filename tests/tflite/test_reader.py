import contextlib
import time
import tracemalloc

import flatbuffers
import numpy as np
import pytest
import tflite_models as models
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_accq.errors import AccqError, InvalidFileError
from keras_accq.tflite.ops import quantized_ops
from keras_accq.tflite.reader import load
from keras_accq.tflite.rewrite import rewrite

RNG = np.random.default_rng(3)
RESIDUAL = models.residual(RNG, size=3, channels=2)
WEIGHTS = RNG.integers(-127, 128, (2, 3, 3, 2))


def broken(change, data=RESIDUAL):
    """The file with `change(model)` applied to its object-API model."""
    model = models.unpack(data)
    change(model)
    return models.pack(model)


def test_names_the_file_that_is_damaged(tmp_path):
    path = tmp_path / "cut.tflite"
    path.write_bytes(RESIDUAL[:100])
    with pytest.raises(InvalidFileError, match=f"^{path}: "):
        load(path)


def test_records_of_a_model():
    model = load(RESIDUAL)
    (graph,) = model.subgraphs
    assert [op.name for op in graph.operators] == [
        "CONV_2D",
        "MAXIMUM",
        "MINIMUM",
        "CONV_2D",
        "ADD",
    ]
    assert model.description == "test"
    first = graph.operators[0]
    assert not first.custom
    assert first.version == 3
    assert first.options["fused_activation_function"] == models.RELU
    x, w, b = (graph.tensors[t] for t in first.inputs)
    assert (x.name, x.shape, x.type, x.raw) == ("input", (1, 3, 3, 2), "INT8", None)
    assert (x.quantization.scale, x.quantization.zero_point) == (np.float32(0.05), 3)
    assert w.array().shape == (2, 3, 3, 2)
    assert w.array().dtype == np.int8
    assert b.array().dtype == np.int32
    assert w.quantization.scale.dtype == np.float32
    assert w.quantization.zero_point.dtype == np.int64
    assert graph.producers[first.outputs[0]] is first
    assert [op.index for op in graph.consumers[first.outputs[0]]] == [1, 4]
    assert graph.visible == {*graph.inputs, *graph.outputs}


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_takes_bytes_of_any_kind(kind):
    assert len(load(kind(RESIDUAL)).subgraphs) == 1


def test_takes_a_path(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(RESIDUAL)
    assert load(path).data == RESIDUAL
    assert load(str(path)).data == RESIDUAL


def test_refuses_other_sources(tmp_path):
    with pytest.raises(TypeError, match="came int"):
        load(3)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "missing.tflite")


def test_custom_operator():
    data = models.conv2d(WEIGHTS, [1, 4, 4, 2], custom_options=b"blob")
    (op,) = load(data).operators()
    assert (op.name, op.custom, bytes(op.custom_options)) == ("AccqConv2D", True, b"blob")
    assert op.inputs == (0, 1, -1)


def test_shape_signature():
    data = models.conv2d(WEIGHTS, [1, 4, 4, 2], shape_signature=[-1, 4, 4, 2])
    tensors = load(data).subgraphs[0].tensors
    assert (tensors[0].shape, tensors[0].signature) == ((1, 4, 4, 2), (-1, 4, 4, 2))
    assert tensors[1].signature == (2, 3, 3, 2)


def test_metadata_and_signatures():
    def change(model):
        model.buffers.append(schema.BufferT(data=np.frombuffer(b"value", np.uint8)))
        index = len(model.buffers) - 1
        model.metadata = [schema.MetadataT(name=b"key", buffer=index)]
        model.signatureDefs = [
            schema.SignatureDefT(
                signatureKey=b"serving",
                inputs=[schema.TensorMapT(name=b"x", tensorIndex=0)],
                outputs=[schema.TensorMapT(name=b"y", tensorIndex=3)],
            )
        ]

    model = load(broken(change))
    assert bytes(model.metadata["key"]) == b"value"
    assert model.subgraphs[0].visible == {0, 3, *model.subgraphs[0].outputs}


def set_tensor(index, **fields):
    def change(model):
        vars(model.subgraphs[0].tensors[index]).update(fields)

    return change


def set_quantization(index, **fields):
    def change(model):
        vars(model.subgraphs[0].tensors[index].quantization).update(fields)

    return change


def set_operator(index, **fields):
    def change(model):
        vars(model.subgraphs[0].operators[index]).update(fields)

    return change


def set_graph(**fields):
    def change(model):
        vars(model.subgraphs[0]).update(fields)

    return change


def set_model(**fields):
    def change(model):
        vars(model).update(fields)

    return change


def ints(*values):
    return np.array(values, np.int32)


def metadata(buffer):
    return [schema.MetadataT(name=b"m", buffer=buffer)]


def signature(tensor=0, subgraph=0):
    maps = [schema.TensorMapT(name=b"x", tensorIndex=tensor)]
    return [schema.SignatureDefT(inputs=maps, outputs=[], subgraphIndex=subgraph)]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (set_model(version=2), "schema version 3, came version 2"),
        (set_model(subgraphs=None), "it has no subgraph"),
        (set_model(subgraphs=[]), "it has no subgraph"),
        (set_model(metadata=metadata(99)), "metadata entry 0: refers to buffer 99"),
        (set_model(metadataBuffer=ints(99)), "metadata_buffer: refers to buffer 99"),
        (set_model(signatureDefs=signature(tensor=99)), "signature 0: refers to tensor 99"),
        (set_model(signatureDefs=signature(subgraph=1)), "signature 0: refers to subgraph 1"),
        (set_graph(inputs=ints(99)), r"subgraph 0\.inputs: refers to tensor 99"),
        (set_graph(outputs=ints(-1)), r"subgraph 0\.outputs: refers to tensor -1"),
        (set_operator(0, opcodeIndex=99), "operator 0 of subgraph 0: refers to operator code 99"),
        (set_operator(1, inputs=ints(99)), r"operator 1 .*inputs: refers to tensor 99"),
        (set_operator(1, inputs=ints(-2)), r"operator 1 .*inputs: refers to tensor -2"),
        (set_operator(1, outputs=ints(99)), r"operator 1 .*outputs: refers to tensor 99"),
        (set_operator(1, intermediates=ints(99)), "intermediates: refers to tensor 99"),
        (set_operator(3, outputs=ints(3)), "operator 0 has computed already"),
        (set_operator(0, inputs=ints(7, 1, 2)), "reads tensor 7 .* which only operator 2"),
        (set_tensor(0, buffer=99), r"tensor 0 \('input'\) of subgraph 0: refers to buffer 99"),
        (set_tensor(0, shape=ints(1, -3, 3, 2)), "has a negative dimension"),
        (set_tensor(0, shape=np.ones(65, np.int32)), "65 dimensions, over 64"),
        (set_tensor(0, shapeSignature=ints(1, 3)), "differ in rank"),
        (set_tensor(0, type=-1), "type number is -1"),
        (set_tensor(1, shape=ints(2, 3, 3, 1)), "expected 18 bytes for INT8 .* came 36"),
        (set_tensor(1, shape=ints(2, 2**31 - 1, 2**31 - 1, 2**31 - 1)), "for INT8 of shape"),
        (set_tensor(1, type=schema.TensorType.INT32), "expected 144 bytes for INT32"),
        (set_tensor(1, type=schema.TensorType.INT4), "expected 18 bytes for INT4"),
        (set_quantization(0, scale=np.float32([np.nan])), "not finite"),
        (set_quantization(1, scale=np.float32([np.inf, 1])), "not finite"),
        (set_quantization(0, zeroPoint=np.int64([])), "1 scales and 0 zero points"),
        (set_quantization(1, zeroPoint=np.int64([0] * 3)), "2 scales and 3 zero points"),
        (set_quantization(1, quantizedDimension=1), "2 scales along dimension 1"),
        (set_quantization(1, quantizedDimension=4), "2 scales along dimension 4"),
        (set_quantization(1, quantizedDimension=-1), "2 scales along dimension -1"),
    ],
)
def test_refuses_what_contradicts_itself(change, text):
    with pytest.raises(InvalidFileError, match=text):
        load(broken(change))


def test_an_operator_of_a_newer_schema_is_named_by_its_number():
    def change(model):
        model.operatorCodes[-1].builtinCode = 4000

    assert [op.name for op in load(broken(change)).operators()][-1] == "UNKNOWN_4000"


def test_an_operator_code_of_an_old_file():
    def change(model):
        for code in model.operatorCodes:
            code.builtinCode = 0

    assert next(load(broken(change)).operators()).name == "CONV_2D"


def behind_the_flatbuffer(data, tensor, *, offset=None, size=None):
    """The file with one constant moved behind the flatbuffer, as in models over 2 GB."""
    model = models.unpack(data)
    buffer = model.buffers[model.subgraphs[0].tensors[tensor].buffer]
    content = bytes(buffer.data)
    buffer.data, buffer.offset, buffer.size = None, 2, len(content)
    place = len(models.pack(model))
    buffer.offset = place if offset is None else offset
    buffer.size = len(content) if size is None else size
    return models.pack(model) + content


def test_buffers_behind_the_flatbuffer_are_read_and_written_inside():
    data = behind_the_flatbuffer(RESIDUAL, 1)
    expected = load(RESIDUAL).subgraphs[0].tensors[1].array()
    np.testing.assert_array_equal(load(data).subgraphs[0].tensors[1].array(), expected)
    restored = rewrite(rewrite(data).model, ops="builtin").model
    assert len(restored) < len(RESIDUAL) + 200
    np.testing.assert_array_equal(
        quantized_ops(load(restored))[0].weights(), quantized_ops(load(RESIDUAL))[0].weights()
    )


@pytest.mark.parametrize("places", [{"offset": 10**6}, {"size": 10**6}, {"offset": 2**64 - 1}])
def test_refuses_buffers_outside_the_file(places):
    with pytest.raises(InvalidFileError, match="buffer 1: its data is at offset"):
        load(behind_the_flatbuffer(RESIDUAL, 1, **places))


def test_refuses_buffers_behind_the_flatbuffer_that_overlap():
    def change(model):
        # 400 buffers of almost the whole file each: written back, they would be 400 files.
        model.buffers += [schema.BufferT(offset=8, size=10_000) for _ in range(400)]

    with pytest.raises(InvalidFileError, match="shared with others"):
        load(broken(change))


def test_metadata_that_share_one_buffer_are_not_copied():
    def change(model):
        model.buffers.append(schema.BufferT(data=np.zeros(1 << 20, np.uint8)))
        index = len(model.buffers) - 1
        model.metadata = [schema.MetadataT(name=b"%d" % i, buffer=index) for i in range(1000)]

    data = broken(change)
    tracemalloc.start()
    assert len(load(data).metadata) == 1000
    assert tracemalloc.get_traced_memory()[1] < 4 * len(data)
    tracemalloc.stop()


def everything(data):
    """All that can be done to a file; only our own errors may come out of it."""
    with contextlib.suppress(AccqError):
        quantized_ops(load(data))
        rewrite(rewrite(data).model, ops="builtin")


CUSTOM = rewrite(RESIDUAL).model
DENSE = models.dense_as_conv(RNG.integers(-127, 128, (3, 4)), [2, 4], bias=np.arange(3))


@pytest.mark.parametrize("data", [RESIDUAL, CUSTOM], ids=["builtin", "custom"])
def test_every_truncation(data):
    for stop in range(0, len(data) - 1, 3):
        with pytest.raises(InvalidFileError):
            load(data[:stop])


@settings(max_examples=400, deadline=20_000)
@given(
    st.sampled_from([RESIDUAL, CUSTOM, DENSE]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=5),
)
def test_changed_bytes(data, changes):
    changed = bytearray(data)
    for place, value in changes:
        changed[int(place * len(data))] = value
    everything(bytes(changed))


@settings(max_examples=100, deadline=20_000)
@given(st.binary(max_size=500))
def test_random_bytes(tail):
    everything(b"\x18\0\0\0TFL3" + tail)
    everything(tail)


def test_reading_a_file_of_4_megabytes_is_quick():
    weights = RNG.integers(-127, 128, (4096, 1024))
    data = models.fully_connected(weights, [1, 1024])
    assert len(data) > 4_000_000
    start = time.process_time()
    model = load(data)
    assert time.process_time() - start < 0.5
    array = model.subgraphs[0].tensors[1].array()
    assert np.shares_memory(array, np.frombuffer(model.data, np.uint8))


def test_aliased_operators_of_one_subgraph():
    builder = flatbuffers.Builder()
    ones = builder.CreateNumpyVector(np.zeros(20_000, np.int32))
    schema.OperatorStart(builder)
    schema.OperatorAddInputs(builder, ones)
    operator = schema.OperatorEnd(builder)
    schema.SubGraphStartOperatorsVector(builder, 20_000)
    for _ in range(20_000):
        builder.PrependUOffsetTRelative(operator)
    operators = builder.EndVector()
    schema.SubGraphStart(builder)
    schema.SubGraphAddOperators(builder, operators)
    graph = schema.SubGraphEnd(builder)
    schema.ModelStartSubgraphsVector(builder, 1)
    builder.PrependUOffsetTRelative(graph)
    graphs = builder.EndVector()
    schema.ModelStart(builder)
    schema.ModelAddVersion(builder, 3)
    schema.ModelAddSubgraphs(builder, graphs)
    builder.Finish(schema.ModelEnd(builder), b"TFL3")
    start = time.process_time()
    with pytest.raises(InvalidFileError, match="again and again"):
        load(bytes(builder.Output()))
    assert time.process_time() - start < 2
