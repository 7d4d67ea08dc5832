"""What the processes of a run must agree on before the first step."""

import json

from catsdogs_jax import hosts
from catsdogs_jax.config import Config
from catsdogs_jax.config.reader import config_to_dict, differing_keys
from catsdogs_jax.data.manifest import Manifest
from catsdogs_jax.errors import UserError


def check_same_config(config: Config) -> None:
    """Checks that every process was given the same config.

    Raises:
        UserError: In every process, naming one that differs, and in what.
    """
    if not hosts.several():
        return
    tree = config_to_dict(config)
    for process, word in enumerate(hosts.told_by_all(json.dumps(tree))):
        if lines := differing_keys(tree, json.loads(word)):
            raise UserError(
                f"process {process} was given another config than process {hosts.number()} "
                f"({'; '.join(lines)}): give all the same file and flags"
            )


def check_same_pictures(manifest: Manifest) -> None:
    """Checks that every process has the same pictures.

    Raises:
        UserError: In every process, naming one that differs from the first, and in what.
    """
    if not hosts.several():  # The fingerprint reads the whole manifest.
        return
    found = hosts.told_by_all(spell(manifest))
    for process, word in enumerate(found):
        if word != found[0]:
            raise UserError(
                f"the processes do not find the same pictures: process 0 {found[0]}; process "
                f"{process} {word}: give all the same files, for example on a shared disk"
            )


def spell(manifest: Manifest) -> str:
    """Returns what tells the pictures of one process from those of another."""
    counts = manifest.counts
    listed = ", ".join(f"{name} {counts[name]:,}" for name in manifest.splits)
    first = manifest.pictures.cell("file", 0)
    return f"{listed}, the first {first!r}, fingerprint {manifest.fingerprint}"
