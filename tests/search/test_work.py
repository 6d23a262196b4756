import numpy as np
import pytest
import small_search

import keras_accq as accq
from keras_accq.recipe import Provenance, Recipe
from keras_accq.search import work
from keras_accq.search.work import Common, Task, agreement, relative_error

EMPTY = Recipe("small", "free", (), (), Provenance("test", "0")).to_json()


def _common(**changes) -> Common:
    return Common(
        **{
            "model": work.model_bytes(small_search.model()),
            "scheme": "free",
            "excluded": frozenset(),
            "data": small_search.data(),
            "evaluate": None,
            **changes,
        }
    )


def test_a_worker_asks_for_what_it_lacks_and_keeps_it() -> None:
    task = Task("one", EMPTY)
    assert work.run(task) == work.Answer()
    score = work.run(work.with_common(task, _common())).score
    assert score == work.Score(1.0, 0.0)
    assert work.run(task).score == score
    work.forget("one")
    assert work.run(task) == work.Answer()


def test_a_worker_keeps_the_last_searches_only() -> None:
    common = _common()
    for key in ("one", "two", "three"):
        work.remember(key, common)
    assert work.run(Task("one", EMPTY)) == work.Answer()
    assert work.run(Task("three", EMPTY)).score is not None
    for key in ("two", "three"):
        work.forget(key)


def test_scores_are_those_of_the_quantized_model() -> None:
    model, x = small_search.model(), small_search.data()
    qmodel = accq.quantize(model, 12, method="round", calibration_data=x)
    recipe = accq.recipe_of(qmodel)
    score = work.run(Task("four", recipe.to_json(), _common())).score
    ours, floats = qmodel.predict(x, verbose=0), model.predict(x, verbose=0)
    assert score.metric == np.mean(ours.argmax(axis=1) == floats.argmax(axis=1)) < 1
    assert score.error == pytest.approx(np.mean((ours - floats) ** 2) / np.mean(floats**2))
    work.forget("four")


def test_metrics() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(10, 4)).astype(np.float32)
    other = scores.copy()
    other[:3] = -other[:3]
    assert agreement([scores], [scores]) == 1.0
    assert agreement([other], [scores]) == 0.7
    # No classifiers: one number each, images, or several outputs.
    column = scores[:, :1]
    assert agreement([column * 2], [column]) == pytest.approx(-1.0)
    assert agreement([scores, column * 2], [scores, column]) == pytest.approx(-1.0)
    assert agreement([scores[:, None, None] * 3], [scores[:, None, None]]) == pytest.approx(-4.0)
    assert relative_error([column], [column * 0]) == pytest.approx(np.mean(column**2))


def test_batches_make_no_difference() -> None:
    model, x = small_search.model(), small_search.data(2 * work.BATCH + 7)
    (ours,) = work.outputs(model, x)
    np.testing.assert_allclose(ours, model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
