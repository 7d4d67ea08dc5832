"""Keeps what clients upload in memory: nobody's pictures are to lie on the server's disk."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser


class _Parser(MultiPartParser):
    """Starlette's own moves a file to the disk at 1 MiB. 0: never, `LimitBody` bounds them all.

    A class of its own, as the parser of other applications in the process is not ours to change.
    """

    spool_max_size = 0


class _Request(Request):
    """Starlette's makes its parser by itself and takes no other, so its form is read here."""

    async def form(self, **limits: Any) -> FormData:  # type: ignore[override]
        """Returns the fields and files of a form, as the original does.

        Raises:
            HTTPException: 400, it is cut or broken.
        """
        if not self.headers.get("content-type", "").lower().startswith("multipart/form-data"):
            return await super().form(**limits)
        try:
            return await _Parser(self.headers, self.stream(), **limits).parse()
        except MultiPartException as error:
            raise HTTPException(400, error.message) from error


class InMemory(APIRoute):
    """A route whose uploads never touch the disk."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Returns the handler of FastAPI, given a request that reads forms into memory."""
        handle = super().get_route_handler()

        async def handle_in_memory(request: Request) -> Response:
            return await handle(_Request(request.scope, request.receive))

        return handle_in_memory
