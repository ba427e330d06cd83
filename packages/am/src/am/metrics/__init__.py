"""Distances between samples, with floors and intervals."""
