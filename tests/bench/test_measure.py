import dataclasses
import json

import numpy as np
import pytest
import tflite_models as models

from keras_accq.bench.cut import cut_out
from keras_accq.bench.measure import Bench, measure, table
from keras_accq.errors import MismatchError
from keras_accq.tflite.ops import quantized_ops
from keras_accq.tflite.reader import load
from keras_accq.tflite.rewrite import rewrite

RNG = np.random.default_rng(0)
RESIDUAL = models.residual(RNG, size=6, channels=8)


def test_layers_totals_whole_and_node_counts(delegate_library):
    seen = []

    def progress(layers):
        for layer in layers:
            seen.append(layer.name)
            yield layer

    bench = measure(RESIDUAL, samples=1, progress=progress)
    assert seen == ["first", "second"]
    assert [row.name for row in bench.rows] == ["first", "second", "all layers", "whole model"]
    assert bench.totals[0].macs == 2 * 6 * 6 * 8 * 9 * 8
    assert all(row.stock_us > 0 and row.ours_us > 0 for row in bench.rows)
    assert bench.totals[0].stock_us == sum(row.stock_us for row in bench.layers)
    assert (bench.delegated, bench.operators) == (2, 3)
    assert "runs 2 of 3 operators" in bench.nodes
    assert bench.left == ()
    record = json.loads(bench.to_json())
    assert record["format"] == 1
    assert Bench.from_json(bench.to_json()) == bench
    assert record["rows"][-1]["name"] == "whole model"
    lines = table(bench.rows).splitlines()
    assert len(lines) == 2 + len(bench.rows)
    assert len({len(line) for line in lines}) == 1


def test_a_transposed_convolution_and_a_named_kernel(delegate_library):
    data = models.transpose_conv(RNG.integers(-9, 9, (4, 2, 2, 3)), [1, 5, 5, 3], stride=(2, 2))
    bench = measure(data, samples=1, kernel="reference", threads=2)
    (row,) = bench.layers
    assert row.kernel == "reference"
    assert row.macs == 5 * 5 * 2 * 2 * 3 * 4  # no zeros between the inputs are multiplied


def test_outputs_that_differ(delegate_library, monkeypatch):
    def broken(data, **options):
        report = rewrite(data, **options)
        if options:  # the stock form
            tensor = quantized_ops(load(report.model))[0].weights()
            one = np.array(tensor).tobytes()
            other = bytes([one[0] ^ 64]) + one[1:]
            assert report.model.count(one) == 1
            report = dataclasses.replace(report, model=report.model.replace(one, other))
        return report

    monkeypatch.setattr("keras_accq.bench.measure.rewrite", broken)
    with pytest.raises(MismatchError, match=r"^first: [0-9]+ of 288 outputs of kernel reference"):
        measure(RESIDUAL, samples=1, kernel="reference")


def test_nothing_to_measure():
    unusable = models.conv2d(np.ones((2, 3, 3, 4)), (1, 5, 5, 4), output_scale=1e-9)
    with pytest.raises(ValueError, match="its multiplier"):
        measure(unusable)
    graph = models.GraphBuilder()
    x = graph.tensor("x", [1, 4], scale=0.1)
    with pytest.raises(ValueError, match="no dot product"):
        measure(graph.build([x], [models.add_reshape(graph, x, [4, 1])]))
    with pytest.raises(ValueError, match="samples and threads of at least 1, received 0 and 1"):
        measure(RESIDUAL, samples=0)


def test_one_operator_alone_computes_what_it_did():
    alone = cut_out(RESIDUAL, 0)
    (op,) = load(alone).subgraphs[0].operators
    assert (op.name, op.inputs[0]) == ("CONV_2D", 0)
    assert load(alone).subgraphs[0].inputs == (0,)
    x = RNG.integers(-128, 128, (1, 6, 6, 8)).astype(np.int8)
    (y,) = models.run(alone, x)
    assert y.shape == (1, 6, 6, 8)
    # The first of the two alone, by taking the whole model's inner tensor for its output.
    model = models.unpack(RESIDUAL)
    graph = model.subgraphs[0]
    graph.outputs = np.asarray(graph.operators[0].outputs, np.int32)
    np.testing.assert_array_equal(models.run(models.pack(model), x)[0], y)
