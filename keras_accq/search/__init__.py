"""De Bruin's search: the bit widths of each layer that fill its accumulator."""
