"""What figures say of their origin: read without drawing any, since checking results is no part of how they look."""

from __future__ import annotations

import re
from pathlib import Path

from am.io.provenance import Origin, ProvenanceError, check_origin, parse_json


def origin_inside(path: Path) -> Origin | None:
    """The origin that a PDF, PNG or GIF written here carries inside; None in any other file."""
    text: str | bytes | None = None
    try:
        if path.suffix == ".pdf":
            found = re.search(rb"/Keywords \(((?:[^\\()]|\\.)*)\)", path.read_bytes(), re.DOTALL)
            text = re.sub(rb"\\(.)", rb"\1", found[1]) if found else None
        elif path.suffix in (".png", ".gif"):
            from PIL import Image

            with Image.open(path) as image:
                text = image.info.get("Provenance" if path.suffix == ".png" else "comment")
    except Exception:  # Pillow raises many kinds for files that are broken
        return None
    try:
        return None if text is None else check_origin(parse_json(text, path), path)
    except ProvenanceError:  # the words of another program
        return None
