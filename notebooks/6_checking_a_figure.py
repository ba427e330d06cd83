# %% [markdown]
# # Checking a figure
#
# Where does a result come from, and is it still what was written? `am review` makes tables, verdicts and figures anew
# from reference results, without training; `am explain` tells what any of them is made of.

# %%
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = next(folder for folder in [Path.cwd(), *Path.cwd().parents] if (folder / "config/experiments").is_dir())
folder = tempfile.TemporaryDirectory()
kept, out = Path(folder.name) / "results/expected", Path(folder.name) / "review"


def am(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["am", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False)


# %% [markdown]
# A copy of the reference results of one experiment. `--accept` writes what follows from them as the reference.

# %%
shutil.copytree(ROOT / "results/expected/laptop/hydrogen_quarter", kept / "laptop/hydrogen_quarter")
accepted = am("review", "--kept", kept, "--out", out, "--accept")
print(accepted.stdout[-2500:])
assert accepted.returncode == 0, accepted.stderr

# %% [markdown]
# A figure, and everything that it rests on.

# %%
figure = out / "laptop/figures/hydrogen_quarter_times.png"
told = am("explain", figure)
print(told.stdout)
assert told.returncode == 0
assert "metrics.csv" in told.stdout
assert "edited" not in told.stdout

# %% [markdown]
# What must hold: whoever touches the figure, or a single metric, is found out.

# %%
figure.write_bytes(figure.read_bytes() + b" ")
assert "edited" in am("explain", figure).stdout

metrics = kept / "laptop/hydrogen_quarter/metrics.csv"
head, first, *rest = metrics.read_text().splitlines()
cells = first.split(",")
value = head.split(",").index("value")
cells[value] = str(2 * float(cells[value]))
metrics.write_text("\n".join([head, ",".join(cells), *rest, ""]))
doubted = am("review", "--kept", kept, "--out", out)
print("\n".join(line for line in doubted.stdout.splitlines() if line.startswith("FAULT")))
assert doubted.returncode == 1
assert "FAULT: hydrogen_quarter" in doubted.stdout
folder.cleanup()
