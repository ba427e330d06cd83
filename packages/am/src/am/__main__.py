"""The ``am`` command, also as ``python -m am``: it says what to install where the command line itself is missing."""

from __future__ import annotations

import sys

from am.extras import explained


def main() -> None:
    """Run :func:`am.cli.main`; without its packages, end in one sentence and exit status 1."""
    try:
        from am.cli import main as command
    except ModuleNotFoundError as error:
        missing = explained(error, "the command am")
        if missing is None:
            raise
        print(f"am: {missing}", file=sys.stderr)
        sys.exit(1)
    command()


if __name__ == "__main__":
    main()
