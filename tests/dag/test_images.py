"""What metrics of images look through is fetched once, and only where an experiment asks for it."""

from __future__ import annotations

from collections import Counter

from ..project import ProjectCopy


def test_inception_is_fetched_for_those_who_ask(project: ProjectCopy) -> None:
    jobs = project.planned("--config", "scale=paper", "experiments=[cifar10,cifar10_superresolution]")
    fetched = Counter((job["source"], job["file"]) for job in jobs if job["rule"] == "retrieve_file")
    assert fetched == {
        ("cifar10", "cifar-10-python.tar.gz"): 1,
        ("inception", "weights-inception-2015-12-05-6726825d.pth"): 1,
    }
