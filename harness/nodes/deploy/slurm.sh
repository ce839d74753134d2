#!/usr/bin/env bash
# A study on several nodes of a Slurm cluster. Lines marked EDIT are the ones to change.
#
#   sbatch slurm.sh STUDY.yaml [options of python -m harness.run]
#
# The first node runs Ray's head and the study's driver, every node trains runs. Two minutes before
# the time limit Slurm signals this script alone; the driver ends its runs in order, the job is
# queued again, and the same command resumes the study.
#
#SBATCH --job-name=posebins
#SBATCH --nodes=2                   # EDIT: nodes
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16          # EDIT: cores of each node
#SBATCH --gpus-per-node=4           # EDIT: GPUs of each node
#SBATCH --time=24:00:00             # EDIT: time limit
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=posebins-%j.log

set -euo pipefail

STORAGE=${POSEBINS_STORAGE:-$PWD/runs} # EDIT: a folder that all nodes share
INTERFACE=${POSEBINS_INTERFACE:-}      # EDIT: network between the nodes, such as ib0; empty: the first
# source /shared/venv/bin/activate     # EDIT: the same environment on all nodes

if [[ $# -lt 1 ]]; then
    echo "usage: sbatch slurm.sh STUDY.yaml [options of python -m harness.run]" >&2
    exit 2
fi

# Other users share these networks: Ray accepts only this token, from the home folder.
export RAY_AUTH_MODE=token
ray get-auth-token --generate >/dev/null
export RAY_USAGE_STATS_ENABLED=0

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
port=$((20000 + SLURM_JOB_ID % 20000)) # two jobs on one node must not share it
temporary=/tmp/ray-$SLURM_JOB_ID       # short: paths of sockets have at most 107 bytes

# Shell text, for each node to find its own address.
own_address='hostname -I | cut -d" " -f1'
if [[ -n $INTERFACE ]]; then
    own_address="ip -4 -o addr show dev $INTERFACE | awk '{split(\$4, a, \"/\"); print a[1]; exit}'"
fi

on_node() { # NODE COMMAND: become a step of the job that runs shell text; call it with &
    exec srun --nodes=1 --ntasks=1 --nodelist="$1" bash -c "$2"
}

head_address=$(bash -c "$own_address") # Slurm runs this script on the first node
if [[ -z $head_address ]]; then
    echo "error: interface '$INTERFACE' of $(hostname) has no IPv4 address" >&2
    exit 2
fi
address=$head_address:$port

steps=()
driver=
# shellcheck disable=SC2329 # called by the trap
cleanup() {
    # Ends Ray on every node, however this script ends.
    for step in "${steps[@]}"; do kill -TERM "$step" 2>/dev/null || true; done
    wait || true
}
trap cleanup EXIT

asked_to_end=
# shellcheck disable=SC2329 # called by the trap
forward() {
    asked_to_end=yes
    if [[ -n $driver ]]; then kill -TERM "$driver" 2>/dev/null || true; else exit 130; fi
}
trap forward TERM

flags="--num-cpus=$SLURM_CPUS_PER_TASK --num-gpus=${SLURM_GPUS_ON_NODE:-0} --block"
flags+=" --disable-usage-stats --node-ip-address=\$($own_address)"
on_node "${nodes[0]}" "exec ray start --head --port=$port --include-dashboard=false \
    --temp-dir=$temporary $flags" &
steps+=($!)
for node in "${nodes[@]:1}"; do
    on_node "$node" "for i in {1..60}; do \
        (exec 3<>/dev/tcp/$head_address/$port) 2>/dev/null && break; sleep 1; done; \
        exec ray start --address=$address $flags" &
    steps+=($!)
done

# The driver counts the nodes once, at its start.
python - "$address" "${#nodes[@]}" <<'PYTHON' &
import socket
import sys
import time

import ray

address, expected = sys.argv[1], int(sys.argv[2])
host, port = address.rsplit(":", 1)
deadline = time.monotonic() + 300
found = 0
while time.monotonic() < deadline:
    try:
        if not ray.is_initialized():
            socket.create_connection((host, int(port)), 5).close()
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        found = sum(node["Alive"] for node in ray.nodes())
        if found >= expected:
            sys.exit(0)
    except (OSError, RuntimeError):
        pass  # the head is still starting
    time.sleep(1)
sys.exit(f"error: {found} of {expected} nodes joined the Ray cluster at {address} in 300 s")
PYTHON
waiting=$!
wait "$waiting"

python -m harness.run "$@" --storage "$STORAGE" --address "$address" &
driver=$!
code=0
wait "$driver" || code=$?
# A caught signal ends `wait` early; the driver is still ending its runs.
while kill -0 "$driver" 2>/dev/null; do
    code=0
    wait "$driver" || code=$?
done

# Queued again only if the time limit ended it, not a user.
remaining=$((${SLURM_JOB_END_TIME:-0} - $(date +%s)))
if [[ -n $asked_to_end && $code -eq 130 && $remaining -lt 300 ]]; then
    echo "the time limit is near: queued again to go on"
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
