"""Quantizers: weights (`a2q`, `max_scale`), activations, and the projection that starts them."""
