"""Timing a file's layers: stock LiteRT's kernels against ours."""
