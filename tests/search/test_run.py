"""Executors of other kinds: processes and Dask's."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest
import small_search

import keras_accq as accq
from keras_accq.errors import EvaluationError, SearchInterrupted

ACC_BITS = 11


def _search(executor, **arguments):
    return accq.search(
        small_search.model(),
        ACC_BITS,
        small_search.data(),
        progress=False,
        executor=executor,
        **arguments,
    )


def _processes(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


@pytest.mark.slow
def test_processes_find_the_same_recipe_and_die_with_advice(tmp_path) -> None:
    expected = _search(None)
    with _processes(2) as executor:
        assert _search(executor) == expected
        # The pool goes on after a failed evaluation.
        with pytest.raises(EvaluationError, match=r"(?s)Traceback.*no such luck"):
            _search(executor, evaluate=small_search.fail)
        with pytest.raises(TypeError, match=r"evaluate: .*top level of a module"):
            _search(executor, evaluate=lambda network: 0.0)
        path = tmp_path / "search.json"
        with pytest.raises(
            SearchInterrupted, match=r"BrokenProcessPool.*0 evaluations.*search\.json"
        ):
            _search(executor, evaluate=small_search.die, checkpoint=path)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [False, True])
def test_dask_finds_the_same_recipe(processes: bool, tmp_path) -> None:
    distributed = pytest.importorskip("distributed")
    expected = _search(None)
    cluster = distributed.LocalCluster(
        n_workers=2 if processes else 1,
        threads_per_worker=1,
        processes=processes,
        dashboard_address=None,
        local_directory=str(tmp_path),
    )
    with cluster, distributed.Client(cluster) as client:
        executor = client.get_executor()
        assert _search(executor) == expected
        # Dask sends functions that the standard library can not.
        assert _search(executor, evaluate=lambda network: 0.0).provenance.metrics["metric"] == 0.0
        with pytest.raises(EvaluationError, match=r"(?s)Traceback.*no such luck"):
            _search(executor, evaluate=small_search.fail)
