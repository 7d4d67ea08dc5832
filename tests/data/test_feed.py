"""Promises of the feed: all batches, in order, on the devices, ahead of their use."""

import itertools
import threading
import time
from collections.abc import Iterator

import jax
import numpy as np
import pytest

from catsdogs_jax.data.feed import Feed
from catsdogs_jax.data.pipeline import Batch
from catsdogs_jax.errors import UserError


@pytest.fixture
def sharding() -> jax.sharding.Sharding:
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:4]), ("data",))
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))


def numbered(count: int | None = None) -> Iterator[Batch]:
    for step in itertools.count() if count is None else range(count):
        yield {"index": np.full(8, step, np.int32)}


def test_every_batch_comes_in_order_on_the_devices(sharding: jax.sharding.Sharding) -> None:
    with Feed(numbered(20), sharding) as feed:
        batches = list(feed)
    assert [int(batch["index"][0]) for batch in batches] == list(range(20))
    assert all(batch["index"].sharding == sharding for batch in batches)


def test_batches_are_made_ahead_but_not_without_bound(sharding: jax.sharding.Sharding) -> None:
    made = []

    def counted() -> Iterator[Batch]:
        for batch in numbered():
            made.append(batch)
            yield batch

    with Feed(counted(), sharding, depth=3) as feed:
        next(feed)
        deadline = time.monotonic() + 30
        while len(made) < 5 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.05)
        assert len(made) == 5  # One used, three that wait, and one that waits for a place.


def test_waiting_is_measured_while_the_devices_are_idle(sharding: jax.sharding.Sharding) -> None:
    def slow() -> Iterator[Batch]:
        for batch in numbered(3):
            time.sleep(0.05)
            yield batch

    with Feed(slow(), sharding) as feed:
        list(feed)
        assert feed.waited > 0.1
    with Feed(slow(), sharding, busy=lambda: True) as feed:
        list(feed)
        assert feed.waited == 0


def test_waiting_begins_when_the_devices_have_done_their_work(
    sharding: jax.sharding.Sharding,
) -> None:
    done = threading.Event()

    def slow() -> Iterator[Batch]:
        time.sleep(0.4)
        done.set()
        time.sleep(0.1)
        yield from numbered(1)

    start = time.monotonic()
    with Feed(slow(), sharding, busy=lambda: not done.is_set()) as feed:
        next(feed)
        assert 0.05 < feed.waited < time.monotonic() - start - 0.2


def test_an_error_is_raised_where_the_batches_are_used(sharding: jax.sharding.Sharding) -> None:
    def broken() -> Iterator[Batch]:
        yield from numbered(2)
        raise UserError("a picture has gone")

    feed = Feed(broken(), sharding)
    assert len([next(feed), next(feed)]) == 2
    with pytest.raises(UserError, match="a picture has gone"):
        next(feed)
    assert list(feed) == []


def test_closing_ends_the_thread_whatever_it_waits_for(sharding: jax.sharding.Sharding) -> None:
    before = threading.active_count()
    for used in range(6):
        with Feed(numbered(), sharding) as feed:
            for _ in range(used):
                next(feed)
    assert threading.active_count() == before
