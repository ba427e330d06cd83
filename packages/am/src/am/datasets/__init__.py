"""Data sets, as paths of marginals: one file each."""
