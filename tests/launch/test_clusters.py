"""Promises of the ways to run on clusters: valid by schemas, clean by linters, restarted rightly.

Those that need a linter or a schema run where the dependency group `launch` is installed.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
LAUNCH = REPOSITORY / "launch"
JOB_SETS = sorted((LAUNCH / "kubernetes").glob("*.yaml"))


def linter(name: str) -> str:
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip(f"{name} is not installed: uv run --group launch pytest tests/launch")
    return found


def parsed(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize("path", JOB_SETS, ids=lambda path: path.stem)
def test_each_job_of_a_job_set_is_valid_by_the_published_schema(path: Path) -> None:
    validate = pytest.importorskip("kubernetes_validate").validate
    for replicated in parsed(path)["spec"]["replicatedJobs"]:
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x"}}
        job["spec"] = replicated["template"]["spec"]
        validate(job, "1.31", strict=True)
        job["spec"]["completionsMode"] = "Indexed"  # A slip of the pen is found.
        with pytest.raises(Exception, match="completionsMode"):
            validate(job, "1.31", strict=True)


@pytest.mark.parametrize("path", JOB_SETS, ids=lambda path: path.stem)
def test_a_mistake_fails_a_job_set_and_anything_else_restarts_it(path: Path) -> None:
    spec = parsed(path)["spec"]
    assert spec["failurePolicy"]["maxRestarts"] > 0
    (rule,) = spec["failurePolicy"]["rules"]
    assert rule["action"] == "FailJobSet"
    job = spec["replicatedJobs"][0]["template"]["spec"]
    (exit_rule,) = job["podFailurePolicy"]["rules"]
    assert exit_rule["onExitCodes"]["values"] == [2]
    container = job["template"]["spec"]["containers"][0]
    assert container["name"] == exit_rule["onExitCodes"]["containerName"]
    variables = {v["name"]: v.get("value") for v in container.get("env", ())}
    assert variables.get("CATSDOGS_PROCESSES", str(job["completions"])) == str(job["completions"])
    assert job["parallelism"] == job["completions"]


@pytest.mark.parametrize("script", ["slurm.sbatch", "tpu_vm.sh"])
def test_the_scripts_are_clean_by_shellcheck(script: str) -> None:
    subprocess.run([linter("shellcheck"), str(LAUNCH / script)], check=True)


def test_the_dockerfile_is_clean_by_hadolint() -> None:
    subprocess.run([linter("hadolint"), str(LAUNCH / "Dockerfile")], check=True)


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
  ssh*"uv sync"*) [ ! -e "$BROKEN" ] || { rm "$BROKEN"; exit 1; } ;;
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
