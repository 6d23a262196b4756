import itertools
import json
import threading
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import keras
import numpy as np
import pytest
import small_search

import keras_accq as accq
from keras_accq.calibration import measure
from keras_accq.errors import BudgetError, EvaluationError, InvalidFileError, SearchInterrupted
from keras_accq.graph.groups import find
from keras_accq.graph.nodes import read
from keras_accq.search.candidates import Settings, candidates
from keras_accq.search.search import best, kernel_matrices, layers_to_decide
from keras_accq.search.trial import Trial
from keras_accq.search.work import Score

pytestmark = pytest.mark.slow  # every test runs whole searches

ACC_BITS = 11


def _search(**arguments):
    return accq.search(
        small_search.model(), ACC_BITS, small_search.data(), progress=False, **arguments
    )


@pytest.fixture(scope="module")
def found() -> accq.Recipe:
    return _search()


class _Broken(Executor):
    """Runs so many tasks, then fails as a pool does whose workers died."""

    def __init__(self, good: int) -> None:
        self._good = good

    def submit(self, function, /, *args, **kwargs):
        future: Future = Future()
        self._good -= 1
        if self._good < 0:
            future.set_exception(OSError("the cluster is gone"))
        else:
            future.set_result(function(*args, **kwargs))
        return future


def test_the_recipe_is_what_its_provenance_says(found) -> None:
    model = small_search.model()
    qmodel = accq.quantize(model, recipe=found)
    assert [layer.name for layer in found.layers] == ["first", "second", "third"]
    assert {layer.acc_bits for layer in found.layers} == {ACC_BITS}
    x = small_search.data()
    metrics = found.provenance.metrics
    agree = np.mean(qmodel.predict(x, verbose=0).argmax(1) == model.predict(x, verbose=0).argmax(1))
    assert metrics["metric"] == agree
    assert found.provenance.settings["scheme"] == found.scheme == "fixed_point"
    assert found.provenance.package_version == accq.__version__
    # The last step saw the whole model quantized: its score is that of the result.
    step, scores = list(metrics["steps"].items())[-1]
    assert step == "choose relu"
    assert scores[str(found.layers[-1].input_bits)] == max(scores.values()) == agree
    assert accq.Recipe.from_json(found.to_json()) == found


def test_the_result_is_certified(found, tmp_path) -> None:
    certificate = accq.convert(
        accq.quantize(small_search.model(), recipe=found), tmp_path / "m.tflite"
    )
    assert certificate.verdict.startswith(f"P = {ACC_BITS} monolithic: all 3 ops")


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_find_the_same_recipe(workers: int, found) -> None:
    with ThreadPoolExecutor(workers) as executor:
        assert _search(executor=executor) == found


def test_a_metric_of_ones_own_decides(found) -> None:
    recipe = _search(evaluate=small_search.evaluate)
    for scores in recipe.provenance.metrics["steps"].values():
        assert len(set(scores.values())) > 1
    assert recipe.diff(found)
    qmodel = accq.quantize(small_search.model(), recipe=recipe)
    metric = recipe.provenance.metrics["metric"]
    assert metric == pytest.approx(small_search.evaluate(qmodel), rel=1e-6)


def test_free_scales_and_a_second_sweep_do_better(found) -> None:
    free = _search(scheme="free")
    assert free.scheme == "free"
    assert free.provenance.metrics["output_error"] < found.provenance.metrics["output_error"]
    refined = _search(refine=True)
    assert list(refined.provenance.metrics["steps"]) == [
        *(f"choose {name}" for name in ("x", "first", "relu")),
        *(f"refine {name}" for name in ("x", "first", "relu")),
    ]
    assert refined.provenance.metrics["metric"] >= found.provenance.metrics["metric"]


def test_type_bound_tile_and_exclusions() -> None:
    by_type = _search(bound="type")
    exact = _search()
    bits = [sum(layer.weight_bits for layer in recipe.layers) for recipe in (by_type, exact)]
    assert bits[0] < bits[1]
    tiled = _search(tile=4, exclude=["third"])
    assert [layer.tile for layer in tiled.layers] == [4, 4, None]
    assert tiled.layers[-1].excluded


def test_fine_tuning_keeps_the_recipe_and_reports(found) -> None:
    tuned = []

    def fine_tune(qmodel: keras.Model) -> None:
        tuned.append(qmodel)
        layer = qmodel.get_layer("third")
        layer.bias.assign(layer.bias + np.float32([0, 0, 0, 0, 100]))

    recipe = _search(fine_tune=fine_tune)
    assert recipe.diff(found) == []
    x = small_search.data()
    floats = small_search.model().predict(x, verbose=0).argmax(axis=1)
    assert recipe.provenance.metrics["metric_after_fine_tuning"] == np.mean(floats == 4)
    assert len(tuned) == 1


def test_ties_go_to_the_smaller_error_then_to_the_first() -> None:
    assert best([Score(0.5, 1.0), Score(0.6, 9.0)]) == 1
    assert best([Score(0.6, 2.0), Score(0.5, 0.1), Score(0.6, 1.0)]) == 2
    assert best([Score(0.6, 1.00001), Score(0.6 + 1e-9, 1.0)]) == 0
    assert best([Score(-3e6, 1.0), Score(-3e6 - 1, 0.5)]) == 1


def test_an_executor_that_dies_leaves_a_checkpoint_to_go_on_from(tmp_path, found) -> None:
    path = tmp_path / "search.json"
    with pytest.raises(SearchInterrupted, match="checkpoint= a search can go on"):
        _search(executor=_Broken(4))
    for good in (4, 0, 5):
        with pytest.raises(
            SearchInterrupted, match=r"OSError: the cluster is gone.*after"
        ) as caught:
            _search(executor=_Broken(good), checkpoint=path)
        assert "search.json" in str(caught.value)
        assert "call accq.search again with the same arguments and a new executor" in str(
            caught.value
        )
    assert len(json.loads(path.read_text())["scores"]) == 9
    assert _search(checkpoint=path) == found
    # All is known now: no evaluation is made.
    assert _search(checkpoint=path, executor=_Broken(0)) == found


def test_an_executor_that_was_shut_down() -> None:
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(SearchInterrupted, match="RuntimeError: cannot schedule new futures"):
        _search(executor=executor)


def test_a_checkpoint_of_another_search_is_refused(tmp_path) -> None:
    path = tmp_path / "search.json"
    with pytest.raises(SearchInterrupted):
        _search(executor=_Broken(2), checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"another search.* scheme \(.fixed_point. there, .free. "):
        _search(scheme="free", checkpoint=path)
    with pytest.raises(ValueError, match=r"differs in evaluate \(null there, .evaluate. here\)"):
        _search(evaluate=small_search.evaluate, checkpoint=path)
    with pytest.raises(ValueError, match="differs in data_sha256"):
        accq.search(
            small_search.model(), ACC_BITS, small_search.data(99), progress=False, checkpoint=path
        )
    model = small_search.model()
    model.get_layer("first").bias.assign(np.ones(16))
    with pytest.raises(ValueError, match="differs in model"):
        accq.search(model, ACC_BITS, small_search.data(), progress=False, checkpoint=path)
    assert path.read_bytes() == before
    path.write_text("{}")
    with pytest.raises(InvalidFileError, match=r"not written by accq\.search"):
        _search(checkpoint=path)


def test_evaluations_that_fail_say_how() -> None:
    with pytest.raises(EvaluationError, match=r"(?s)Traceback.*no such luck"):
        _search(evaluate=small_search.fail)
    with ThreadPoolExecutor(2) as executor:
        with pytest.raises(EvaluationError, match=r"(?s)Traceback.*no such luck"):
            _search(evaluate=small_search.fail, executor=executor)
        with pytest.raises(EvaluationError, match="expected a finite number, received nan"):
            _search(evaluate=lambda network: float("nan"), executor=executor)


def test_the_progress_bar_counts_all_evaluations(capsys) -> None:
    calls = []
    lock = threading.Lock()

    def evaluate(network: keras.Model) -> float:
        with lock:
            calls.append(network)
        return 0.0

    accq.search(small_search.model(), ACC_BITS, small_search.data(), evaluate)
    count = len(calls) - 1  # the result's own
    assert f"{count}/{count}" in capsys.readouterr().out


def test_a_budget_that_nothing_meets_names_the_layer_and_the_least() -> None:
    with pytest.raises(BudgetError, match=r"^second: no widths .*acc_bits >= 8"):
        accq.search(small_search.model(), 7, small_search.data(), bound="type", progress=False)
    with pytest.raises(BudgetError, match="acc_bits >= 3"):
        accq.search(small_search.model(), 2, small_search.data(), scheme="free", progress=False)


def _spent():
    generator = (small_search.data() for _ in range(1))
    next(generator)
    return generator


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (None, "expected data, received None"),
        ([], "at least one batch, received none"),
        (np.zeros((0, 12), np.float32), "at least 1"),
        (_spent(), r"received none; was it a generator that had been read"),
        (np.ones((9, 12), np.float32), "all values of input 'x' are 1.0"),
        (np.full((9, 12), np.nan, np.float32), "input 'x' holds NaN or infinity"),
        ([small_search.data(), small_search.data() * np.inf], "input 'x' holds NaN or infinity"),
        (np.ones((9, 11), np.float32), r"expects shape \(None, 12\), received \(9, 11\)"),
        (np.array([["a"] * 12]), "expects numbers"),
    ],
)
def test_bad_calibration_data(data, text: str) -> None:
    with pytest.raises(ValueError, match=f"calibration_data: .*{text}"):
        accq.search(small_search.model(), ACC_BITS, data, progress=False)


def test_batches_of_a_generator_are_the_same_data(found) -> None:
    x = small_search.data()
    recipe = accq.search(
        small_search.model(),
        ACC_BITS,
        (x[at : at + 64] for at in range(0, 200, 64)),
        progress=False,
    )
    assert recipe == found


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"scheme": "int"}, "scheme: expected one of.*'int'"),
        ({"bound": "loose"}, "bound: expected one of.*'loose'"),
        ({"exclude": ["nothing"]}, "exclude: 'nothing' matches no layer"),
        ({"tile": 0}, "at least 1"),
    ],
)
def test_bad_arguments(arguments, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        _search(**arguments)


@pytest.mark.parametrize("scheme", ["fixed_point", "free"])
def test_near_the_optimum_of_an_exhaustive_search(scheme: str) -> None:
    """Three layers, real digits: within half a point of the best of all combinations."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    x, y = (digits.images / 16).astype(np.float32)[..., None], digits.target
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Conv2D(8, 3, activation="relu", name="conv1"),
            layers.Conv2D(12, 3, strides=2, activation="relu", name="conv2"),
            layers.Flatten(name="flatten"),
            layers.Dense(10, name="dense"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    model.fit(x[:1000], y[:1000], epochs=12, batch_size=50, verbose=0)
    acc_bits = 10

    def accuracy(network: keras.Model) -> float:
        predicted = network.predict(x[1000:], batch_size=800, verbose=0)
        return float(np.mean(predicted.argmax(axis=1) == y[1000:]))

    recipe = accq.search(
        model, acc_bits, x[:500], accuracy, scheme=scheme, refine=True, progress=False
    )

    settings = Settings(acc_bits, scheme, "exact", None)
    graph = read(model)
    groups = find(graph)
    measured = measure(graph, groups, x[:500])
    choices = [
        candidates(
            group,
            layers_to_decide(graph, settings, ()),
            kernel_matrices(graph),
            measurement,
            settings,
        )
        for group, measurement in zip(groups, measured, strict=True)
    ]
    assert [len(found) > 2 for found in choices] == [True, True, True, False]
    trial = Trial(graph, groups, set())
    results = []
    for combination in itertools.product(*choices):
        trial.apply(
            accq.Recipe(
                model.name,
                scheme,
                tuple(layer for candidate in combination for layer in candidate.layers),
                tuple(candidate.tensor for candidate in combination),
                recipe.provenance,
            )
        )
        results.append(accuracy(trial.model))
    ours = recipe.provenance.metrics["metric"]
    print(f"{scheme}: {ours:.4f}, the best of {len(results)} {max(results):.4f}")
    assert ours >= max(results) - 0.005
    assert ours > np.median(results) + 0.02
