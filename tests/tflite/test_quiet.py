import os
import subprocess
import sys

import pytest

from keras_accq.tflite.quiet import without_chatter


def test_only_the_chatter_is_held_back(capfd) -> None:
    with without_chatter():
        os.write(2, b"one\nW0000 x.cc:364] Ignored output_format.\ntwo\n")
    os.write(2, b"three\n")
    assert capfd.readouterr().err == "one\ntwo\nthree\n"


def test_errors_pass_and_the_stream_is_restored(capfd) -> None:
    def fail() -> None:
        with without_chatter():
            os.write(2, b"before the error\n")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "before the error\nafter\n"


def test_works_without_a_standard_error() -> None:
    code = (
        "import os, sys; os.close(2); sys.stderr = None\n"
        "from keras_accq.tflite.quiet import without_chatter\n"
        "with without_chatter(): pass\n"
        "print('done')"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert result.stdout == b"done\n"
