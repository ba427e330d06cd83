"""An ``am`` that takes a moment: forked, for each call, from a process that has imported everything.

Most of a short job is imports. Here a script ``am`` in a folder of PATH asks a server, which forks; what then runs is
the command itself, in a process of its own that can be killed as any other. Whoever kills the script kills it too.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psutil

    from ..project import ProjectCopy

SIGNALS = (signal.SIGINT, signal.SIGTERM)
KILLED = signal.SIGKILL


class Forks:
    """The server and its script, in a folder whose path is short enough for a socket."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self._address = folder / "bin", folder / "socket"
        self.folder.mkdir()
        script = self.folder / "am"
        script.write_text(
            f"#!{sys.executable} -IS\n"
            f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\n"
            f"from forked import ask\nask({str(self._address)!r})\n"
        )
        script.chmod(0o755)
        self._server = subprocess.Popen([sys.executable, __file__, self._address], env=environment)

    def __enter__(self) -> Forks:
        while not self._address.exists():
            assert self._server.poll() is None
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.kill()
        self._server.wait()

    def serve(self, project: ProjectCopy) -> None:
        """From now on, this is the project's ``am``."""
        project.environment["PATH"] = f"{self.folder}:{project.environment['PATH']}"

    def of(self, project: ProjectCopy) -> list[psutil.Process]:
        """Processes that work for a project now."""
        import psutil

        found = []
        for job in psutil.Process(self._server.pid).children(recursive=True):
            with suppress(psutil.Error):  # it has just ended
                if job.cwd() == str(project.folder):
                    found.append(job)
        return found


def ask(address: str) -> None:
    """What the script does: hand over all that a call depends on, pass signals on, and end as the command ends."""
    call = {
        "arguments": sys.argv,
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "largest": resource.getrlimit(resource.RLIMIT_FSIZE),
    }
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        for number in SIGNALS:
            signal.signal(number, lambda number, _: server.sendall(bytes([number])))
        content = json.dumps(call).encode()
        socket.send_fds(server, [len(content).to_bytes(8, "big")], [0, 1, 2])
        server.sendall(content)
        (status,) = server.recv(1)
    if status == 128 + KILLED:
        os.kill(os.getpid(), KILLED)
    sys.exit(status)


def serve(address: str) -> None:
    """Fork for each call, until this is killed itself."""
    import pkgutil

    import anndata  # noqa: F401
    import matplotlib.pyplot  # noqa: F401
    import scanpy  # noqa: F401
    import torch  # noqa: F401

    import am

    for module in pkgutil.walk_packages(am.__path__, "am."):
        __import__(module.name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        while True:
            connection, _ = listener.accept()
            with connection:
                if os.fork() == 0:
                    listener.close()
                    _watch(connection)


def _watch(connection: socket.socket) -> None:
    """Run a call in one more process: kill it when its script is killed, tell the script when it ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    length, streams, _, _ = socket.recv_fds(connection, 8, 3)
    content = b""
    while len(content) < int.from_bytes(length, "big"):
        content += connection.recv(1 << 16)
    worker = os.fork()
    if worker == 0:
        connection.close()
        _work(json.loads(content), streams)
    for stream in streams:
        os.close(stream)
    end = os.pidfd_open(worker)
    while end not in select.select([connection, end], [], [])[0]:
        asked = connection.recv(1)
        os.kill(worker, asked[0] if asked else KILLED)
        if not asked:
            os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
    connection.sendall(bytes([status if status >= 0 else 128 - status]))
    os._exit(0)


def _work(call: dict[str, Any], streams: list[int]) -> None:
    """What the console script does, with what was handed over."""
    from am.cli import main

    for standard, stream in enumerate(streams):
        os.dup2(stream, standard)
        os.close(stream)
    os.environ.clear()
    os.environ.update(call["environment"])
    os.chdir(call["folder"])
    resource.setrlimit(resource.RLIMIT_FSIZE, call["largest"])
    sys.argv = call["arguments"]
    status = 1
    try:
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve(sys.argv[1])
