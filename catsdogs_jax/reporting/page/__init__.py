"""One page about a run that needs no other file."""

from catsdogs_jax.reporting.page.content import (
    Bins,
    Case,
    Content,
    Gallery,
    Headline,
    Line,
    Photo,
    Table,
)
from catsdogs_jax.reporting.page.render import render, write_page

__all__ = [
    "Bins",
    "Case",
    "Content",
    "Gallery",
    "Headline",
    "Line",
    "Photo",
    "Table",
    "render",
    "write_page",
]
