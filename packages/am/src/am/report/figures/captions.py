"""What stands below figures wherever they are shown: plain words, which reStructuredText and HTML leave alone."""

CAPTIONS = {
    "animation": "Where particles are over time (first seed).",
    "bars": "Each distance at each time and its mean over times: means over seeds with 95 % intervals, the floor as a "
    "band, controls in grey. Hollow marks are published values, by how far they can be trusted. Where methods "
    "lie far apart the axis is linear up to the end of the floor and logarithmic beyond.",
    "grid": "Images at the last time: the truth above each model (first seed).",
    "growth": "Growth rates that methods tell of the test points, less their mean at each time, over the first two "
    "coordinates; the truth above, where it is known (first seed).",
    "histograms": "Where particles are, on coordinate planes: the truth above each model (first seed).",
    "iterations": "The experiment's first metric against training iterations: thin lines are seeds, thick lines their "
    "mean, the band is the floor (two samples of the truth against each other, at the same sizes).",
    "losses": "Training losses. Losses of different methods cannot be compared; that of Action Matching is not a "
    "distance and goes below zero.",
    "panels": "One image a column: what particles start from, what methods make of it, and the truth (first seed).",
    "paths": "The same images on their way from t = 0 to t = 1, by method (first seed).",
    "ranks": "Ranks of methods by each distance, 1 for the nearest to the truth: marks are ranks by the mean, bars the "
    "ranks that comparisons in pairs leave open, by the same seeds on the same points. Thick: comparisons of "
    "95 % each, as in the tables. Thin: all comparisons of a method hold together with 95 %, as on the "
    "leaderboard.",
    "times": "The experiment's first metric at each time: thin lines are seeds, thick lines their mean, the band is "
    "the floor (two samples of the truth against each other, at the same sizes).",
    "trajectories": "Where a hundred particles go, from ring to dot, over the snapshots; where they start anew at each "
    "time, each goes one step (first seed).",
}
"""By the name of the figure."""
