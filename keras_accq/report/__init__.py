"""One page about a file: accumulators, widths, spills, times, accuracies; extra [report]."""
