"""Figures, one file each: data in, a matplotlib figure out; ``saving`` puts them on disk with their origin."""
