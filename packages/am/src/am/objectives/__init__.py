"""Losses: pure functions from a network and points of the path to a scalar and diagnostics."""
