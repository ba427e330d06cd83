"""What the command says of itself, and how it ends."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer

from am import cli, plugins
from am.config import ConfigError

COMMANDS: dict[str, Any] = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
AM = Path(sys.executable).with_name("am")


def words(text: str) -> str:
    """Without boxes and line breaks."""
    return " ".join(re.sub(r"\x1b\[[0-9;]*m|[─│╭╮╰╯┃━┏┓┗┛┡┩┳┻╇]", " ", text).split())


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("TERMINAL_WIDTH", "300")


def test_the_version_is_that_of_the_package(am: Any) -> None:
    told = am("--version")
    assert (told.code, told.out.strip()) == (0, f"am {version('action-matching')}")


def test_help_names_every_step_in_the_order_of_the_workflow(am: Any) -> None:
    told = am("--help")
    assert told.code == 0
    text = words(told.out)
    places = [text.index(f" {name} {words(command.help).split('.')[0]}") for name, command in COMMANDS.items()]
    assert places == sorted(places)
    steps = ["resolve", "retrieve", "prepare", "train", "sample", "evaluate", "tabulate", "draw", "verify"]
    assert [name for name in COMMANDS if name in steps] == steps
    assert "am train --help" in text


def test_without_arguments_it_helps(am: Any) -> None:
    told = am()
    assert "Usage: am" in words(told.out + told.err)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_step_says_what_it_does_and_what_each_argument_means(am: Any, name: str) -> None:
    told = am(name, "--help")
    assert (told.code, told.err) == (0, "")
    text = words(told.out)
    assert f"Usage: am {name}" in text
    for paragraph in COMMANDS[name].help.split("\n\n"):
        assert words(paragraph) in text
    for parameter in COMMANDS[name].params:
        if parameter.name != "help":
            assert parameter.help, f"{name} {parameter.name}: no help"
            assert words(parameter.help) in text
            assert (parameter.name if parameter.param_type_name == "argument" else parameter.opts[0]) in text


def test_methods_are_listed_with_what_they_are(am: Any) -> None:
    told = am("methods")
    assert told.code == 0
    for name in plugins.names("am.methods"):
        kind = plugins.load("am.methods", name).METHOD
        assert f"{name} {kind.title} {kind.__doc__.splitlines()[0]}" in words(told.out)


def test_methods_are_listed_where_python_keeps_no_docstrings() -> None:
    told = subprocess.run(
        [sys.executable, "-OO", "-m", "am.cli", "methods"], check=False, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr
    assert all(name in told.stdout for name in plugins.names("am.methods"))


@pytest.mark.parametrize("arguments", [("trian",), ("train",), ("train", "--sede", "1"), ("floor", "--threads", "0")])
def test_a_call_that_makes_no_sense_shows_how_to_call(am: Any, arguments: tuple[str, ...]) -> None:
    told = am(*arguments)
    assert told.code == 2
    assert "Usage: am" in words(told.err)
    assert "Traceback" not in told.err


def test_a_mistake_of_the_user_is_one_line_and_an_error_of_ours_a_traceback(tmp_path: Path) -> None:
    broken = "import am.cli, am.experiments; del am.experiments.Project; am.cli.main()"
    arguments = [
        "resolve",
        "--project",
        str(tmp_path),
        "--scale",
        "s",
        "--experiment",
        "e",
        "--out",
        str(tmp_path / "o"),
    ]
    environment = {**os.environ, "COLUMNS": "80"}
    ours, theirs = (
        subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, env=environment)
        for command in ([str(AM)], [sys.executable, "-c", broken])
    )
    assert ours.returncode == 1
    assert ours.stdout == ""
    assert ours.stderr == f"am: {tmp_path / 'config.yaml'}: no such file; nothing can stand here\n"
    assert theirs.returncode == 1
    assert theirs.stderr.startswith("Traceback")
    assert "ImportError" in theirs.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error", [ValueError("v"), RuntimeError("r"), OSError(5, "io"), KeyError("k"), MemoryError(), RecursionError()]
)
def test_errors_that_are_not_sentences_of_ours_are_raised(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(type(error)) as caught:
        cli.main()
    assert caught.value is error


def test_a_sentence_is_one_line_whatever_it_names(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise ConfigError("the key 'a\nb' is unknown\r\nhere")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 1
    assert capsys.readouterr().err == "am: the key 'a b' is unknown here\n"


def test_processes_that_were_started_by_the_first_leave_the_word_to_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise ConfigError("no")

    monkeypatch.setattr(cli, "app", fail)
    for rank, said in (("0", "am: no\n"), ("1", "")):
        monkeypatch.setenv("LOCAL_RANK", rank)
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == 1
        assert capsys.readouterr().err == said
