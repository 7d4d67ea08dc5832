"""Refuses bodies that are too long before they are read."""

from fastapi import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class LimitBody:
    """Middleware that answers 413 to a request whose body is longer than allowed.

    Args:
        app: What it stands before.
        most: Bytes.
    """

    def __init__(self, app: ASGIApp, most: int):
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, counting its bytes: the header that tells them need not be there."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        words = f"the request is longer than {self._most / 2**20:.3g} MiB: send fewer or smaller"
        told = dict(scope["headers"]).get(b"content-length", b"0")
        if told.isdigit() and int(told) > self._most:
            await JSONResponse({"detail": words}, status_code=413)(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._most:
                raise HTTPException(413, words)  # Within the application, which answers with it.
            return message

        await self._app(scope, counted, send)
