"""Promises of the scripts that run on clusters: clean by linters, restarted rightly.

Those that need a linter run where the dependency group `launch` is installed.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
LAUNCH = REPOSITORY / "launch"


def linter(name: str) -> str:
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip(f"{name} is not installed: uv run --group launch pytest tests/launch")
    return found


@pytest.mark.parametrize("script", ["slurm.sbatch", "tpu_vm.sh"])
def test_the_scripts_are_clean_by_shellcheck(script: str) -> None:
    subprocess.run([linter("shellcheck"), str(LAUNCH / script)], check=True)


def test_the_dockerfile_is_clean_by_hadolint() -> None:
    subprocess.run([linter("hadolint"), str(LAUNCH / "Dockerfile")], check=True)


def batch(tmp_path: Path, code: int, **given: int) -> tuple[int, list[str]]:
    """Runs slurm.sbatch as Slurm would, whose commands only pretend; returns its calls of them."""
    for name, end in (("srun", code), ("scontrol", 0)):
        command = tmp_path / name
        command.write_text(f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/log\nexit {end}\n')
        command.chmod(0o755)
    (tmp_path / "log").unlink(missing_ok=True)
    variables = {"SLURM_JOB_ID": 7, "SLURM_JOB_NUM_NODES": 1} | given
    done = subprocess.run(
        ["bash", str(LAUNCH / "slurm.sbatch"), "--config", "a file.py"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        | {name: str(value) for name, value in variables.items()},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode, (tmp_path / "log").read_text().splitlines()


@pytest.mark.parametrize(
    ("given", "tasks", "per_node"),
    [
        ({}, 1, 1),
        ({"SLURM_JOB_NUM_NODES": 3}, 3, 1),
        ({"SLURM_JOB_NUM_NODES": 3, "SLURM_GPUS_ON_NODE": 8}, 24, 8),
        ({"SLURM_JOB_NUM_NODES": 2, "SLURM_GPUS_ON_NODE": 8, "SLURM_NTASKS_PER_NODE": 4}, 8, 4),
        ({"SLURM_JOB_NUM_NODES": 2, "SLURM_GPUS_ON_NODE": 8, "SLURM_NTASKS": 32}, 16, 8),
    ],
    ids=["alone", "nodes", "their GPUs", "as told", "not as many as the first time"],
)
def test_a_slurm_job_has_a_task_for_each_gpu_of_the_nodes_that_it_was_given(
    tmp_path: Path, given: dict[str, int], tasks: int, per_node: int
) -> None:
    code, (call,) = batch(tmp_path, 0, **given)
    assert code == 0
    assert f" --ntasks={tasks} --ntasks-per-node={per_node} " in call


def test_a_slurm_job_is_queued_again_unless_it_has_ended_or_made_a_mistake(tmp_path: Path) -> None:
    for code, restarts, again in [
        *((code, 0, False) for code in (0, 1, 2)),  # 2: a batch that the devices cannot share, too.
        *((code, 9, True) for code in (75, 134, 137, 143)),
        *((code, 10, code == 143) for code in (75, 134, 137, 143)),
    ]:
        ended, (_, *calls) = batch(tmp_path, code, SLURM_RESTART_COUNT=restarts)
        assert (ended, calls) == (code, ["scontrol requeue 7"] if again else [])


FAKE_GCLOUD = """#!/bin/bash
echo "${@:4}" >> "$LOG"
case "$4 $*" in
  scp*)
    [ ! -e "$SLOW" ] || sleep 2
    wanted="compute tpus tpu-vm scp --zone=there --worker=all $7 pets:"
    [ "$*" = "$wanted" ] && [ -s "$7" ] ;;
  describe*) cat "$STATE" ;;
  create*) echo READY > "$STATE" ;;
  delete*) echo NONE > "$STATE" ;;
  ssh*"uv sync"*) [ ! -e "$BROKEN" ] || { [ -s "$BROKEN" ] || rm "$BROKEN"; exit 1; } ;;
  ssh*seq*"pkill -TERM"*) touch "$STOPPED" ;;
  ssh*run.pid*"exec .venv/bin/python -m catsdogs_jax.train"*)
    code=$(head -1 "$CODES"); sed -i 1d "$CODES"
    if [ "$code" = 143 ]; then
      echo training >> "$LOG"
      until [ -e "$STOPPED" ]; do sleep 0.1; done
      echo saved >> "$LOG"
    fi
    [ "$code" = 255 ] && echo PREEMPTED > "$STATE"
    exit "$code" ;;
esac
"""


def started(tmp_path: Path, codes: list[int]) -> tuple[subprocess.Popen, Path]:
    """Starts the script with a gcloud that says what it is told to; returns the log of calls."""
    gcloud = tmp_path / "bin" / "gcloud"
    gcloud.parent.mkdir()
    gcloud.write_text(FAKE_GCLOUD)
    gcloud.chmod(0o755)
    names = ("LOG", "STATE", "CODES", "BROKEN", "STOPPED", "SLOW")
    files = {name: tmp_path / name for name in names}
    files["STATE"].write_text("NONE\n")
    files["CODES"].write_text("".join(f"{code}\n" for code in codes))
    environment = {
        **os.environ,
        **{name: str(path) for name, path in files.items()},
        **{"TPU": "pets", "ZONE": "there", "BUCKET": "mine", "PAUSE": "0"},
        "PATH": f"{gcloud.parent}:{os.environ['PATH']}",
    }
    command = [str(LAUNCH / "tpu_vm.sh"), "--config", "a file.py"]
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        # A shell that runs the tests in the background has them ignore it, and so all they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    return process, files["LOG"]


def tpu_vm(tmp_path: Path, codes: list[int]) -> tuple[int, list[str]]:
    """Runs the script to its end; returns its exit code and its calls."""
    process, log = started(tmp_path, codes)
    return process.wait(60), calls_of(log)


def calls_of(log: Path) -> list[str]:
    return [line.split()[0] for line in log.read_text().splitlines() if line[:1].isalpha()]


def test_a_tpu_that_is_pre_empted_is_made_anew_and_the_run_goes_on(tmp_path: Path) -> None:
    code, calls = tpu_vm(tmp_path, [255, 0])
    assert code == 0
    assert calls.count("create") == 2
    assert calls[-1] == "delete"


def test_a_mistake_ends_it_and_the_tpu_is_deleted(tmp_path: Path) -> None:
    code, calls = tpu_vm(tmp_path, [2])
    assert code == 2
    assert calls.count("create") == 1
    assert calls[-1] == "delete"


def test_a_run_that_fails_on_a_tpu_that_is_there_is_not_tried_for_ever(tmp_path: Path) -> None:
    code, calls = tpu_vm(tmp_path, [1] * 20)
    assert code == 1
    assert calls.count("create") == 1
    assert calls[-1] == "delete"


def test_hosts_that_cannot_be_set_up_are_tried_again(tmp_path: Path) -> None:
    (tmp_path / "BROKEN").touch()
    code, calls = tpu_vm(tmp_path, [0])
    assert code == 0
    assert calls.count("scp") == 2
    assert calls.count("create") == 1


def test_hosts_whose_set_up_keeps_failing_are_given_up_soon(tmp_path: Path) -> None:
    (tmp_path / "BROKEN").write_text("for good")
    code, calls = tpu_vm(tmp_path, [0])
    assert code == 1
    assert calls.count("scp") == 3
    assert calls[-1] == "delete"


def test_the_hosts_of_a_tpu_get_a_python_that_the_package_takes(tmp_path: Path) -> None:
    process, log = started(tmp_path, [0])
    assert process.wait(60) == 0
    assert re.search(
        r"UV_PYTHON_DOWNLOADS=automatic \S+/uv sync .*--python 3\.1[123] ", log.read_text()
    )


def test_the_examples_for_gpus_install_them_and_refuse_to_run_without() -> None:
    head = (LAUNCH / "slurm.sbatch").read_text().partition("set -u")[0]
    example = head.partition("sbatch --nodes")[2].partition("\n#\n")[0]
    assert "--gpus-per-node" in example
    assert "--require=gpu" in example
    assert "uv sync --extra cuda" in head
    assert "docker run --gpus all " in (LAUNCH / "Dockerfile").read_text().partition("FROM")[0]


def pressed(process: subprocess.Popen, log: Path, at: str) -> int:
    """Presses Ctrl-C when a call is in the log, as a terminal does: for all but other sessions."""
    until = time.monotonic() + 60
    while time.monotonic() < until and not (log.exists() and at in log.read_text()):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    return process.wait(60)


def test_ctrl_c_lets_the_run_save_before_the_tpu_is_deleted(tmp_path: Path) -> None:
    process, log = started(tmp_path, [143])
    assert pressed(process, log, "training") == 143
    calls = calls_of(log)
    assert calls[calls.index("saved") :].count("delete") == 1
    assert calls.index("saved") > calls.index("training")
    assert calls.count("create") == 1


def test_ctrl_c_before_the_run_ends_it_at_once_and_deletes_the_tpu(tmp_path: Path) -> None:
    (tmp_path / "SLOW").touch()
    process, log = started(tmp_path, [143])
    assert pressed(process, log, "scp") == 130
    calls = calls_of(log)
    assert "training" not in calls
    assert calls[-1] == "delete"
