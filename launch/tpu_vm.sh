#!/bin/bash
# Trains on a Cloud TPU, of one host or a pod, and goes on after each pre-emption until the run has ended:
#
#   TPU=pets ZONE=us-west4-a TYPE=v5litepod-16 BUCKET=my-bucket \
#     launch/tpu_vm.sh --config configs/finetune.py --config.data.dir=bucket/pets --workdir bucket/runs/pets
#
# Run it from a clone of the repository, with gcloud set up. It makes a spot TPU (SPOT= for one at full
# price), copies the repository to every host, mounts the bucket there as ~/catsdogs_jax/bucket, runs the
# same command on all, and deletes the TPU when that has ended, however it has ended. To stop it, press
# Ctrl-C once: the run saves, and the TPU is deleted. It costs money until then.
set -euo pipefail
cd "$(dirname "$0")/.."

TPU=${TPU:?name of the TPU to make}
ZONE=${ZONE:?zone, for example us-west4-a}
BUCKET=${BUCKET:?bucket for pictures and run folders, without gs://}
TYPE=${TYPE:-v5litepod-8}
VERSION=${VERSION:-v2-alpha-tpuv5-lite} # of the system; each kind of TPU has its own
SPOT=${SPOT---spot}
PAUSE=${PAUSE:-60} # seconds between tries
restarts=0 unready=0

tpu() { gcloud compute tpus tpu-vm "$1" "$TPU" --zone="$ZONE" "${@:2}"; }
everywhere() { tpu ssh --worker=all --command="$1"; }
state() { tpu describe --format='value(state)' 2>/dev/null || echo NONE; }

# Makes the TPU if it is not there, and sets it up; fails if a step of that fails.
make() {
  if [ "$(state)" != READY ]; then
    tpu delete --quiet 2>/dev/null || true
    # shellcheck disable=SC2086  # An empty SPOT is to vanish.
    until tpu create --accelerator-type="$TYPE" --version="$VERSION" $SPOT; do
      echo "no TPU to be had; trying again in $PAUSE s"
      sleep "$PAUSE"
    done
  fi
  git archive --format=tar.gz --output=/tmp/catsdogs_jax.tar.gz HEAD &&
    gcloud compute tpus tpu-vm scp --zone="$ZONE" --worker=all /tmp/catsdogs_jax.tar.gz "$TPU:" &&
    everywhere "
      set -e
      mkdir -p catsdogs_jax/bucket
      tar -xzf catsdogs_jax.tar.gz -C catsdogs_jax
      cd catsdogs_jax
      mountpoint -q bucket || gcsfuse --implicit-dirs $BUCKET bucket
      pip install --quiet uv
      # The system of a TPU VM may have Python 3.10, which is too old.
      UV_PYTHON_DOWNLOADS=automatic ~/.local/bin/uv sync --locked --quiet --python 3.12 \
        --extra tpu --extra pretrained --extra gcs --extra records"
}

# Runs a command on every host, in a session of its own: Ctrl-C is to reach this script alone, that the run
# can save before its connection goes.
apart() { setsid gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all --command="$1"; }

run() {
  local code
  # What a lost connection has left running would hold the chips.
  apart "
    cd catsdogs_jax
    pkill -TERM -F run.pid -f catsdogs_jax.train && sleep 30
    pkill -KILL -F run.pid -f catsdogs_jax.train
    echo \$\$ > run.pid
    exec .venv/bin/python -m catsdogs_jax.train --require=tpu$words" &
  running=$!
  while true; do
    code=0
    wait "$running" || code=$?
    kill -0 "$running" 2>/dev/null || break # It is there: a signal has ended the wait.
  done
  running=
  return "$code"
}

# shellcheck disable=SC2329  # Traps call these two.
delete() {
  trap '' INT TERM HUP
  tpu delete --quiet || echo "could not delete $TPU in $ZONE: delete it, it costs money"
}
# shellcheck disable=SC2329
stop() {
  if [ -z "$running" ] || [ -n "$stopping" ]; then exit 130; fi # Nothing to save yet, or pressed twice.
  stopping=yes
  echo "stopping: the run saves first; press Ctrl-C again to end at once"
  # It may not have begun yet.
  # shellcheck disable=SC2016  # The hosts are to read it.
  apart '
    for second in $(seq 60); do
      pkill -TERM -F catsdogs_jax/run.pid -f catsdogs_jax.train && exit 0
      sleep 1
    done
    exit 1' || echo "the run was not reached: press Ctrl-C again to end without a save" &
}
running='' stopping=''
trap delete EXIT
trap stop INT TERM HUP

words=$(printf ' %q' "$@")
while true; do
  code=0
  if make; then
    unready=0
    run || code=$?
    case "$code" in
      0 | 2 | 130 | 143) exit "$code" ;; # done, a mistake told in one line, or stopped by you
    esac
  else
    code=1
    [ "$(state)" = READY ] && unready=$((unready + 1))
    if [ "$unready" -ge 3 ]; then
      echo "the hosts of $TPU are there, but could not be set up, three times in a row: see what they said above"
      exit "$code"
    fi
    sleep "$PAUSE"
  fi
  [ -z "$stopping" ] || exit "$code"
  [ "$(state)" = READY ] && restarts=$((restarts + 1))
  if [ "$restarts" -ge 10 ]; then
    echo "failed ten times on a TPU that is there (exit code $code): see what it said above"
    exit "$code"
  fi
  echo "exit code $code, TPU $(state): going on from the last checkpoint"
done
