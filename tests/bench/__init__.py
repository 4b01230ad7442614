"""Benches: figures, never assertions. `make bench` runs them."""
