"""A method of another distribution takes part like the project's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ..project import ProjectCopy

MODULE = '''
"""Particles that fly straight on."""

from am.config import Settings
from am.methods.contract import Method


class Wind(Settings):
    """How it blows."""

    speed: float = 1.0


class Drifting(Method):
    """Every particle moves along the first axis."""

    settings_type = Wind
    title = "drifting"

    def dynamics(self, network):
        from am.dynamics.dynamics import Explicit

        def positions(start, times, generator):
            x = start.repeat(len(times), 1, 1)
            x[:, :, 0] += self.settings.speed * (times - times[0])[:, None]
            return x

        return Explicit(positions)


METHOD = Drifting
'''


@pytest.fixture
def windy(changed: ProjectCopy, tmp_path: Path) -> ProjectCopy:
    """What has run, with a distribution installed that brings a method, and a row for it."""
    place = tmp_path / "site"
    about = place / "windy-0.1.dist-info"
    about.mkdir(parents=True)
    (place / "windy.py").write_text(MODULE)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: windy\nVersion: 0.1\n")
    (about / "entry_points.txt").write_text("[am.methods]\ndrifting = windy\n")
    changed.environment["PYTHONPATH"] += f":{place}"
    changed.edit(
        "config/experiments/tiny.yaml",
        "  no_dynamics: {}",
        "  no_dynamics: {}\n  drifting: {settings: {speed: 3}}",
    )
    return changed


def test_it_is_found_and_runs(windy: ProjectCopy) -> None:
    assert "drifting" in windy.call("am", "methods").stdout

    samples = "results/tiny/tiny/{}/seed0/samples.npz"
    run = windy.snakemake(samples.format("drifting"))
    assert run.returncode == 0, run.stdout
    with (
        np.load(windy.folder / samples.format("drifting")) as mine,
        np.load(windy.folder / samples.format("no_dynamics")) as still,
    ):
        moved, time = mine["x"] - still["x"], mine["time"]
    np.testing.assert_allclose(moved[:, 0], 3 * time, atol=1e-4)
    np.testing.assert_array_equal(moved[:, 1:], 0)

    assert windy.planned(samples.format("drifting")) == []
    windy.edit("../site/windy-0.1.dist-info/METADATA", "Version: 0.1", "Version: 0.2")
    assert [job["rule"] for job in windy.planned(samples.format("drifting"))] == ["sample_method"]


def test_its_settings_are_checked_like_any(windy: ProjectCopy) -> None:
    windy.edit("config/experiments/tiny.yaml", "{speed: 3}", "{sped: 3}")
    run = windy.snakemake("--dry-run")
    assert run.returncode == 1
    assert "methods.drifting.settings: sped: unknown key; did you mean 'speed'?" in run.stdout
