"""Fits to measured cells: what a method learns of a time course, what it tells of each cell, and how good it is."""
