"""What the paper claims, and by what each claim is judged: ``config/claims.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from am.config import Settings, parse, read_yaml

Section = Literal["objectives", "hydrogen", "cells", "petals", "images"]


class Ordered(Settings):
    """An order of two methods, which holds if the interval of their difference says so, and means of every time too."""

    experiments: tuple[str, ...] = Field(min_length=1, description="a row for each of them, at laptop scale")
    metrics: tuple[str, ...] = Field(min_length=1, description="and for each of these")
    less: str = Field(description="the method whose value is claimed to be less")
    more: str = Field(description="the other")


class Claim(Settings):
    """A claim, figure or table of the paper. One of ``numbers``, ``ordered``, ``test`` and ``figure`` judges it."""

    where: str = Field(description="its place in the paper, by subject")
    section: Section = Field(description="the part of docs/claims.md that it stands in")
    claim: str = Field(default="", description="in one sentence; of published numbers, their file has it")
    numbers: str | None = Field(default=None, description="an experiment: a row for each number published about it")
    ordered: Ordered | None = Field(default=None, description="an order of two methods")
    test: str | None = Field(default=None, description="a test that holds it, as pytest names it; `make test` runs it")
    figure: str | None = Field(default=None, description="ours, as <experiment>_<figure>")
    page: str | None = Field(default=None, description="of docs, with our table or figure")
    needs: str = Field(default="", description="what it takes where it was not run")
    human_minutes: PositiveInt = Field(default=2, description="to start the command and to read what it leaves")

    @model_validator(mode="after")
    def _judged_by_one(self) -> Claim:
        judges = [name for name in ("numbers", "ordered", "test") if getattr(self, name) is not None]
        if len(judges) > 1:
            raise ValueError(f"{judges[0]} and {judges[1]} judge it both: leave one out")
        if not judges and not self.needs and self.figure is None:
            raise ValueError("nothing judges it: give numbers, ordered, test or figure, or say what it needs")
        if (self.claim == "") != (self.numbers is not None):
            raise ValueError("it has a claim unless, and only unless, it has numbers, whose file tells theirs")
        return self


class Claims(Settings):
    """The file: claims in the order of the page."""

    claims: tuple[Claim, ...] = Field(min_length=1)


def read_claims(file: Path) -> tuple[Claim, ...]:
    """All claims, in the order of the file.

    Raises
    ------
    ConfigError
        The file is missing or not valid; names the key.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from am.config import write_yaml
    >>> claim = {"where": "table 1", "section": "petals", "claim": "It is so.", "needs": "a GPU"}
    >>> with TemporaryDirectory() as folder:
    ...     write_yaml({"claims": [claim]}, file := Path(folder, "claims.yaml"))
    ...     [found] = read_claims(file)
    >>> found.needs
    'a GPU'
    """
    return parse(Claims, read_yaml(file), str(file)).claims
