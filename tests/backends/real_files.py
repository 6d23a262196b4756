"""Converting trained models and comparing the delegate's outputs with the model's."""

from typing import Any

import numpy as np
from end_to_end.running import outputs

import keras_accq as accq


def assert_runs_as_predicted(
    qmodel: Any,
    x: np.ndarray,
    wanted: np.ndarray,
    step: float,
    path: Any,
    verdict: str = "P = 16 monolithic: all 3 ops",
) -> None:
    """Certifies the model's file, runs it through the delegate, and compares the logits.

    Args:
        qmodel: A quantized model of either Keras.
        x: Its inputs.
        wanted: What Keras predicted for them.
        step: What a unit of the int8 output stands for.
        path: Where to write the file.
        verdict: How the file's verdict begins.
    """
    certificate = accq.convert(qmodel, path, input_type="float32", output_type="float32")
    assert certificate.verdict.startswith(verdict)
    assert accq.verify(path) == certificate
    (logits,) = outputs(accq.Interpreter, path, [x])
    assert np.mean(logits.argmax(1) == wanted.argmax(1)) >= 0.99
    # The file's biases are rounded (accq.round_biases, on TensorFlow, would round the model's too),
    # which turns a few activations, and each of these moves logits: a step or two, rarely more.
    differences = np.abs(logits - wanted) / step
    assert np.mean(differences <= 2.01) >= 0.999
    assert differences.max() <= 4.01
