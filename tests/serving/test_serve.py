"""Promises of the server: the answers of predict, clear refusals, a page for a browser."""

import io
import itertools
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from fastapi.testclient import TestClient
from PIL import Image

from catsdogs_jax import serve
from catsdogs_jax.classifier import load
from catsdogs_jax.config.reader import config_from_dict
from catsdogs_jax.errors import UserError
from catsdogs_jax.exporting.write import Options, export_run
from catsdogs_jax.serving.app import Limits, make_app
from catsdogs_jax.serving.models import Exported, Run, open_model
from catsdogs_jax.train import train_and_evaluate

COLOURS = {"red": (200, 40, 40), "blue": (40, 40, 200)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on red and blue pictures, which lie beside it in `data/`."""
    root = tmp_path_factory.mktemp("serve")
    for split, k, name in itertools.product(("train", "validation"), range(8), COLOURS):
        path = root / "data" / split / name / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(name, seed=k + 100 * (split == "validation")))
    tree = {
        "data": {"dir": str(root / "data"), "image_size": 16, "batch_size": 8},
        "model": {"widths": (4,), "hidden": 8},
        "train": {"steps": 20, "learning_rate": 1e-2},
        "eval": {"every_steps": 20},
        "mesh": {"devices": 1},
    }
    train_and_evaluate(config_from_dict(tree), root / "run")
    return root


@pytest.fixture(scope="module")
def model(folder: Path) -> Run:
    found = open_model(folder / "run")
    assert isinstance(found, Run)
    return found


@pytest.fixture(scope="module")
def client(model: Run) -> Iterator[TestClient]:
    with TestClient(make_app(model)) as made:
        yield made


def png(name: str, seed: int = 0) -> bytes:
    noise = np.random.default_rng(seed).integers(-40, 40, (24, 20, 3))
    stream = io.BytesIO()
    pixels = (np.array(COLOURS[name]) + noise).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def ask(client: TestClient, *files: tuple[str, bytes]) -> Any:
    return client.post("/api/predict", files=[("files", file) for file in files])


def test_answers_are_those_of_predict_in_the_order_of_the_request(
    client: TestClient, folder: Path
) -> None:
    files = sorted((folder / "data" / "validation").rglob("*.png"))
    reply = ask(client, *((path.name, path.read_bytes()) for path in files[:11]))
    expected = load(folder / "run", devices=1).predict(files[:11])
    for found, prediction in zip(reply.json()["results"], expected, strict=True):
        assert found["predicted"] == prediction.predicted
        assert prediction.probabilities is not None
        given = list(found["probabilities"].values())
        np.testing.assert_allclose(given, prediction.probabilities, atol=1e-6)


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "empty"), (b"<html>no</html>", "not a picture"), (png("red")[:60], "")],
)
def test_a_file_that_is_no_picture_gets_its_reason_and_the_others_their_answers(
    client: TestClient, data: bytes, reason: str
) -> None:
    name = '../../etc/<img src=x onerror="alert(1)">.png'
    first, second = ask(client, (name, data), ("red.png", png("red"))).json()["results"]
    assert reason in first["error"]
    assert first["error"]
    assert not first["probabilities"]
    assert second["predicted"] == "red"
    assert not second["error"]


def test_concurrent_clients_get_the_answers_of_one_alone(client: TestClient) -> None:
    pictures = [png(name, seed) for seed in range(12) for name in COLOURS]
    alone = [ask(client, ("a.png", data)).json() for data in pictures]
    found: list = [None] * len(pictures)

    def one(place: int) -> None:
        found[place] = ask(client, ("a.png", pictures[place])).json()

    threads = [threading.Thread(target=one, args=(place,)) for place in range(len(pictures))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Within rounding: where a picture stands in its batch can change the last bit of a sum.
    for replies in zip(found, alone, strict=True):
        (together,), (expected,) = (reply["results"] for reply in replies)
        given, wanted = (
            list(result.pop("probabilities").values()) for result in (together, expected)
        )
        np.testing.assert_allclose(given, wanted, atol=1e-6)
        assert together == expected


def test_grad_cam_and_the_nearest_training_pictures_are_shown(client: TestClient) -> None:
    form = {"file": ("a.png", png("blue", 3))}
    reply = client.post("/api/explain", files=form, data={"label": "blue"}).json()
    assert reply["heat"].startswith("data:image/jpeg;base64,")
    assert [near["classes"] for near in reply["nearest"]] == ["blue"] * 3
    assert reply["missing"] == ""
    wrong = client.post("/api/explain", files=form, data={"label": "green"})
    assert wrong.status_code == 422
    assert "none of the classes" in wrong.json()["detail"]


def test_what_is_too_much_is_refused_by_name(model: Run) -> None:
    with TestClient(make_app(model, Limits(request_bytes=20_000, files=2))) as client:
        many = ask(client, *[(f"{k}.png", png("red")) for k in range(3)])
        assert (many.status_code, many.json()["detail"]) == (413, "3 files, but at most 2 at once")
        assert ask(client, ("long", bytes(30_000))).status_code == 413
        begin = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
        chunks = iter([begin, *[b"x" * 8000] * 5])  # No Content-Length tells how long it will be.
        header = {"Content-Type": "multipart/form-data; boundary=b"}
        assert client.post("/api/predict", content=chunks, headers=header).status_code == 413
        assert ask(client, ("red.png", png("red"))).status_code == 200


def test_large_uploads_stay_in_memory_and_broken_ones_are_refused(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def to_disk(_: object) -> None:
        pytest.fail("an upload lies on the disk")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", to_disk)
    large = png("red") + bytes(3 * 2**20)  # What stands behind the end of a PNG is not looked at.
    assert ask(client, ("a.png", large)).json()["results"][0]["predicted"] == "red"
    form = {"file": ("a.png", large)}
    assert client.post("/api/explain", files=form, data={"label": "red"}).status_code == 200
    header = {"Content-Type": "multipart/form-data; boundary=b"}
    broken = client.post("/api/predict", content=b"--c no form", headers=header)
    assert (broken.status_code, broken.json()) == (400, {"detail": "Invalid multipart data."})
    plain = client.post("/api/predict", data={"files": "a.png"})
    assert plain.status_code == 422


def test_as_many_pictures_as_a_request_may_hold_are_answered(model: Run) -> None:
    with TestClient(make_app(model, Limits(files=3, waiting=2))) as client:
        reply = ask(client, *[(f"{k}.png", png("red", k)) for k in range(3)])
    assert reply.status_code == 200
    assert len(reply.json()["results"]) == 3


def test_a_model_that_takes_too_long_is_given_up(model: Run) -> None:
    app = make_app(model, Limits(seconds=0.0))
    with TestClient(app) as client:
        reply = ask(client, ("red.png", png("red")))
    assert reply.status_code == 504


def test_health_readiness_and_the_api_page_need_no_network(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ready"}
    assert "/api/predict" in client.get("/openapi.json").json()["paths"]
    assert not re.findall(r"(?:src|href)=\"https?://", client.get("/docs").text)


def test_a_bundle_is_served_and_says_what_it_cannot_show(folder: Path, tmp_path: Path) -> None:
    export_run(folder / "run", tmp_path / "bundle", Options(formats=("onnx",)), lambda _: None)
    model = open_model(tmp_path / "bundle")
    assert isinstance(model, Exported)
    with TestClient(make_app(model)) as client:
        assert ask(client, ("red.png", png("red"))).json()["results"][0]["predicted"] == "red"
        form = {"file": ("a.png", png("red"))}
        reply = client.post("/api/explain", files=form, data={"label": "red"}).json()
        assert (reply["heat"], reply["nearest"]) == (None, [])
        assert "a bundle holds" in reply["missing"]


@pytest.mark.parametrize(("form", "sizes"), [("stablehlo", [8, 8]), ("onnx", [1, 3])])
def test_a_bundle_that_is_compiled_for_a_number_of_pictures_is_compiled_once(
    form: str, sizes: list[int]
) -> None:
    seen: list[int] = []

    def probabilities(images: np.ndarray) -> np.ndarray:
        seen.append(len(images))
        return images[:, 0, 0, :2].astype(np.float64)

    bundle: Any = SimpleNamespace(format=form, probabilities=probabilities)
    for count in (1, 3):
        images = np.random.default_rng(0).integers(1, 256, (count, 4, 4, 3)).astype(np.uint8)
        found = Exported(bundle).predict(images)
        np.testing.assert_array_equal(found, images[:, 0, 0, :2])
    assert seen == sizes


def test_class_names_are_text_on_the_page(model: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "classes", ("<script>alert(1)</script>", "b"))
    with TestClient(make_app(model)) as client:
        page = client.get("/").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


@pytest.fixture
def address(model: Run) -> Iterator[str]:
    """Where a server listens whose page /test drops a red and a broken file on itself."""
    app = make_app(model)
    add_test_page(app)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()


DROP = """<script>
const data = new DataTransfer();
data.items.add(new File([Uint8Array.from(%s)], "red.png", {type: "image/png"}));
data.items.add(new File(["<html>"], "<b>broken</b>.png", {type: "image/png"}));
drop.dispatchEvent(new DragEvent("drop", {dataTransfer: data}));
const watch = setInterval(() => {
  const why = document.querySelector(".case button");
  if (why && !why.disabled) why.click();
  const done = document.querySelectorAll(".case").length === 2 && document.querySelector(".near")
    && document.querySelector(".bad");
  if (done) { clearInterval(watch); document.title = "done"; }
}, 100);
</script>"""


def add_test_page(app: FastAPI) -> None:
    @app.get("/test", response_class=HTMLResponse)
    async def test() -> str:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as c:
            return (await c.get("/")).text.replace("</body>", DROP % list(png("red")) + "</body>")


def test_a_browser_shows_answers_bars_heat_and_neighbours(address: str, tmp_path: Path) -> None:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no chromium on the path")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}/chromium"]
    more = ["--enable-logging=stderr", "--virtual-time-budget=20000", "--dump-dom"]
    done = subprocess.run(
        [found, *flags, *more, f"{address}/test"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert "CONSOLE" not in done.stderr
    page = done.stdout
    assert "<title>done</title>" in page
    assert ">red</h2>" in page
    assert page.count('class="bar"') == 2
    assert page.count("data:image/jpeg") == 1 + 3
    assert "&lt;b&gt;broken&lt;/b&gt;.png: " in page


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=pytest.mark.heavy)])
def test_the_command_finishes_and_ends_with_143_at_sigterm(folder: Path, host: str) -> None:
    command = [sys.executable, "-m", "catsdogs_jax.serve", "--workdir", str(folder / "run")]
    if ":" in host and not has_ipv6():
        pytest.skip("no IPv6 on this machine")
    with subprocess.Popen(
        [*command, "--port", "0", "--host", host],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        url = next(line.split()[1] for line in lines if line.startswith("open "))
        for _ in range(600):
            try:
                if httpx.get(f"{url}readyz").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        reply = httpx.post(f"{url}api/predict", files={"files": ("a.png", png("blue"))})
        assert reply.json()["results"][0]["predicted"] == "blue"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143


def test_a_port_that_is_taken_is_one_line(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(UserError, match=f"cannot listen on 127.0.0.1:{port}.*--port"):
            serve.main(["--workdir", str(folder / "run"), "--port", port])
    with pytest.raises(UserError, match="more than 0"):
        serve.main(["--workdir", str(folder / "run"), "--max-files", "0"])


@pytest.mark.parametrize(
    ("host", "shown"), [("192.0.2.1", "192.0.2.1:"), ("2001:db8::1", "[2001:db8::1]:")]
)
def test_an_address_of_another_machine_is_one_line_that_names_the_flag(
    folder: Path, host: str, shown: str
) -> None:
    """The addresses are those of RFC 5737 and RFC 3849, which no machine has."""
    expected = rf"cannot listen on {re.escape(shown)}8000 \(.*\): give a --host that is"
    with pytest.raises(UserError, match=expected):
        serve.main(["--workdir", str(folder / "run"), "--host", host])
