"""Paths of marginals q_t that can be sampled."""
