"""Action Matching: learn dynamics from samples of their marginals."""
