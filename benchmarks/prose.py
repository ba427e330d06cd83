"""How long the sentences of the pages are, and how dense: the limits of the style, and the pages that keep to them.

python benchmarks/prose.py [page ...]

With pages it prints their sentences that are too long. Tables, code, headings and comments are no prose. A sentence
ends with a full stop, a question mark, an exclamation mark, or its paragraph or item. Code in backticks is one word.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]


class Prose(NamedTuple):
    """What is measured of a page."""

    words: float
    """A sentence, on average."""
    longest: int
    """Words of the longest sentence."""
    commas: float
    """Commas, colons and semicolons a sentence."""
    numbers: float
    """For 100 words."""


LIMITS = Prose(words=18, longest=25, commas=1.2, numbers=7)


def sentences(text: str) -> list[str]:
    """The sentences of a page in Markdown."""
    text = re.sub(r"^( *)(```|~~~).*?^\1\2$", "\n", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^<!-- table:.*?^<!-- end -->$", "\n", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"<!--.*?-->|<[^>\n]*>", "", text, flags=re.DOTALL)
    text = re.sub(r"^(?: {4}| *\||#|---).*$", "\n", text, flags=re.MULTILINE)
    text = re.sub(r"`[^`]*`", "code", text)
    text = re.sub(r"!?\[((?:[^\[\]]|\[[^\]]*\])*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"\b(et al|e\.g|i\.e|cf|vs|Fig|Eq)\.", r"\1", text)
    text = re.sub(r"^ *(?:[-*]|\d+\.) ", "\n\n", text, flags=re.MULTILINE).replace("*", "")
    blocks = (" ".join(block.split()) for block in re.split(r"\n\s*\n", text))
    parts = (part.strip() for block in blocks for part in re.split(r"(?<=[.!?])[)\"']? +(?=\S)", block))
    return [part for part in parts if re.search(r"\w", part)]


def measure(text: str) -> Prose:
    """Of a page in Markdown; of one without prose, zeros."""
    lengths = [len(_words(sentence)) for sentence in sentences(text)]
    words = [word for sentence in sentences(text) for word in _words(sentence)]
    if not words:
        return Prose(0, 0, 0, 0)
    commas = sum(len(re.findall(r"[,;:](?!\d)", sentence)) for sentence in sentences(text))
    numbers = sum(bool(re.fullmatch(r"[^\w.-]*[-+±]?\.?\d[\d.,:e+-]*\W*", word)) for word in words)
    return Prose(len(words) / len(lengths), max(lengths), commas / len(lengths), 100 * numbers / len(words))


def _words(sentence: str) -> list[str]:
    return [word for word in sentence.split() if re.search(r"\w", word)]


def beyond(found: Prose) -> list[str]:
    """Names of the limits that are not kept."""
    return [name for name, value, limit in zip(Prose._fields, found, LIMITS, strict=True) if value > limit]


def pages() -> dict[str, Path]:
    """README, the library's page and those of the documentation, by their path from the root."""
    every = [ROOT / "README.md", ROOT / "packages/am/README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return {path.relative_to(ROOT).as_posix(): path for path in every if "site" not in path.parts}


def main() -> None:
    if len(sys.argv) > 1:
        for name in sys.argv[1:]:
            text = Path(name).read_text(encoding="utf-8")
            print(f"{name}: {_told(measure(text))}")
            for sentence in sentences(text):
                if len(_words(sentence)) > LIMITS.longest:
                    print(f"  {len(_words(sentence))} words: {sentence}")
        return
    faults = []
    for name, path in pages().items():
        found = measure(path.read_text(encoding="utf-8"))
        fails = beyond(found)
        print(f"{name:45} {_told(found)} {', '.join(fails)}")
        if fails:
            faults.append(f"{name} is beyond the limits: {', '.join(fails)}")
    print(f"{'limits':45} {_told(LIMITS)}")
    if faults:
        sys.exit("\n".join(faults))


def _told(found: Prose) -> str:
    words, longest, commas, numbers = found
    return f"{words:4.1f} words, longest {longest:2}, {commas:3.1f} commas, {numbers:4.1f} numbers"


if __name__ == "__main__":
    main()
