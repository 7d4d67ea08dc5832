"""Promises of runs of several processes: the same losses, one writer, one agreed stop."""

import argparse
import contextlib
import dataclasses
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from jax._src import hardware_utils
from jax._src.clusters import cloud_tpu_cluster

from catsdogs_jax import coordinator, hosts, peers
from catsdogs_jax.config import Config
from catsdogs_jax.config.reader import config_to_dict
from catsdogs_jax.data.dataset import load_dataset
from catsdogs_jax.data.pictures import Picture, Pictures
from catsdogs_jax.data.pipeline import PictureSet
from catsdogs_jax.errors import Interrupted, UserError
from catsdogs_jax.preprocessing import Preprocessing
from catsdogs_jax.task import Task
from catsdogs_jax.train import train_and_evaluate
from catsdogs_jax.training.agreement import check_same_config, check_same_pictures, spell
from catsdogs_jax.training.sharding import make_sharding
from launch.local import free_port
from tests.processes import (
    StopAfter,
    assert_same_rows,
    launched,
    rows_of,
    stopped,
    until_rows,
)

STEPS = 20_000


def config_of(tiny: Callable[..., Config], **mesh: int) -> Config:
    train = {"steps": STEPS, "learning_rate": 1e-4}
    return tiny(train=train, eval={"every_steps": 10}, data={"cache_mb": 0}, mesh=mesh)


@pytest.mark.long
def test_eight_processes_train_as_one_stop_together_and_one_goes_on(
    tiny: Callable[..., Config], tmp_path: Path
) -> None:
    run = launched(tmp_path, config_of(tiny, devices=8), processes=8)
    until_rows(run, tmp_path / "run", 4)
    said = stopped(run)
    assert said.count("device    8 x") == 1  # One speaks.
    assert said.count("stopped by signal 15: saved after step") == 8

    with pytest.raises(Interrupted):
        train_and_evaluate(config_of(tiny, devices=1), tmp_path / "alone", StopAfter(21))
    alone = rows_of(tmp_path / "alone", 20)
    assert all(len(row["digest"]) == 16 for row in alone if row["split"] == "train")
    assert_same_rows(rows_of(tmp_path / "run", 20), alone)

    steps = sorted(int(path.name) for path in (tmp_path / "run/checkpoints").glob("[0-9]*"))
    config = config_of(tiny, devices=8, fsdp=2)
    with pytest.raises(Interrupted, match=f"after step {steps[-1] + 1}"):
        train_and_evaluate(config, tmp_path / "run", StopAfter(steps[-1] + 1))


@pytest.mark.long
def test_when_one_of_four_freezes_the_others_end_and_two_go_on_and_then_four_again(
    tiny: Callable[..., Config], tmp_path: Path
) -> None:
    run = launched(tmp_path, config_of(tiny, devices=4), processes=4)
    until_rows(run, tmp_path / "run", 4)
    frozen = process_of(run, number=2)
    os.kill(frozen, signal.SIGSTOP)
    since = time.monotonic()
    while len(children(run)) > 1 and time.monotonic() - since < 60:
        time.sleep(0.1)
    assert children(run) == [frozen]
    os.kill(frozen, signal.SIGKILL)
    assert run.stdout is not None
    said = run.stdout.read().decode()
    assert run.wait() == peers.EXIT_CODE, said
    named = re.findall(r"error: process (\d) .*pid (\d+)\) has not been heard of for 30 s", said)
    assert named == [("2", str(frozen))] * 3

    for processes in (2, 4):
        count = len(rows_of(tmp_path / "run")) + 4
        run = launched(tmp_path, config_of(tiny, devices=processes), processes)
        until_rows(run, tmp_path / "run", count)
        stopped(run)
    rows = rows_of(tmp_path / "run")[:count]
    stop = StopAfter(rows[-1]["step"] + 1)
    with pytest.raises(Interrupted):
        train_and_evaluate(config_of(tiny, devices=1), tmp_path / "alone", stop)
    assert_same_rows(rows, rows_of(tmp_path / "alone"))


@pytest.mark.heavy
def test_a_number_of_processes_that_cannot_share_the_batch_ends_all_with_sizes_that_they_can(
    tiny: Callable[..., Config], tmp_path: Path
) -> None:
    run = launched(tmp_path, tiny(data={"batch_size": 8}, mesh={"devices": 3}), 3)
    said, _ = run.communicate()
    assert run.returncode == 2, said
    assert b"data.batch_size is 8, which 3 devices cannot share evenly: use 6 or 9" in said
    assert b"or start another number of processes" in said


_WAITER = """
import sys, types
from catsdogs_jax import hosts, peers
peers.Peers.__init__.__defaults__ = (4.0,)
place, coordinator, rounds = sys.argv[1:]
flags = types.SimpleNamespace(coordinator=coordinator, processes="2", process_id=place)
with hosts.joined(flags):
    for round in range(int(rounds)):
        hosts.wait_for_all(f"round {round}")
        print("round", round, flush=True)
"""


def waiters(address: str, rounds: int) -> list[subprocess.Popen[str]]:
    """Starts two processes that wait for each other again and again; two minutes are enough."""
    started = [
        subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-c", _WAITER, str(place), address, str(rounds)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "XLA_FLAGS": ""},  # One device in each.
        )
        for place in range(2)
    ]
    for process in started:  # Where one hangs, it ends by saying where.
        late = threading.Timer(120, process.send_signal, [signal.SIGABRT])
        late.daemon = True
        late.start()
    return started


def test_when_the_first_is_killed_the_other_names_it_and_the_address_is_free_again() -> None:
    address = f"127.0.0.1:{free_port()}"
    first, other = waiters(address, 10**9)
    assert other.stdout is not None
    while (said := other.stdout.readline()) != "round 0\n":
        assert said, (first.poll(), first.communicate(), other.communicate())
    first.kill()
    _, said = other.communicate(timeout=60)
    assert other.returncode == peers.EXIT_CODE
    (line,) = (row for row in said.splitlines() if "Gloo" not in row)
    assert line.startswith(f"error: process 0 (on {socket.gethostname()}, pid {first.pid}) has not")
    first.communicate()

    for process in waiters(address, 2):  # No service of the earlier run answers in its place.
        said, wrong = process.communicate(timeout=60)
        assert process.returncode == 0, wrong
        assert "round 1" in said


def test_a_process_that_finds_no_first_one_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator, "_LONGEST_WAIT_SECONDS", 0.3)
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(UserError, match=f"{address} has not answered in 0 s .Connection refused"):
        coordinator.wait_for(address)
    with pytest.raises(UserError, match=r"nowhere\.invalid:1 has not answered"):
        coordinator.wait_for("nowhere.invalid:1")


def test_an_address_that_others_listen_at_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator, "_LONGEST_LINGER_SECONDS", 0.3)
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"port {port} of this machine: .*in use"):
            coordinator.start(f"localhost:{port}", 2)


def children(run: subprocess.Popen[bytes]) -> list[int]:
    """Returns the processes that the launcher has started and that have not ended."""
    listed = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    return [int(pid) for pid in listed if state_of(int(pid)) != "Z"]


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def process_of(run: subprocess.Popen[bytes], number: int) -> int:
    wanted = f"CATSDOGS_PROCESS_ID={number}".encode()
    (found,) = (
        pid
        for pid in children(run)
        if wanted in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    )
    return found


def test_an_error_of_one_process_ends_all_with_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "told_by_all", lambda word: ["", "the disk is full"])
    with pytest.raises(UserError, match="process 1: the disk is full"), hosts.together():
        pass
    with pytest.raises(UserError, match="mine"), hosts.together():
        raise UserError("mine")


def test_processes_with_other_configs_or_pictures_are_told_apart(
    tiny: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny()
    manifest = load_dataset(config).manifest
    fewer = dataclasses.replace(manifest, pictures=manifest.pictures[1:])
    other = dataclasses.replace(config, seed=7)
    monkeypatch.setattr(hosts, "count", lambda: 2)

    def exchange(theirs: str) -> None:
        monkeypatch.setattr(hosts, "told_by_all", lambda word: [word, theirs])

    exchange(json.dumps(config_to_dict(config)))
    check_same_config(config)
    exchange(json.dumps(config_to_dict(other)))
    with pytest.raises(UserError, match=r"process 1 was given another config.*seed: 0 -> 7"):
        check_same_config(config)
    exchange(spell(manifest))
    check_same_pictures(manifest)
    exchange(spell(fewer))
    with pytest.raises(UserError, match=r"process 0 train 24.*process 1 train 23"):
        check_same_pictures(manifest)


def test_a_process_reads_its_places_of_each_batch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    class Counted(PictureSet):
        def read(self, index: int) -> np.ndarray:
            read.append(int(index))
            return np.zeros((4, 4, 3), np.uint8)

    listed = (Picture(f"{k}", (0,), "train", 4, 4, 1, False, "0" * 64, "0" * 16) for k in range(12))
    to = Preprocessing(4, "stretch", Task("binary", ("cat", "dog")))
    pictures = Counted(Pictures.of(listed), Path(), to)
    whole = [batch["index"] for batch in pictures.training_batches(0, 3, 8, seed=0)]
    read.clear()
    places = np.array([2, 3])
    mine = [batch["index"] for batch in pictures.training_batches(0, 3, 8, 0, places=places)]
    np.testing.assert_array_equal(mine, np.stack(whole)[:, places])
    assert sorted(read) == sorted(np.concatenate(mine).tolist())
    parts = [list(pictures.evaluation_batches(8, np.arange(8)[k::2])) for k in (0, 1)]
    seen = np.concatenate([b["index"][b["mask"]] for part in parts for b in part])
    assert sorted(seen) == list(range(12))


def test_one_process_takes_every_place() -> None:
    assert make_sharding(8).places(16) == slice(None)


def flags_of(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    hosts.add_flags(parser)
    return parser.parse_args(words)


def enter(words: Sequence[str]) -> None:
    with hosts.joined(flags_of(words)):
        pass


def test_incomplete_flags_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"need all of --coordinator.*'processes': '2'"):
        enter(["--processes", "2"])
    monkeypatch.setenv("CATSDOGS_COORDINATOR", "127.0.0.1:1")
    with pytest.raises(UserError, match="--process-id is 2: give 0 to 1"):
        enter(["--processes", "2", "--process-id", "2"])
    monkeypatch.setenv("CATSDOGS_COORDINATOR", "somewhere")
    with pytest.raises(UserError, match=r"HOST:PORT .*'coordinator': 'somewhere'"):
        enter(["--processes", "2", "--process-id", "0"])
    monkeypatch.setenv("CATSDOGS_COORDINATOR", "somewhere:65536")
    with pytest.raises(UserError, match="port 65536: give 1 to 65535"):
        enter(["--processes", "2", "--process-id", "0"])


@contextlib.contextmanager
def metadata(attributes: dict[str, str]) -> Iterator[str]:
    """A server that answers like Google's for a host of a Cloud TPU; yields its address."""

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = attributes.get(self.path.rpartition("/")[2])
            self.send_response(404 if found is None else 200)
            self.end_headers()
            self.wfile.write((found or "").encode())

        def log_message(self, *_: object, **__: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("chips", "workers", "platforms", "expected"),
    [
        (4, "a:0:10.0.0.2,b:1:10.0.0.3", "", True),
        (4, "a:0:10.0.0.2", "", False),
        (0, "a:0:10.0.0.2,b:1:10.0.0.3", "", False),
        (4, "a:0:10.0.0.2,b:1:10.0.0.3", "cpu", False),
    ],
    ids=["pod", "one host", "no chips", "not asked for"],
)
def test_a_host_of_a_cloud_tpu_pod_knows_it_from_the_metadata_server(
    monkeypatch: pytest.MonkeyPatch, chips: int, workers: str, platforms: str, expected: bool
) -> None:
    monkeypatch.setattr(
        hardware_utils, "num_available_tpu_chips_and_device_id", lambda: (chips, None)
    )
    monkeypatch.setattr(cloud_tpu_cluster, "running_in_cloud_tpu_vm", True)
    monkeypatch.delenv("TPU_SKIP_MDS_QUERY", raising=False)
    attributes = {"agent-worker-number": "1", "worker-network-endpoints": workers, "tpu-env": ""}
    with metadata(attributes) as address:
        monkeypatch.setenv("GCE_METADATA_IP", address)
        assert hosts.on_tpu_pod({"JAX_PLATFORMS": platforms}) is expected


def test_tpu_chips_without_a_metadata_server_are_one_host(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hardware_utils, "num_available_tpu_chips_and_device_id", lambda: (1, None))
    monkeypatch.setattr(cloud_tpu_cluster, "running_in_cloud_tpu_vm", True)
    monkeypatch.delenv("TPU_SKIP_MDS_QUERY", raising=False)
    monkeypatch.setenv("GCE_METADATA_IP", "127.0.0.1:9")
    assert not hosts.on_tpu_pod({})
    assert "give --coordinator" in capsys.readouterr().err


def test_a_cluster_is_known_by_its_variables() -> None:
    assert not hosts.in_cluster({"SLURM_STEP_NUM_TASKS": "1", "TPU_WORKER_HOSTNAMES": "localhost"})
    assert hosts.in_cluster({"SLURM_STEP_NUM_TASKS": "2"})
    assert hosts.in_cluster({"TPU_WORKER_HOSTNAMES": "a,b"})
    assert hosts.in_cluster({"MEGASCALE_COORDINATOR_ADDRESS": "a:1"})
