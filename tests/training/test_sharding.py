"""Promises of the mesh."""

import jax
import pytest

from catsdogs_jax.errors import UserError
from catsdogs_jax.training.sharding import make_sharding


def test_all_devices_are_taken_unless_fewer_are_asked_for() -> None:
    assert make_sharding(None).device_count == len(jax.devices()) == 8
    assert make_sharding(2).device_count == 2


def test_more_devices_than_there_are_is_an_error() -> None:
    with pytest.raises(UserError, match=r"mesh.devices is 9.*has 8 cpu device"):
        make_sharding(9)


def test_an_uneven_batch_names_the_nearest_even_ones() -> None:
    make_sharding(8).check_batch("data.batch_size", 16)
    with pytest.raises(UserError, match="data.batch_size is 20.*use 16 or 24"):
        make_sharding(8).check_batch("data.batch_size", 20)
    with pytest.raises(UserError, match="use 8,"):
        make_sharding(8).check_batch("data.batch_size", 3)
