"""The Slurm of these tests: it says why it cannot come up, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .cluster import Cluster, ClusterError, running, wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("slurm_here")]

PROGRAM = Path(__file__).with_name("cluster.py")


@pytest.fixture
def state() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        yield Path(folder)


def test_it_leaves_no_process_behind_when_its_user_is_killed(state: Path) -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(PROGRAM.parent)!r})\n"
        "from pathlib import Path; from cluster import running\n"
        f"with running(Path({str(state)!r})) as cluster:\n"
        "    print(cluster.call('sbatch', '--wrap', 'sleep 600'), flush=True)\n"
        "    sys.stdin.read()\n"
    )
    cluster = Cluster(state)
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=state, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as user:
        assert user.stdout is not None
        assert b"Submitted" in user.stdout.readline()
        wait_until(lambda: len(cluster.processes(in_jobs=True)) >= 2, 15, "a running job")
        user.kill()
    wait_until(lambda: not cluster.processes(), 15, "an end of all processes")


def test_one_that_cannot_come_up_shows_its_log_and_leaves_nothing(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4096)  # a node with fewer CPUs than promised is not taken
    with pytest.raises(ClusterError, match=r"(?s)idle node.*slurmctld\.log.*(CPU|cpu)"):
        Cluster(state, patience=4).up()
    assert Cluster(state).processes() == []


def test_a_second_one_in_the_same_folder_is_refused(state: Path) -> None:
    with running(state) as cluster:
        assert cluster.node_state() == "idle"
        with pytest.raises(ClusterError, match="up already"), running(state):
            pass
        assert cluster.node_state() == "idle"


def test_by_hand(state: Path) -> None:
    def run(action: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(PROGRAM), action, "--state", str(state)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    try:
        assert f"SLURM_CONF={state}/slurm.conf" in run("up").stdout
        assert "gpu" in run("status").stdout
    finally:
        assert run("down").returncode == 0
    assert run("status").returncode == 1
    assert Cluster(state).processes() == []
