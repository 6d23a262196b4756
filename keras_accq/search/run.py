"""Running the evaluations of a search on an executor, and what can go wrong there."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, as_completed
from typing import Any

from keras_accq.errors import EvaluationError, SearchInterrupted
from keras_accq.search import work
from keras_accq.search.work import Answer, Common, Score, Task


class Runner:
    """Evaluates recipes, on an executor or here.

    Args:
        key: Of the search, unlike that of any other.
        common: What its evaluations have in common.
        executor: Where to run; None for this thread.
    """

    def __init__(self, key: str, common: Common, executor: Executor | None) -> None:
        self._key = key
        self._common = common
        self._executor = executor
        work.remember(key, common)

    def close(self) -> None:
        work.forget(self._key)

    def scores(self, recipes: Sequence[str], done: Callable[[int, Score], None]) -> None:
        """Evaluates recipes.

        Args:
            recipes: As JSON.
            done: Called with a recipe's position and score as soon as it is known, in any order.

        Raises:
            SearchInterrupted: The executor failed or was shut down.
            EvaluationError: An evaluation failed.
            TypeError: `evaluate` can not be sent to the executor's workers.
        """
        tasks = [Task(self._key, recipe) for recipe in recipes]
        if self._executor is None:
            for index, task in enumerate(tasks):
                done(index, _score(work.run(task)))
            return
        self._run_on(self._executor, tasks, done)

    def _run_on(
        self, executor: Executor, tasks: list[Task], done: Callable[[int, Score], None]
    ) -> None:
        waiting: dict[Future[Any], int] = {}
        try:
            for index, task in enumerate(tasks):
                waiting[self._submit(executor, task)] = index
            while waiting:
                again: dict[Future[Any], int] = {}
                for future in as_completed(list(waiting)):
                    index = waiting.pop(future)
                    answer = self._answer(future)
                    if answer.score is None and answer.problem is None:
                        whole = work.with_common(tasks[index], self._common)
                        again[self._submit(executor, whole)] = index
                    else:
                        done(index, _score(answer))
                waiting = again
        except SearchInterrupted:
            # What other workers had finished by then is not lost.
            for future, index in waiting.items():
                if future.done() and not future.cancelled() and future.exception() is None:
                    answer = future.result()
                    if answer.score is not None:
                        done(index, answer.score)
            raise
        finally:
            for future in waiting:
                future.cancel()

    def _submit(self, executor: Executor, task: Task) -> "Future[Any]":
        try:
            return executor.submit(work.run, task)
        except Exception as error:
            raise _interrupted(error) from error

    def _answer(self, future: "Future[Any]") -> Answer:
        # Evaluations answer for their own failures, so what is raised here is the executor's.
        try:
            answer: Answer = future.result()
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            if "pickle" in f"{type(error).__name__} {error}".lower():
                raise TypeError(
                    f"evaluate: this executor runs it in other processes and could not send it "
                    f"there ({error}); expected a function defined at the top level of a module"
                ) from error
            raise _interrupted(error) from error
        return answer


def _interrupted(error: BaseException) -> SearchInterrupted:
    return SearchInterrupted(f"the executor failed ({type(error).__name__}: {error})")


def _score(answer: Answer) -> Score:
    if answer.score is None:
        raise EvaluationError(f"an evaluation failed:\n{answer.problem}")
    return answer.score
