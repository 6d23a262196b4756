"""A Keras model as a list of nodes: read, checked, grouped by scale, and rebuilt."""
