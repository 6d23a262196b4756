"""The page: complete, self-contained, and silent in a browser."""

import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import tflite_models as models
from browser import browse

import keras_accq as accq
from keras_accq.bench.measure import Bench, Row
from keras_accq.cli import main as cli
from keras_accq.errors import InvalidFileError
from keras_accq.report.figures import bits
from keras_accq.report.results import Result, read_results
from keras_accq.tflite import options

pytest.importorskip("matplotlib")
RNG = np.random.default_rng(0)


def _bench():
    row = Row("kept", "conv2d", 1000, "reference", 0, 0, 20.0, 10.0)
    return Bench((row,), (row,), row, (), 3, 2, 2, 1, 1, "a CPU")


@pytest.fixture
def model(tmp_path):
    """A claim that holds, one that does not, and an operator that can not be covered."""
    graph = models.GraphBuilder()
    x = graph.tensor("<input> & more", [1, 6, 6, 8], scale=0.05)
    claim = options.encode(options.CONV_2D, {"acc_bits": 16, "partition": options.MONOLITHIC})
    y = models.add_conv2d(graph, x, np.ones((4, 1, 1, 8)), name="kept", custom_options=claim)
    y = models.add_conv2d(
        graph, y, np.full((4, 3, 3, 4), 99), name="<script>broken", custom_options=claim
    )
    y = models.add_depthwise_conv2d(graph, y, RNG.integers(-9, 9, (1, 3, 3, 4)), name="depthwise")
    y = models.add_conv2d(graph, y, np.ones((2, 1, 1, 4)), name="unusable", output_scale=1e-9)
    path = tmp_path / "model.tflite"
    path.write_bytes(graph.build([x], [y]))
    return path


@pytest.fixture
def results(tmp_path):
    path = tmp_path / "results.jsonl"
    lines = [
        {"method": "a2q", "acc_bits": p, "seed": s, "test": 0.8 + 0.01 * p - s / 100}
        for p in (12, 14, 16)
        for s in (0, 1)
    ]
    lines += [{"method": "float", "acc_bits": None, "test": 0.99}, {"method": "x", "error": "none"}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_page_with_everything(model, results, tmp_path):
    path = tmp_path / "report.html"
    made = accq.report(model, path, png=tmp_path / "png", bench=_bench(), results=[results])
    html = path.read_text()
    assert html == made.html
    names = ["accumulators", "widths", "spills", "times", "accuracy"]
    assert list(made.images) == names
    for name in names:
        assert f'<section id="{name}">' in html
        assert (tmp_path / "png" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    for svg in re.findall(r"<svg.*?</svg>", html, re.S):
        ET.fromstring(svg)  # well-formed
    assert "does NOT hold" in html
    assert "&lt;script&gt;broken" in html
    assert "<script" not in html
    assert "not covered: channel 0: its multiplier" in html
    assert f"{99 * 36 * 128} overflows" in html
    assert "2.00x" in html
    assert accq.verify(model).sha256 in html


def test_a_page_asks_for_nothing(model, tmp_path):
    html = accq.report(model).html
    for address in re.findall(r"""(?:src|href)\s*=\s*["']?([^"'\s>]+)""", html):
        assert address.startswith(("#", "data:")), address
    assert not re.findall(r"url\((?!#)", html)
    assert "@import" not in html
    assert "default-src 'none'" in html
    assert '<section id="work">' in html  # nothing was measured


@pytest.mark.slow
def test_equal_reports_are_equal_pages(model):
    assert accq.report(model).html == accq.report(model).html


def test_a_file_without_dot_products(tmp_path):
    graph = models.GraphBuilder()
    x = graph.tensor("x", [1, 4], scale=0.1)
    path = tmp_path / "m.tflite"
    path.write_bytes(graph.build([x], [models.add_reshape(graph, x, [4, 1])]))
    assert "no dot products" in accq.report(path).html


def test_bits_are_whole_at_the_limits():
    for p in (2, 8, 16, 32):
        assert bits(2 ** (p - 1) - 1) == p
        assert bits(2 ** (p - 1)) > p


def test_results_of_recipes_and_tables(results, tmp_path):
    from keras_accq.recipe import LayerRecipe, Provenance, Recipe

    layer = LayerRecipe("conv", (3, 3, 1, 8), 14, 6, 8, None, "axe", {}, (0.0,) * 8)
    provenance = Provenance("accq.search", "0", metrics={"metric": 0.5})
    Recipe("m", "free", (layer,), (), provenance).save(tmp_path / "r.json")
    found = read_results([tmp_path / "r.json", results])
    assert found[0] == Result("accq.search (axe)", 14, 0.5)
    assert len(found) == 1 + 6 + 1
    for line in (
        "[]",
        '{"method": 1}',
        '{"method": "a", "acc_bits": "x"}',
        '{"method": "a", "test": 7}',
    ):
        bad = tmp_path / "bad.jsonl"
        bad.write_text(line)
        with pytest.raises(InvalidFileError, match=r"bad\.jsonl:1"):
            read_results([bad])


@pytest.mark.slow
def test_the_command(model, results, tmp_path, capsys, delegate_library):
    def run(*arguments):
        return cli.main(cli.parser().parse_args([str(a) for a in ("report", *arguments)]))

    assert run(model, tmp_path / "a.html", "--png", tmp_path / "p", "--results", results) == 0
    assert "wrote" in capsys.readouterr().out
    good = tmp_path / "good.tflite"
    good.write_bytes(models.residual(RNG, size=6, channels=8))
    assert run(good, tmp_path / "b.html", "--bench", "--samples", "1", "--json") == 0
    assert json.loads(capsys.readouterr().out)["written"] == [str(tmp_path / "b.html")]
    assert 'id="times"' in (tmp_path / "b.html").read_text()
    assert run(model, tmp_path / "a.pdf") == 2
    times = tmp_path / "bench.json"
    times.write_text(_bench().to_json())
    assert run(model, tmp_path / "c.html", "--times", times) == 0
    assert "2.00x" in (tmp_path / "c.html").read_text()
    assert run(good, tmp_path / "d.html", "--times", times) == 2  # of another file
    times.write_text("{}")
    assert run(model, tmp_path / "d.html", "--times", times) == 3
    assert not (tmp_path / "d.html").exists()


@pytest.mark.slow
def test_a_browser_shows_it_without_an_error_or_a_request(model, results, tmp_path):
    page = tmp_path / "report.html"
    accq.report(model, page, bench=_bench(), results=[results])
    assert browse(page.as_uri(), tmp_path) == ([], set())
    # Would it be seen? The policy refuses what a page asks for, and says so; without, it is asked.
    addresses = {"http://127.0.0.1:9/x.png", "https://fonts.gstatic.com/x.woff"}
    images = "".join(f'<img src="{address}">' for address in addresses)
    asking = page.read_text().replace("</main>", f"{images}</main>")
    page.write_text(asking)
    console, asked = browse(page.as_uri(), tmp_path)
    assert len(console) == 2
    assert asked == set()
    page.write_text(re.sub("<meta http-equiv.*?>", "", asking))
    assert browse(page.as_uri(), tmp_path)[1] == addresses
