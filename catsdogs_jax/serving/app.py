"""The web application: an HTTP API with its OpenAPI page, health, limits, and the page."""

import asyncio
import base64
import contextlib
import dataclasses
import io
from collections.abc import AsyncIterator, Awaitable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, TypeVar

import jinja2
import numpy as np
from fastapi import FastAPI, File, Form, HTTPException, UploadFile
from fastapi.responses import HTMLResponse
from fastapi_offline import FastAPIOffline
from PIL import Image
from pydantic import BaseModel

from catsdogs_jax import __version__
from catsdogs_jax.data.decode import BadPicture
from catsdogs_jax.escaping import printable
from catsdogs_jax.serving.batcher import Batcher, Busy
from catsdogs_jax.serving.limits import LimitBody
from catsdogs_jax.serving.models import BATCH, Served
from catsdogs_jax.serving.uploads import InMemory

_RETRY_SECONDS = 1

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one client may ask of the machine.

    Attributes:
        request_bytes: Bytes of a request.
        files: Pictures of a request.
        seconds: Until a request is given up.
        waiting: Pictures of all requests that may wait at once; `files`, if that is more.
    """

    request_bytes: int = 32 * 2**20
    files: int = 16
    seconds: float = 30.0
    waiting: int = 256


class Answer(BaseModel):
    """What the model says of one file; `error` says why there is nothing else."""

    file: str
    predicted: str = ""
    probabilities: dict[str, float] = {}
    error: str = ""


class Answers(BaseModel):
    """One answer a file, in the order of the request."""

    results: list[Answer]


class Neighbour(BaseModel):
    """A training picture as a data URL, and its classes."""

    picture: str
    classes: str


class Explained(BaseModel):
    """Grad-CAM and the nearest training pictures as data URLs; `missing` says what is not there."""

    heat: str | None
    nearest: list[Neighbour]
    missing: str


def make_app(model: Served, limits: Limits | None = None) -> FastAPI:
    """Returns the application around a model; nothing that a client sends names a file here."""
    limits = limits or Limits()
    thread = ThreadPoolExecutor(1, thread_name_prefix="model")
    # The first explanation looks at all training pictures; answers do not wait for that.
    explaining = ThreadPoolExecutor(1, thread_name_prefix="explain")
    # A request that is allowed must find room when nobody else asks.
    waiting = max(limits.waiting, limits.files)
    batcher = Batcher(model.predict, thread, most=BATCH, waiting=waiting)

    @contextlib.asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        work = asyncio.create_task(batcher.run())
        await batcher.answer(
            [model.decode(_blank())]
        )  # Compiles: from now on every answer is quick.
        app.state.ready = True
        yield
        app.state.ready = False
        work.cancel()
        for one in (thread, explaining):  # The first explanation may take minutes more.
            one.shutdown(wait=False, cancel_futures=True)

    app = FastAPIOffline(title="catsdogs_jax", version=__version__, lifespan=life)
    app.router.route_class = InMemory
    app.add_middleware(LimitBody, most=limits.request_bytes)
    _add_health(app)
    _add_page(app, model)
    _add_predict(app, model, batcher, limits)
    _add_explain(app, model, explaining, limits)
    return app


def _add_health(app: FastAPI) -> None:
    @app.get("/healthz", summary="Whether the server runs")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", summary="Whether the model answers")
    async def ready() -> dict[str, str]:
        if not getattr(app.state, "ready", False):
            raise HTTPException(503, "the model is not ready", {"Retry-After": "1"})
        return {"status": "ready"}


def _add_page(app: FastAPI, model: Served) -> None:
    folder = jinja2.FileSystemLoader(Path(__file__).parent)
    page = jinja2.Environment(loader=folder, autoescape=True).get_template("page.html.j2")
    text = page.render(classes=model.classes, about=printable(model.about), version=__version__)

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def home() -> str:
        return text


def _add_predict(app: FastAPI, model: Served, batcher: Batcher, limits: Limits) -> None:
    @app.post("/api/predict", summary="Classify pictures")
    async def predict(
        files: Annotated[list[UploadFile], File(description="Pictures of any usual format")],
    ) -> Answers:
        if len(files) > limits.files:
            raise HTTPException(413, f"{len(files)} files, but at most {limits.files} at once")
        read = [await _decoded(model, file) for file in files]
        images = [found for found in read if isinstance(found, np.ndarray)]
        rows = iter(await _in_time(batcher.answer(images), limits.seconds))
        return Answers(
            results=[_answer(model, f, r, rows) for f, r in zip(files, read, strict=True)]
        )


def _add_explain(app: FastAPI, model: Served, thread: ThreadPoolExecutor, limits: Limits) -> None:
    @app.post("/api/explain", summary="Show what speaks for a class, and the nearest pictures")
    async def explain(
        file: Annotated[UploadFile, File(description="A picture")],
        label: Annotated[str, Form(description="Name of the class")],
    ) -> Explained:
        if label not in model.classes:
            known = ", ".join(model.classes)
            raise HTTPException(422, f"{label!r} is none of the classes: {known}")
        image = await _decoded(model, file)
        if isinstance(image, str):
            raise HTTPException(422, image)
        loop, index = asyncio.get_running_loop(), model.classes.index(label)
        work = loop.run_in_executor(thread, model.explain, image, index)
        found = await _in_time(work, 4 * limits.seconds)  # The first looks at all pictures.
        return Explained(
            heat=None if found.heat is None else _data_url(found.heat),
            nearest=[Neighbour(picture=_data_url(p), classes=c) for p, c in found.nearest],
            missing=found.missing,
        )


async def _decoded(model: Served, file: UploadFile) -> np.ndarray | str:
    """Returns the decoded picture of an upload, or why there is none."""
    data = await file.read()
    if not data:
        return "the file is empty"
    try:
        return await asyncio.to_thread(model.decode, data)
    except BadPicture as error:
        return str(error)


async def _in_time(work: Awaitable[_T], seconds: float) -> _T:
    """Waits for an answer, and says in HTTP's words when there will be none."""
    try:
        return await asyncio.wait_for(work, seconds)
    except Busy:
        headers = {"Retry-After": str(_RETRY_SECONDS)}
        raise HTTPException(503, "too many pictures are waiting: try again", headers) from None
    except TimeoutError:
        raise HTTPException(504, f"no answer within {seconds:.0f} s") from None


def _answer(
    model: Served, file: UploadFile, read: np.ndarray | str, rows: Iterator[np.ndarray]
) -> Answer:
    name = file.filename or ""
    if isinstance(read, str):
        return Answer(file=name, error=read)
    row = next(rows)
    probabilities = {name: float(p) for name, p in zip(model.classes, row, strict=True)}
    return Answer(file=name, predicted=model.spell(row), probabilities=probabilities)


def _blank() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "PNG")
    return stream.getvalue()


def _data_url(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
