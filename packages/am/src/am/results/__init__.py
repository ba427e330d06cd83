"""Provenance, tables, verdicts and figures."""
