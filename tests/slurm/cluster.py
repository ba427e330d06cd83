"""A real Slurm of one node, for tests: no systemd, no accounting, nothing outside its own folder.

Needs root and the packages that ``install.sh`` installs. By hand::

    python tests/slurm/cluster.py up --state /tmp/slurm      # prints how to talk to it
    python tests/slurm/cluster.py status --state /tmp/slurm
    python tests/slurm/cluster.py down --state /tmp/slurm

The node has the CPUs and memory of this machine, and one pretend GPU. Memory limits are enforced by sampling every
second, so that no cgroup is needed: a job is killed about a second after it outgrows its request.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
_SBIN = "/usr/sbin:/sbin"  # where Debian puts the daemons; not every shell searches there
_MARK = "AM_SLURM_TEST_STATE"

_SLURM_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={slurmctld_port}
SlurmdPort={slurmd_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={state}/munge/socket
CredType=cred/munge
StateSaveLocation={state}/slurmctld
SlurmdSpoolDir={state}/slurmd
SlurmctldPidFile={state}/slurmctld.pid
SlurmdPidFile={state}/slurmd.pid
MailProg=/bin/true

# Without systemd and cgroups: processes are followed by their ids, memory by sampling.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none

SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
GresTypes=gpu

# A site waits longer; a test should not. MinJobAge is long, as the tests ask about jobs that have ended.
SchedulerParameters=sched_interval=1,batch_sched_delay=0,bf_interval=1
SlurmdTimeout=60
KillWait=3
MinJobAge=3600
BatchStartTimeout=1
ReturnToService=2

NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mb} Gres=gpu:1 Feature=rome,milan,nvlink State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes={host} MaxTime=INFINITE State=UP
"""


class ClusterError(RuntimeError):
    """The cluster cannot do what was asked; the text holds the ends of the logs."""


def why_not() -> str | None:
    """Say in one sentence why no cluster can be brought up here, or nothing when one can."""
    if os.geteuid() != 0:
        return "Slurm's daemons need root"
    missing = [name for name in PROGRAMS if shutil.which(name, path=_search_path()) is None]
    if missing:
        return f"{', '.join(missing)} not found: run tests/slurm/install.sh (Debian, root)"
    return None


def wait_until(ready: Callable[[], bool], timeout: float, what: str) -> None:
    """Look every fifth of a second until ``ready``.

    Raises
    ------
    ClusterError
        ``what`` did not happen within ``timeout`` seconds.
    """
    end = time.monotonic() + timeout
    while not ready():
        if time.monotonic() > end:
            raise ClusterError(f"waited {timeout:g} s in vain for: {what}")
        time.sleep(0.2)


class Cluster:
    """One Slurm, living in the folder ``state``.

    Parameters
    ----------
    state
        Holds configuration, keys, logs and Slurm's own state. At most 80 characters long: it holds a socket.
    patience
        Seconds to wait for a daemon to be ready.
    """

    def __init__(self, state: Path, patience: float = 30) -> None:
        self.state = state.resolve()
        self.patience = patience

    @property
    def slurm_conf(self) -> Path:
        """The configuration that clients find by the variable SLURM_CONF."""
        return self.state / "slurm.conf"

    @property
    def environment(self) -> dict[str, str]:
        """The environment for a program that is to use this cluster; :meth:`down` ends such programs too."""
        here = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
        path = f"{self.state / 'bin'}:{_search_path()}"
        return {**here, "PATH": path, "SLURM_CONF": str(self.slurm_conf), _MARK: str(self.state)}

    def call(self, *command: str) -> str:
        """Run a client, such as ``squeue``, and return what it prints.

        Raises
        ------
        ClusterError
            The client fails, or takes longer than 30 s.
        """
        try:
            done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=30, check=True)
        except subprocess.CalledProcessError as error:
            raise ClusterError(f"{' '.join(command)}: {error.stderr.strip()}") from None
        except subprocess.TimeoutExpired:
            raise ClusterError(f"{' '.join(command)}: no answer within 30 s") from None
        return done.stdout

    def up(self) -> None:
        """Bring the cluster up and return when its node is idle.

        Raises
        ------
        ClusterError
            It cannot come up here, is up already, or the node is not idle in time. Nothing is left running.
        """
        if reason := why_not():
            raise ClusterError(reason)
        if len(str(self.state)) > 80:
            raise ClusterError(f"{self.state}: too long a path for a socket; take a folder below /tmp")
        if self.processes():
            raise ClusterError(f"{self.state}: a cluster is up already")
        self._configure()
        try:
            self._start_munged()
            self._start("slurmctld", "slurmctld", "-D", "-f", str(self.slurm_conf))
            self.start_slurmd()
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """End every process of the cluster: daemons, jobs, and programs started with :attr:`environment`.

        Raises
        ------
        ClusterError
            A process outlives SIGKILL by 10 s.
        """

        def none_left() -> bool:
            left = self.processes()
            for pid in left:
                _kill(pid)
            return not left

        wait_until(none_left, 10, f"the end of all processes of {self.state}")

    def start_slurmd(self) -> None:
        """Start the node's daemon and return when the node answers.

        Raises
        ------
        ClusterError
            The node is not ready in time; the text ends with the last lines of the logs.
        """
        slurmd = self._start("slurmd", "slurmd", "-D", "-f", str(self.slurm_conf))

        def node_is_ready() -> bool:
            if slurmd.poll() is not None:
                raise ClusterError(f"slurmd ended with status {slurmd.returncode}")
            # The controller may still speak of the daemon that was here before: ask this one too.
            answers = f"= {slurmd.pid}\n" in self._answer("scontrol", "show", "slurmd")
            return answers and self.node_state() in {"idle", "mixed", "allocated"}

        self._wait_until(node_is_ready, "an idle node")

    @contextlib.contextmanager
    def outage(self, jobs_die: bool) -> Iterator[None]:
        """Kill the node's daemon, and start it again at the end of the ``with``.

        Parameters
        ----------
        jobs_die
            Kill the jobs and their step daemons too, as a power cut would. Otherwise they run on.
        """
        os.kill(int((self.state / "slurmd.pid").read_text()), signal.SIGKILL)
        if jobs_die:
            # Step daemons first: one that outlives its job reports how that ended.
            for pid in sorted(self.processes(in_jobs=True), key=lambda pid: not _is_step_daemon(pid)):
                _kill(pid)
        try:
            yield
        finally:
            self.start_slurmd()
            # The controller learns at a registration which jobs a node no longer has. Left alone it asks rarely.
            self.call("scontrol", "reconfigure")

    def node_state(self) -> str:
        """``idle``, ``mixed``, ``down*`` and so on; ``unknown`` while no controller answers."""
        return self._answer("sinfo", "--noheader", "--partition=cpu", "--format=%T").strip() or "unknown"

    def processes(self, in_jobs: bool = False) -> list[int]:
        """Ids of the processes that belong to this cluster, or to its jobs alone, told by their environment."""
        mark, conf = f"{_MARK}={self.state}".encode(), f"SLURM_CONF={self.slurm_conf}".encode()
        found = []
        for pid in (int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()):
            try:
                variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                is_job = any(name.startswith(b"SLURM_JOB_ID=") for name in variables) or _is_step_daemon(pid)
            except OSError:  # it has just ended
                continue
            if pid != os.getpid() and ((mark in variables and not in_jobs) or (conf in variables and is_job)):
                found.append(pid)
        return found

    def log_tails(self, lines: int = 15) -> str:
        """The last lines of each daemon's log."""
        parts = []
        for log in sorted(self.state.glob("log/*.log")):
            tail = log.read_text(errors="replace").splitlines()[-lines:]
            parts.append("\n".join([f"--- {log}", *tail]))
        return "\n".join(parts)

    def _answer(self, *command: str) -> str:
        try:
            return self.call(*command)
        except ClusterError:
            return ""

    def _wait_until(self, ready: Callable[[], bool], what: str) -> None:
        try:
            wait_until(ready, self.patience, what)
        except ClusterError as error:
            raise ClusterError(f"{error}\n{self.log_tails()}") from None

    def _configure(self) -> None:
        for name in ("bin", "log", "munge", "slurmctld", "slurmd"):
            shutil.rmtree(self.state / name, ignore_errors=True)  # no jobs of a former life
            (self.state / name).mkdir(parents=True)
        key = self.state / "munge" / "key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        slurmctld_port, slurmd_port = _free_ports(2)
        self.slurm_conf.write_text(
            _SLURM_CONF.format(
                state=self.state,
                host=socket.gethostname().split(".")[0],
                slurmctld_port=slurmctld_port,
                slurmd_port=slurmd_port,
                cpus=os.cpu_count(),
                # a little less than slurmd will measure, as a node with less than promised is drained
                memory_mb=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 - 64,
            )
        )
        # /dev/null stands in for a device: Slurm counts and hands out devices, it does not use them.
        (self.state / "gres.conf").write_text("Name=gpu File=/dev/null\n")
        # Within a job, Snakemake calls srun without any SLURM_ variable but the job's identity; without a file in
        # /etc/slurm, srun must be told again.
        srun = self.state / "bin" / "srun"
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={self.slurm_conf} exec /usr/bin/srun "$@"\n')
        srun.chmod(0o755)

    def _start_munged(self) -> None:
        folder = self.state / "munge"
        files = [f"--{what}={folder / what.removesuffix('-file')}" for what in ("key-file", "pid-file", "seed-file")]
        # --force: a folder above this one that others cannot enter is no error, as all here is done by root
        self._start(
            "munged",
            "munged",
            "--foreground",
            "--force",
            *files,
            f"--socket={folder / 'socket'}",
            f"--log-file={folder / 'log'}",
        )
        self._wait_until((folder / "socket").is_socket, "munged's socket")

    def _start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        with (self.state / "log" / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )


@contextlib.contextmanager
def running(state: Path) -> Iterator[Cluster]:
    """A cluster that goes down with its user, however the user ends.

    A process of its own holds the cluster and takes it down when the pipe from the user closes: at the end of the
    ``with``, and also when the user is killed.

    Raises
    ------
    ClusterError
        It does not come up.
    """
    holder = subprocess.Popen(
        [sys.executable, __file__, "hold", "--state", str(state)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that Ctrl-C in the terminal reaches the user alone
    )
    try:
        assert holder.stdout is not None
        if holder.stdout.readline() != "up\n":
            raise ClusterError(holder.stdout.read())
        yield Cluster(state)
    finally:
        said, _ = holder.communicate()  # closes the pipe
    if holder.returncode:
        raise ClusterError(said)


def _is_step_daemon(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().startswith("slurmstepd")
    except OSError:  # it has just ended
        return False


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended by itself
        os.kill(pid, signal.SIGKILL)


def _search_path() -> str:
    return f"{os.environ.get('PATH', os.defpath)}:{_SBIN}"


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def main() -> int:
    """Bring a cluster up or down, look at it, or hold it until standard input closes."""
    parser = argparse.ArgumentParser(description="A real Slurm of one node, for tests.")
    parser.add_argument("action", choices=["up", "down", "status", "hold"])
    parser.add_argument("--state", type=Path, required=True, metavar="DIR", help="the cluster's folder")
    arguments = parser.parse_args()
    cluster = Cluster(arguments.state)
    try:
        if arguments.action == "up":
            cluster.up()
            print(f"up; to use it: export SLURM_CONF={cluster.slurm_conf} PATH={cluster.state / 'bin'}:$PATH")
        elif arguments.action == "down":
            cluster.down()
        elif arguments.action == "status":
            if not cluster.processes():
                raise ClusterError(f"{cluster.state}: no cluster is up")
            print(cluster.call("sinfo") + cluster.call("squeue"), end="")
        else:
            cluster.up()
            try:
                print("up", flush=True)
                sys.stdin.read()
            finally:
                cluster.down()
    except ClusterError as error:
        print(f"\n{error}" if arguments.action == "hold" else error, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
