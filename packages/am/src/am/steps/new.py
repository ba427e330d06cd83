"""Write the skeleton of a method or of a benchmark, which is found by itself."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from am.benchmarks import FOLDER
from am.config import ConfigError, nearest
from am.experiment_files import ExperimentFiles
from am.io.files import atomic

METHODS = Path("packages/am/src/am/methods")
TESTS = Path("packages/am/tests/methods")

METHOD = '''"""NAME: what it is, and the paper that it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from am.methods.contract import Method

if TYPE_CHECKING:
    from am.dynamics.dynamics import Dynamics


class CLASS(Method[None]):
    """Particles that stand still: write the method here, with the number of its equation."""

    title = "NAME"
    control = True  # it bounds the others: take this line away when it does more

    def dynamics(self, network: None) -> Dynamics:
        """How particles move: say, am.dynamics.ode.Ode with the field that they follow."""
        from am.dynamics.dynamics import Still

        return Still()


METHOD = CLASS
'''

TEST = '''"""NAME on a problem whose answer is known. It fails until the method does something."""

from __future__ import annotations

import torch

from am.methods.NAME import METHOD
from am.randomness import generator


def test_particles_get_to_where_they_belong() -> None:
    method = METHOD(METHOD.settings_type())
    start = torch.randn(100, 2, generator=generator("start"))
    prediction = method.sample(None, start, torch.tensor([0.0, 1.0]), generator("sample"))
    # Say here what is known: say, that a Gaussian ends one to the right of where it began.
    torch.testing.assert_close(prediction.x[1].mean(0), start.mean(0) + torch.tensor([1.0, 0.0]), rtol=0, atol=0.1)
'''


def new_method(name: str) -> list[Path]:
    """A method that stands still, and a test that fails until it does more; from the project's top folder.

    Raises
    ------
    ConfigError
        The name cannot be a module's, something has it, or this is no copy of the project.
    """
    _check(name, METHODS)
    module, test = METHODS / f"{name}.py", TESTS / f"test_{name}.py"
    for path in (module, test):
        _refuse(path)
    title = "".join(part.capitalize() for part in name.split("_"))
    return [_write(path, text, NAME=name, CLASS=title) for path, text in ((module, METHOD), (test, TEST))]


def new_benchmark(name: str, experiment: str) -> list[Path]:
    """A folder of ``workflow/benchmarks`` whose particles stand still; from the project's top folder.

    Raises
    ------
    ConfigError
        The name cannot be used, something has it, there is no such experiment, or this is no copy of the project.
    """
    _check(name, FOLDER / "_template")
    known = ExperimentFiles(Path("config"))
    if experiment not in known:
        raise ConfigError(f"there is no experiment '{experiment}'; {nearest(experiment, known)}")
    _refuse(FOLDER / name)
    return [
        _write(FOLDER / name / path.name.replace("NAME", name), path.read_text(), NAME=name, EXPERIMENT=experiment)
        for path in sorted((FOLDER / "_template").iterdir())
        if path.is_file()
    ]


def _check(name: str, needed: Path) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise ConfigError(f"'{name}' cannot be a name: small letters, digits and _, with a letter first")
    if not needed.is_dir():
        raise ConfigError(f"there is no {needed} here: call this from the top folder of the project")


def _refuse(path: Path) -> None:
    if path.exists():
        raise ConfigError(f"{path} exists already; choose another name")


def _write(path: Path, text: str, **words: str) -> Path:
    for word, meaning in words.items():
        text = text.replace(word, meaning)
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
