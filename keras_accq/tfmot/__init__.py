"""tf_keras models and tensorflow-model-optimization (tfmot); needs the extra `tfmot`."""
