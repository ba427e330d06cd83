"""Estimates, tables, verdicts, figures, and the store of reference results."""
