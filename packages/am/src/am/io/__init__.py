"""Files: formats, cells and times, downloads, provenance, and writing whole or not at all."""
