"""A server under load: python -m benchmarks.serve --workdir RUN_OR_BUNDLE PICTURE_FOLDER."""

import importlib.metadata
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
import numpy as np

from benchmarks.harness import OURS, Row, arguments, single, write

_BAD = [b"", b"<html>no picture</html>", b"\xff\xd8\xff\xe0" + bytes(64), bytes(40 * 2**20)]
_BAD_SHARE = 0.1
_SECONDS, _QUICK_SECONDS = 60, 5


class Client(threading.Thread):
    """Asks for one picture after the other; every tenth request is broken.

    Attributes:
        times: Seconds of each good request.
        statuses: How many answers had each status, good and bad requests apart.
        wrong: Answers that are not what was asked for.
    """

    def __init__(self, url: str, pictures: Sequence[bytes], until: float, seed: int):
        super().__init__()
        self.times: list[float] = []
        self.statuses: Counter[str] = Counter()
        self.wrong = 0
        self._url, self._pictures, self._until = url, pictures, until
        self._random = random.Random(seed)

    def run(self) -> None:
        """Asks until the time is over."""
        with httpx.Client(timeout=60) as client:
            while time.monotonic() < self._until:
                bad = self._random.random() < _BAD_SHARE
                data = self._random.choice(_BAD if bad else self._pictures)
                start = time.perf_counter()
                reply = client.post(self._url, files={"files": ("picture", data)})
                seconds = time.perf_counter() - start
                self.statuses[f"{'bad' if bad else 'good'} {reply.status_code}"] += 1
                results = reply.json().get("results", [{}])
                if bad:
                    self.wrong += bool(results[0].get("probabilities"))
                elif reply.status_code == 200:
                    self.times.append(seconds)
                    self.wrong += not results[0]["probabilities"]


def memory(pid: int) -> float:
    """Returns the resident memory of a process, MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Starts a server, loads it, prints what came of it."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--workdir", required=True, metavar="DIR", help="a run or a bundle")
    parser.add_argument("--seconds", type=float, metavar="S", help=f"[{_SECONDS}]")
    parser.add_argument("--clients", type=int, default=8, metavar="N", help="[8]")
    parser.add_argument("pictures", type=Path, metavar="FOLDER", help="JPEG files below it")
    flags = parser.parse_args()
    seconds = flags.seconds or (_QUICK_SECONDS if flags.quick else _SECONDS)
    pictures = [path.read_bytes() for path in sorted(flags.pictures.rglob("*.jpg"))[:200]]
    command = [sys.executable, "-m", "catsdogs_jax.serve", "--workdir", flags.workdir]
    with subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True) as server:
        try:
            clients, resident, alive = loaded(server, pictures, flags.clients, seconds)
        finally:
            server.terminate()
    report(clients, seconds, resident, alive=alive)
    write(rows(clients, seconds, resident), _versions(), flags)
    if not alive or any(client.wrong for client in clients):
        raise SystemExit(1)


def loaded(
    server: "subprocess.Popen[str]", pictures: Sequence[bytes], count: int, seconds: float
) -> tuple[list[Client], dict[str, float], bool]:
    """Loads a server; returns the clients, its memory over time, and whether it is alive."""
    assert server.stdout is not None
    lines = iter(server.stdout.readline, "")
    url = next(line.split()[1] for line in lines if line.startswith("open "))
    httpx.post(f"{url}api/predict", files={"files": pictures[0]}, timeout=300)  # Ready.
    before, until = memory(server.pid), time.monotonic() + seconds
    clients = [Client(f"{url}api/predict", pictures, until, seed) for seed in range(count)]
    for client in clients:
        client.start()
    time.sleep(seconds / 2)
    halfway = memory(server.pid)
    for client in clients:
        client.join()
    after = memory(server.pid)
    return clients, {"before": before, "halfway": halfway, "after": after}, server.poll() is None


def report(
    clients: Sequence[Client], seconds: float, resident: Mapping[str, float], *, alive: bool
) -> None:
    """Prints one line for each thing that was looked at."""
    times = np.concatenate([client.times for client in clients])
    statuses = sum((client.statuses for client in clients), Counter())
    print(", ".join(f"{name} {version}" for name, version in _versions().items()))
    print(f"clients         {len(clients)}, {seconds:.0f} s")
    print(f"pictures        {len(times):,}, {len(times) / seconds:.1f} a second")
    middle, late = (1000 * np.quantile(times, share) for share in (0.5, 0.99))
    print(f"latency         median {middle:.0f} ms, p99 {late:.0f} ms (n = {len(times):,})")
    print(f"answers         {dict(sorted(statuses.items()))}")
    print(f"wrong answers   {sum(client.wrong for client in clients)}")
    print("memory          " + ", ".join(f"{mib:,.0f}" for mib in resident.values()) + " MiB")
    print(f"                ({', '.join(resident)})")
    print(f"server          {'alive' if alive else 'DEAD'}")


def rows(clients: Sequence[Client], seconds: float, resident: Mapping[str, float]) -> list[Row]:
    """Returns what was measured as data."""
    times = 1000 * np.concatenate([client.times for client in clients])
    low, middle, late, high = map(float, np.quantile(times, (0, 0.5, 0.99, 1)))
    case, n = f"{len(clients)} clients", len(times)
    return [
        single(f"{case}, good requests", n / seconds, "images/s"),
        Row(f"{case}, latency", OURS, middle, "ms", None, low, high, n),
        single(f"{case}, latency of the 99th percentile", late, "ms"),
        single(f"{case}, wrong answers", sum(client.wrong for client in clients), "answers"),
        *(single(f"{case}, memory {when}", mib, "MiB") for when, mib in resident.items()),
    ]


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("jax", "fastapi", "uvicorn")}


if __name__ == "__main__":
    main()
