import json

import pytest

from keras_accq.errors import InvalidFileError
from keras_accq.search.checkpoint import Checkpoint
from keras_accq.search.work import Score

FINGERPRINT = {"model": "ab" * 32, "acc_bits": 16}


def test_keeps_scores_in_a_file(tmp_path) -> None:
    path = tmp_path / "c.json"
    first = Checkpoint(path, FINGERPRINT)
    assert not path.exists()
    first.put("choose x 8", Score(0.1, 0.2))
    first.put("choose x 7", Score(0.30000000000000004, 1e-300))
    second = Checkpoint(path, FINGERPRINT)
    assert len(second) == 2
    assert second.get("choose x 7") == Score(0.30000000000000004, 1e-300)
    assert second.get("choose x 6") is None
    assert list(tmp_path.iterdir()) == [path]


def test_without_a_path_keeps_them_in_memory() -> None:
    checkpoint = Checkpoint(None, FINGERPRINT)
    checkpoint.put("a", Score(1.0, 2.0))
    assert checkpoint.get("a") == Score(1.0, 2.0)


def test_a_file_of_another_search_names_what_differs(tmp_path) -> None:
    path = tmp_path / "c.json"
    Checkpoint(path, FINGERPRINT).put("a", Score(1.0, 2.0))
    text = r"differs in acc_bits \(16 there, 12 here\), tile \(null there, 4 here\); .*start anew"
    with pytest.raises(ValueError, match=text):
        Checkpoint(path, {**FINGERPRINT, "acc_bits": 12, "tile": 4})
    with pytest.raises(ValueError, match=r'model \("abab.*\.\.\. there, "cd" here\)'):
        Checkpoint(path, {**FINGERPRINT, "model": "cd"})


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda r: r.update(format="x"), r"not written by accq\.search"),
        (lambda r: r.update(version=2), "of version 2, while this keras-accq reads 1"),
        (lambda r: r.update(search=3), "search: expected an object"),
        (lambda r: r.update(scores=[]), "scores: expected an object"),
        (lambda r: r["scores"].update(a={"metric": 1}), r"scores\.a: expected 'error'"),
        (lambda r: r["scores"].update(a={"metric": "x", "error": 1}), "expected a finite number"),
    ],
)
def test_damaged_files_are_named(change, text: str, tmp_path) -> None:
    path = tmp_path / "c.json"
    Checkpoint(path, FINGERPRINT).put("a", Score(1.0, 2.0))
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    with pytest.raises(InvalidFileError, match=rf"checkpoint .*c\.json: .*{text}"):
        Checkpoint(path, FINGERPRINT)


def test_half_a_file(tmp_path) -> None:
    path = tmp_path / "c.json"
    path.write_text('{"format": "keras-accq sea')
    with pytest.raises(InvalidFileError, match=r"c\.json: not JSON"):
        Checkpoint(path, FINGERPRINT)
