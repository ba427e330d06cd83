#!/bin/sh
# Install what the Slurm tests need: Debian's own Slurm and munge. Run as root.
# No daemon is started and no configuration is written: tests/slurm/cluster.py does both, in a folder of its own.
set -eu

if [ "$(id -u)" -ne 0 ]; then
    echo "install.sh: run as root" >&2
    exit 1
fi
if ! command -v apt-get >/dev/null; then
    echo "install.sh: only Debian and its kin are supported (no apt-get here)" >&2
    exit 1
fi

apt-get update
DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends slurmctld slurmd slurm-client munge
