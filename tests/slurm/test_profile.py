"""The project's Slurm profile on a real Slurm, with stand-in jobs: what happens when something is killed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from ..project import ROOT
from .cluster import Cluster, wait_until
from .snakemake_run import SnakemakeRun

pytestmark = pytest.mark.slurm
PAGE = ROOT / "docs/running-on-slurm.md"

# The rules have names that the profile knows. Like the real one, the training keeps its checkpoint beside its output.
SNAKEFILE = f"""\
rule all:
    input: expand("out/{{method}}/seed0/metrics", method=["am", "eam"])
    localrule: True

rule train_method:
    output: "out/{{method}}/seed{{seed}}/model"
    log: "out/logs/train_method/{{method}}/seed{{seed}}.log"
    resources: gpu=1
    shell: "{sys.executable} train.py {{output}} {{config[steps]}} {{config[memory]}} {{resources.mem_mb}} 2>> {{log}}"

rule evaluate_samples:
    input: "out/{{method}}/seed{{seed}}/model"
    output: "out/{{method}}/seed{{seed}}/metrics"
    log: "out/logs/evaluate_samples/{{method}}/seed{{seed}}.log"
    shell: "cp {{input}} {{output}} 2> {{log}}"
"""

# The checkpoint is a history: a line for each step with the Slurm job that took it, so that a step taken twice or left
# out shows.
TRAIN = """\
import mmap, os, sys, time
from pathlib import Path

output, steps, memory, granted_mb = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
checkpoint, need = output.with_name("checkpoint"), output.with_name("need")
output.with_name("pid").write_text(str(os.getpid()))
if not need.exists():
    need.write_text(str(int(memory * granted_mb)))


def take(megabytes, processes=16):
    # Slurm adds up what each process has resident: the same pages in many processes count often and cost once.
    pages = mmap.mmap(-1, megabytes * 2**20 // processes)
    pages.write(b"x" * len(pages))
    children = []
    for _ in range(processes):
        child = os.fork()
        if not child:
            for page in range(0, len(pages), mmap.PAGESIZE):
                pages[page]
            time.sleep(4)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


done = len(checkpoint.read_text().splitlines()) if checkpoint.exists() else 0
print(f"begins after step {done}.", file=sys.stderr, flush=True)
for step in range(done + 1, steps + 1):
    time.sleep(0.1)
    if memory and step == 5:
        take(int(need.read_text()))
    with checkpoint.open("a") as file:
        print(step, os.environ["SLURM_JOB_ID"], file=file)
output.write_text(checkpoint.read_text())
"""


class StandIn:
    """A folder with the stand-in workflow and the project's own profile."""

    def __init__(self, folder: Path, snakemake: Callable[..., SnakemakeRun]) -> None:
        self.folder, self._snakemake = folder, snakemake
        (folder / "Snakefile").write_text(SNAKEFILE)
        (folder / "train.py").write_text(TRAIN)
        (folder / "slurm").symlink_to(ROOT / "slurm")

    def start(self, steps: int, memory: float = 0, target: str = "out/am/seed0/model") -> SnakemakeRun:
        # The plugin waits 10 s longer after each look at the queue, which no setting changes; this is its start.
        look = ("--slurm-init-seconds-before-status-checks", "1")
        return self._snakemake(self.folder, target, *look, "--config", f"steps={steps}", f"memory={memory}")

    def history(self) -> list[tuple[int, int]]:
        """Steps taken, in order, each with the id of its Slurm job."""
        file = self.folder / "out/am/seed0/checkpoint"
        lines = file.read_text().splitlines() if file.exists() else []
        return [(int(step), int(job)) for step, job in map(str.split, lines)]

    def wait_for_step(self, step: int) -> None:
        wait_until(lambda: len(self.history()) >= step, 60, f"step {step} of the training")

    def kill_training(self) -> None:
        os.kill(int((self.folder / "out/am/seed0/pid").read_text()), signal.SIGKILL)

    def rule_log(self) -> str:
        return (self.folder / "out/logs/train_method/am/seed0.log").read_text()

    def slurm_log(self, job: dict[str, str]) -> str:
        return (self.folder / f"logs/slurm/rule_train_method/am_0/{job['JobId']}.log").read_text()


@pytest.fixture
def stand_in(tmp_path: Path, snakemake: Callable[..., SnakemakeRun]) -> StandIn:
    return StandIn(tmp_path, snakemake)


def each_step_once(history: list[tuple[int, int]], steps: int) -> bool:
    return [step for step, _ in history] == list(range(1, steps + 1))


def test_training_asks_for_a_gpu_and_the_rest_does_not(stand_in: StandIn) -> None:
    run = stand_in.start(steps=1, target="all")
    run.must_succeed()
    training, evaluation = run.jobs("train_method"), run.jobs("evaluate_samples")
    assert [(job["Partition"], job["TresPerJob"]) for job in training] == [("gpu", "gres:gpu:1")] * 2
    assert [(job["Partition"], job.get("TresPerJob")) for job in evaluation] == [("cpu", None)] * 2
    # There is one GPU and there are two CPUs or more: only the GPU can have kept the trainings apart.
    first, second = sorted((job["StartTime"], job["EndTime"]) for job in training)
    assert first[1] <= second[0]
    # Logs of jobs that went well are kept too, named by rule and wildcards.
    for method in ("am", "eam"):
        assert len(list(stand_in.folder.glob(f"logs/slurm/rule_train_method/{method}_0/*.log"))) == 1
        assert len(list(stand_in.folder.glob(f"logs/slurm/rule_evaluate_samples/{method}_0/*.log"))) == 1


def test_a_killed_job_is_retried_and_resumes(stand_in: StandIn) -> None:
    run = stand_in.start(steps=40)
    stand_in.wait_for_step(10)
    stand_in.kill_training()
    run.must_succeed()
    first, second = run.jobs("train_method")
    assert (first["JobState"], second["JobState"]) == ("FAILED", "COMPLETED")
    history = stand_in.history()
    assert each_step_once(history, 40)
    assert {job for _, job in history} == {int(first["JobId"]), int(second["JobId"])}
    # Both attempts left their logs: the rule's own of the first was printed before the second overwrote it.
    begun = sum(job == int(first["JobId"]) for _, job in history)
    assert "begins after step 0." in run.printed()
    assert stand_in.rule_log() == f"begins after step {begun}.\n"
    assert "(command exited with non-zero exit code)" in stand_in.slurm_log(first)
    assert "(100%) done" in stand_in.slurm_log(second)


def test_memory_grows_after_an_out_of_memory_kill(stand_in: StandIn) -> None:
    run = stand_in.start(steps=10, memory=1.3)
    run.must_succeed()
    first, second = run.jobs("train_method")
    assert "exceeded memory limit" in stand_in.slurm_log(first)
    assert second["JobState"] == "COMPLETED"
    granted = [int(job["MinMemoryNode"].removesuffix("M")) for job in (first, second)]
    assert granted[1] == 2 * granted[0]
    assert [job for _, job in stand_in.history()] == [int(first["JobId"])] * 4 + [int(second["JobId"])] * 6


def test_a_slurmd_that_dies_and_returns_loses_nothing(stand_in: StandIn, slurm_cluster: Cluster) -> None:
    run = stand_in.start(steps=40)
    stand_in.wait_for_step(10)
    with slurm_cluster.outage(jobs_die=False):
        trained = stand_in.folder / "out/am/seed0/model"
        wait_until(trained.exists, 150, "the end of a training whose node's daemon is away")
    run.must_succeed()
    (training,) = run.jobs("train_method")
    assert (training["JobState"], training["Restarts"]) == ("COMPLETED", "0")
    assert each_step_once(stand_in.history(), 40)


def test_a_node_that_dies_with_its_jobs_costs_a_restart_from_the_checkpoint(
    stand_in: StandIn, slurm_cluster: Cluster
) -> None:
    run = stand_in.start(steps=300)
    stand_in.wait_for_step(10)
    (training,) = run.jobs("train_method")
    # Slurm does not look for a job in its first 11 s: BatchStartTimeout and MessageTimeout together.
    wait_until(lambda: len(stand_in.history()) >= 170, 150, "a job older than that")
    with slurm_cluster.outage(jobs_die=True):
        pass
    job = training["JobId"]
    wait_until(lambda: run.jobs("train_method")[0]["JobState"] == "PENDING", 150, "the job back in the queue")
    # Slurm would hold it for two minutes, so that no message to its first life ends the second; seconds do here.
    slurm_cluster.call("scontrol", "update", f"JobId={job}", "StartTime=now+5")
    run.must_succeed()
    (training,) = run.jobs("train_method")
    assert (training["JobId"], training["JobState"], training["Restarts"]) == (job, "COMPLETED", "1")
    assert each_step_once(stand_in.history(), 300)
    # What the first life wrote is still in the job's log.
    assert stand_in.slurm_log(training).count("Building DAG of jobs...") == 4


def test_ctrl_c_cancels_the_jobs_and_a_later_run_resumes(stand_in: StandIn, slurm_cluster: Cluster) -> None:
    run = stand_in.start(steps=300)
    stand_in.wait_for_step(10)
    run.press_ctrl_c()
    wait_until(lambda: not slurm_cluster.call("squeue", "--noheader"), 15, "an empty queue")
    assert run.wait(60) != 0
    done = len(stand_in.history())
    run = stand_in.start(steps=done + 10)
    run.must_succeed()
    first, second = run.jobs("train_method")
    assert (first["JobState"], second["JobState"]) == ("CANCELLED", "COMPLETED")
    assert each_step_once(stand_in.history(), done + 10)


def test_a_requeued_job_goes_on_from_its_checkpoint(stand_in: StandIn, slurm_cluster: Cluster) -> None:
    """As after preemption by requeueing."""
    run = stand_in.start(steps=60)
    stand_in.wait_for_step(10)
    (training,) = run.jobs("train_method")
    job = training["JobId"]
    slurm_cluster.call("scontrol", "requeue", job)
    wait_until(lambda: run.jobs("train_method")[0]["JobState"] == "PENDING", 30, "the job back in the queue")
    slurm_cluster.call("scontrol", "update", f"JobId={job}", "StartTime=now+5")
    run.must_succeed()
    (training,) = run.jobs("train_method")
    assert (training["JobId"], training["JobState"], training["Restarts"]) == (job, "COMPLETED", "1")
    assert each_step_once(stand_in.history(), 60)


def test_what_the_page_shows_of_a_site_reaches_slurm(stand_in: StandIn) -> None:
    (shown,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    profile = yaml.safe_load((ROOT / "slurm/config.yaml").read_text()) | yaml.safe_load(shown)
    # The Slurm of the tests has other partitions, one nameless GPU, and no accounting, thus neither accounts nor QOS.
    everyone, training = profile["default-resources"], profile["set-resources"]["train_method"]
    everyone["slurm_partition"], training["slurm_partition"] = "cpu", "gpu"
    assert (training.pop("gpu_model"), everyone.pop("slurm_account")) == ("a100", "ab1234")
    (stand_in.folder / "slurm").unlink()
    (stand_in.folder / "slurm").mkdir()
    shutil.copy(ROOT / "slurm/scale.yaml", stand_in.folder / "slurm")
    (stand_in.folder / "slurm/config.yaml").write_text(yaml.safe_dump(profile))
    run = stand_in.start(steps=1, target="out/am/seed0/metrics")
    run.must_succeed()
    (trained,), (evaluated,) = run.jobs("train_method"), run.jobs("evaluate_samples")
    assert (trained["Features"], trained["Partition"], trained["TimeLimit"]) == ("nvlink", "gpu", "04:00:00")
    assert (evaluated["Features"], evaluated["Partition"], evaluated["TimeLimit"]) == ("rome|milan", "cpu", "01:00:00")
