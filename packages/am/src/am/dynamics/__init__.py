"""Solvers that push particles through time, and likelihoods."""
