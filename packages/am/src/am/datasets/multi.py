"""Haematopoietic stem and progenitor cells at four days, by Multiome: the data set that peers call Multi."""

from __future__ import annotations

from am.datasets.cite import Cite


class Multi(Cite):
    """Gene expression measured together with open chromatin; otherwise as CITE."""

    files = (("open_problems", "op_train_multi_targets_0.h5ad"),)


DATASET = Multi
