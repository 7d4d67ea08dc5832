"""Promises of launch/slurm.sbatch, kept by a real Slurm of two nodes that this test starts.

Runs where CATSDOGS_SLURM=1 says that Slurm is installed (Debian's slurm-wlm), as it takes minutes.
Both nodes are this machine, under two names by which it finds itself, and their GPUs are files.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    os.environ.get("CATSDOGS_SLURM") != "1", reason="CATSDOGS_SLURM=1 runs it; needs Slurm"
)

SETTINGS = """
ClusterName=test
SlurmctldHost={host}
SlurmctldPort={first}
SlurmUser=root
AuthType=auth/none
CredType=cred/none
AuthInfo=cred_expire=2
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
MpiDefault=none
ReturnToService=2
GresTypes=gpu
NodeName=DEFAULT CPUs=2 Gres=gpu:2 State=UNKNOWN
NodeName={host} NodeHostname={host} Port={second}
NodeName={lost} NodeHostname={host} Port={third}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""

LOST = "localhost"


def wait_until(done: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, said("scontrol", "show", "job")
        time.sleep(0.2)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a Slurm with two nodes, each of two CPUs and two GPUs."""
    host = socket.gethostname().partition(".")[0]
    folder = tmp_path / "slurm"
    for name in ("state", f"spool-{host}", f"spool-{LOST}"):
        (folder / name).mkdir(parents=True)
    with contextlib.ExitStack() as ports:
        found = [ports.enter_context(socket.socket()) for _ in range(3)]
        for one in found:
            one.bind(("", 0))
        first, second, third = (one.getsockname()[1] for one in found)
    settings = SETTINGS.format(
        host=host, lost=LOST, folder=folder, first=first, second=second, third=third
    )
    (folder / "slurm.conf").write_text(settings)
    for number in range(2):
        (folder / f"gpu{number}").touch()
    (folder / "gres.conf").write_text(f"Name=gpu File={folder}/gpu[0-1]\n")
    monkeypatch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
    with contextlib.ExitStack() as stack:
        for daemon in (["slurmctld"], ["slurmd", "-N", host], ["slurmd", "-N", LOST]):
            process = stack.enter_context(subprocess.Popen([*daemon, "-D"]))
            stack.callback(ended, process)
        wait_until(lambda: "2 idle" in said("sinfo", "--noheader", "--format=%D %T"))
        yield folder


def ended(daemon: subprocess.Popen[bytes]) -> None:
    """Ends a daemon, by force if it does not end by itself."""
    daemon.terminate()
    try:
        daemon.wait(timeout=30)
    except subprocess.TimeoutExpired:
        daemon.kill()


def said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def test_a_job_saves_at_sigterm_queues_itself_again_and_goes_on_on_the_node_that_is_left(
    slurm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHON", sys.executable)
    monkeypatch.setenv("XLA_FLAGS", "")  # One device in each process.
    run, log = tmp_path / "run", tmp_path / "job.log"
    sizes = {"data.image_size": 32, "data.drawn_train": 64, "data.drawn_validation": 16}
    length = {"train.epochs": 60, "eval.every_epochs": 5, "data.batch_size": 16}
    settings = [f"--config.{key}={value}" for key, value in (sizes | length).items()]
    train = ["--config", "configs/quickstart.py", *settings, "--workdir", str(run)]
    nodes = ["--nodes=1-2", "--gpus-per-node=2", "--cpus-per-gpu=1"]
    submit = ["sbatch", "--parsable", *nodes, f"--output={log}"]
    job = subprocess.run(
        [*submit, "launch/slurm.sbatch", *train],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    metrics = run / "metrics.jsonl"
    wait_until(lambda: metrics.exists() and len(metrics.read_text().splitlines()) >= 2)
    said("scontrol", "update", f"NodeName={LOST}", "State=drain", "Reason=lost")
    said("scancel", "--signal=TERM", job)
    wait_until(lambda: "queued again, restart 1" in log.read_text())
    # Slurm holds back for two minutes what is queued again, unless it is told not to.
    wait_until(lambda: "BeginTime" in said("squeue", "--noheader", "--format=%r"))
    time.sleep(5)  # The end of the first script is not to be taken for that of the second.
    said("scontrol", "update", f"JobId={job}", "StartTime=now")
    wait_until(lambda: (run / "result.json").exists())
    wait_until(lambda: job not in said("squeue", "--noheader", "--format=%i"))
    text = log.read_text()
    assert text.count("stopped by signal 15: saved after step") == 4, text
    assert [text.count(f"device    {count} x cpu") for count in (4, 2)] == [1, 1]
    assert "going on  from the checkpoint of step" in text
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
    assert steps == sorted(steps)
    assert steps[-1] == 240
