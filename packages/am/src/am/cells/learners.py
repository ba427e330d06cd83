"""Which methods can be fitted to cells, and the settings that suit them there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from am import plugins
from am.config import ConfigError, merge, nearest
from am.extras import require_packages
from am.io.snapshots import DataError
from am.methods.contract import ActionMethod, Method, TrainedMethod
from am.runs import build_method

if TYPE_CHECKING:
    from am.marginals.snapshots import Coupling, Masses

AUTO = "auto"
"""In the place of a method's name: Action Matching in closed form, unbalanced where masses are given."""
COUPLINGS: tuple[Coupling, ...] = ("optimal", "unbalanced", "independent")
"""Those of :class:`am.SnapshotPath`, to be checked before torch is loaded."""
_OWN: dict[str, dict[str, Any]] = {
    "uam": {"growth": 0.05},
    "uam_closed": {"growth": 0.05},
    "eam": {"sigma": 0.1},
    "eam_closed": {"sigma": 0.1},
    "wfr_fm": {"delta": 4.5},  # 1 / delta^2 is the growth of uam
}
"""Settings of methods that suit cells in units of their spread and of learning time, which the library's do not."""
_OWN_COUPLING: dict[str, Coupling] = {"uam": "unbalanced", "uam_closed": "unbalanced"}
"""Of methods that explain growth: a plan that moves all mass leaves none to explain."""


def is_chosen(
    method: str, settings: Mapping[str, Any] | None, coupling: Coupling | None, relaxation: float | None
) -> bool:
    """Whether cells choose the setup: nothing of it is given.

    Examples
    --------
    >>> is_chosen("auto", None, None, None), is_chosen("auto", {"features": {"waves": 50}}, None, None)
    (True, False)
    """
    return method == AUTO and not settings and coupling is None and relaxation is None


def named(method: str, masses: Masses) -> str:
    """The name of a method, ``auto`` replaced.

    Examples
    --------
    >>> named("auto", "equal"), named("auto", "counts"), named("otcfm", "equal")
    ('am_closed', 'uam_closed', 'otcfm')
    """
    if method != AUTO:
        return method
    return "am_closed" if isinstance(masses, str) and masses == "equal" else "uam_closed"


def plain_masses(masses: Masses) -> Masses:
    """A word or a list of numbers.

    Raises
    ------
    ConfigError
        There is no such word.

    Examples
    --------
    >>> plain_masses("counts"), plain_masses((1, 2.5))
    ('counts', [1.0, 2.5])
    """
    if not isinstance(masses, str):
        return [float(mass) for mass in masses]
    if masses not in ("equal", "counts"):
        raise ConfigError(f"masses is '{masses}'; give 'equal', 'counts', or a number for each time")
    return masses


def moves_more(settings: Mapping[str, Any], where: str) -> str:
    """What makes weights more even, for a sentence, by the settings of a method that weighs cells.

    Examples
    --------
    >>> moves_more({"delta": 4.5}, "in --settings")
    "a larger 'delta' in --settings moves more"
    """
    for name, change in (("growth", "smaller"), ("delta", "larger")):
        if name in settings:
            return f"a {change} '{name}' {where} moves more"
    return "another method may move more"


def check_share(held_out: float) -> None:
    """Raise DataError where it is no share of cells to hold out."""
    if not 0 <= held_out < 1:  # or NaN
        raise DataError(f"held_out is {held_out:g}; a share of the cells between 0 and 1 is needed, or 0 for none")


def learner(
    name: str,
    given: Mapping[str, Any],
    masses: Masses = "equal",
    iterations: int | None = None,
    where: str = "settings",
) -> TrainedMethod[Any]:
    """The method with its settings; it must learn from snapshots, and have something to learn.

    Parameters
    ----------
    given
        Settings that replace those that suit cells.
    where
        Names the place of ``given`` in errors.

    Raises
    ------
    ConfigError
        The method cannot be fitted, or cannot use what is asked for; or a setting is wrong.
    MissingExtraError
        A package that the method is trained with is not installed.
    """
    settings = merge(_OWN.get(name, {}), dict(given))
    if name in plugins.names("am.methods") and not _is_fitted(name):
        raise ConfigError(f"the method '{name}' cannot be fitted to snapshots; choose from: {', '.join(fitted())}")
    if iterations is not None:
        if name in plugins.names("am.methods") and not is_iterated(name):
            raise ConfigError(f"the method '{name}' is one solve, without the steps that --iterations would count")
        settings = merge(settings, {"training": {"iterations": iterations}})
    method = build_method(name, settings, where)
    assert isinstance(method, TrainedMethod)  # noqa: S101  (for type checkers: it is fitted)
    require_packages(f"the method '{name}'", *method.needs)
    if masses != "equal" and not method.weighs:
        raise ConfigError(f"the method '{name}' weighs no cells and cannot use masses; uam does")
    if getattr(method.settings, "estimator", None) == "conditional" and masses != "equal":
        raise ConfigError("estimator: conditional knows no masses; use 'marginal', or equal masses")
    return method


def joined(
    name: str, method: TrainedMethod[Any], coupling: Coupling | None, relaxation: float | None
) -> tuple[Coupling | None, float | None]:
    """How snapshots are joined, and what it costs to make or lose mass; what is not given is the method's own.

    Raises
    ------
    ConfigError
        The method cannot use what is given, or there is no such coupling.
    """
    if coupling is not None and coupling not in COUPLINGS:
        raise ConfigError(f"there is no coupling '{coupling}'; {nearest(str(coupling), COUPLINGS)}")
    if relaxation is not None and not 0 < relaxation < math.inf:
        raise ConfigError(f"--relaxation {relaxation:g}: it must be a positive number; 1 is the default")
    if method.learns_from == "snapshots":
        if coupling is not None or relaxation is not None:
            option = "--coupling" if coupling is not None else "--relaxation"
            raise ConfigError(f"the method '{name}' joins cells by itself and cannot use {option}; am, eam, uam do")
        return None, None
    conditional = getattr(method.settings, "estimator", None) == "conditional"
    if coupling is None:
        coupling = "optimal" if conditional else _OWN_COUPLING.get(name, "optimal")
    if coupling == "unbalanced" and conditional:
        raise ConfigError("--coupling unbalanced needs 'estimator: marginal': points that come and go have no velocity")
    if coupling != "unbalanced":
        if relaxation is not None:
            raise ConfigError(
                f"--relaxation is of an unbalanced coupling, and this one is {coupling}; give --coupling unbalanced"
            )
        return coupling, None
    return coupling, 1.0 if relaxation is None else relaxation


def fitted() -> list[str]:
    """Names of all methods that can be fitted to snapshots."""
    return [name for name in plugins.names("am.methods") if _is_fitted(name)]


def is_iterated(name: str) -> bool:
    """Whether a method is trained by steps.

    Examples
    --------
    >>> is_iterated("am"), is_iterated("am_closed")
    (True, False)
    """
    return "training" in plugins.load("am.methods", name).METHOD.settings_type.model_fields


def _is_fitted(name: str) -> bool:
    kind: type[Method[Any]] = plugins.load("am.methods", name).METHOD
    return issubclass(kind, ActionMethod) or (issubclass(kind, TrainedMethod) and kind.learns_from == "snapshots")
