"""The folder of a run: what lies where, and whether it belongs to the run that asks."""

import contextlib
import dataclasses
import fcntl
import json
import os
import socket
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from catsdogs_jax.config import Config
from catsdogs_jax.config.reader import config_from_dict, config_to_dict, differing_keys
from catsdogs_jax.data.manifest import Manifest
from catsdogs_jax.data.manifest_file import read_head, read_pictures, spell_manifest
from catsdogs_jax.data.pictures import Picture
from catsdogs_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """Names of the files of a run.

    Attributes:
        path: The folder, `--workdir`.
    """

    path: Path

    @property
    def lock(self) -> Path:
        """Held by the run that writes here; the system lets go of it when the process ends."""
        return self.path / ".lock"

    @property
    def config(self) -> Path:
        """The complete config of the run."""
        return self.path / "config.json"

    @property
    def formulation(self) -> Path:
        """How the step was put to the device, so that a run which goes on does the same."""
        return self.path / "formulation.json"

    @property
    def plan(self) -> Path:
        """The steps that were chosen to fit a budget, so that a run which goes on keeps them."""
        return self.path / "plan.json"

    @property
    def manifest(self) -> Path:
        """Every picture of the run, and those that could not be used."""
        return self.path / "manifest.json"

    @property
    def metrics(self) -> Path:
        """One line for each split and evaluation."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Orbax checkpoints."""
        return self.path / "checkpoints"

    @property
    def plots(self) -> Path:
        """Pictures of the run."""
        return self.path / "plots"

    @property
    def result(self) -> Path:
        """What the run reached."""
        return self.path / "result.json"

    @property
    def failure(self) -> Path:
        """The step whose loss was not finite, and its pictures."""
        return self.path / "failed_step.json"

    @property
    def goodput(self) -> Path:
        """Where the time went, over all calls of the program so far."""
        return self.path / "goodput.json"

    @property
    def predictions(self) -> Path:
        """Probabilities of every held-out picture."""
        return self.path / "predictions.csv"

    @property
    def report(self) -> Path:
        """One page about the run that needs no other file."""
        return self.path / "report.html"

    @property
    def suspects(self) -> Path:
        """Held-out pictures whose labels may be wrong."""
        return self.path / "suspects.csv"

    @property
    def embeddings(self) -> Path:
        """The training pictures as the model sees them, for `predict --reject-far`."""
        return self.path / "embeddings.npz"

    def check(self, config: Config) -> None:
        """Checks that a run with this config may begin or go on here; writes nothing.

        Raises:
            UserError: The folder holds a run with another config, or files that are no run; or
                another process is at work there.
        """
        if self.lock.exists():
            with self._locked():
                pass
        if self.config.exists():
            lines = differing_keys(_what_it_is(self.read_config()), _what_it_is(config))
            if lines:
                raise UserError(
                    f"{str(self.path)!r} holds a run with another config ({'; '.join(lines)}): "
                    "give another --workdir, or remove that folder to start anew"
                )
        elif self.path.exists() and not self.path.is_dir():
            raise UserError(f"--workdir {str(self.path)!r} is a file: give a folder")
        elif self.path.is_dir() and any(p.name[0] != "." for p in self.path.iterdir()):
            raise UserError(
                f"--workdir {str(self.path)!r} holds files but no run: give a new or empty folder"
            )

    @contextlib.contextmanager
    def claimed(
        self,
        config: Config,
        manifest: Manifest,
        formulation: Mapping[str, Any],
        plan: Mapping[str, Any] | None = None,
    ) -> Iterator[None]:
        """Holds the folder for one run, and writes what the run is; later runs must be the same.

        Args:
            config: The run.
            manifest: Its pictures.
            formulation: How its steps are computed.
            plan: Its length, if that was measured.

        Raises:
            UserError: Another process holds the folder, or the pictures are not those that the
                run began with.
        """
        with self._locked():
            self._claim(config, manifest, formulation, plan)
            yield

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Holds the lock; a killed process leaves none behind.

        The kernel keeps `flock` for as long as the file is open; a file whose mere existence is
        the lock (what filelock falls back to) would outlive a kill. It works across machines
        where the network file system passes locks on (NFS since Linux 2.6.12, Lustre with flock).
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with self.lock.open("a+", encoding="utf-8") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                stream.seek(0)
                raise UserError(
                    f"another run ({stream.read().strip() or 'starting'}) is at work in "
                    f"{str(self.path)!r}: wait for its end, or give another --workdir"
                ) from None
            stream.truncate(0)
            stream.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            stream.flush()
            yield

    def _claim(
        self,
        config: Config,
        manifest: Manifest,
        formulation: Mapping[str, Any],
        plan: Mapping[str, Any] | None,
    ) -> None:
        if self.manifest.exists():
            began = read_head(self.manifest)["fingerprint"]
            if began != manifest.fingerprint:
                raise UserError(
                    f"the pictures have changed since the run in {str(self.path)!r} began "
                    f"(fingerprint {began}, now {manifest.fingerprint}): give another --workdir"
                )
        # The config comes first: with it, the folder is that of a run, whenever this is killed.
        write_json(self.config, config_to_dict(config))
        write_text(self.manifest, spell_manifest(manifest))
        write_json(self.formulation, formulation)
        if plan is not None:
            write_json(self.plan, plan)

    def read_formulation(self) -> dict[str, Any] | None:
        """Returns how the run's steps were computed; none if there is no run yet."""
        if not self.formulation.is_file():
            return None
        return json.loads(self.formulation.read_text(encoding="utf-8"))

    def read_plan(self) -> dict[str, Any] | None:
        """Returns the length that was chosen for the run to fit its budget; none if none was."""
        if not self.plan.is_file():
            return None
        return json.loads(self.plan.read_text(encoding="utf-8"))

    def training_pictures(self) -> Iterator[Picture]:
        """Yields the pictures that the run was trained on; none if their list is gone."""
        if self.manifest.is_file():
            yield from (one for one in read_pictures(self.manifest) if one.split == "train")

    def read_config(self) -> Config:
        """Returns the config of the run.

        Raises:
            UserError: The folder holds no run.
        """
        if not self.config.is_file():
            raise UserError(
                f"--workdir {str(self.path)!r} holds no run (no config.json): give the folder that "
                "python -m catsdogs_jax.train wrote"
            )
        tree = json.loads(self.config.read_text(encoding="utf-8"))
        return config_from_dict(tree, together=False)  # What it began with was allowed then.


def _what_it_is(config: Config) -> dict[str, Any]:
    """Returns the config without what may change: devices, trackers, who watches."""
    tree = config_to_dict(config)
    del tree["mesh"], tree["records"], tree["train"]["watchdog"]
    return tree


def write_json(path: Path, tree: Mapping[str, Any]) -> None:
    """Writes JSON types so that a reader sees the old file or the new one, never a part."""
    write_text(path, json.dumps(tree, indent=1) + "\n")


def write_text(path: Path, text: str | Iterable[str], errors: str = "strict") -> None:
    """Writes a text file, given whole or in parts, as one; and its folder if there is none.

    Args:
        path: The file.
        text: What is to be in it.
        errors: As `open` has it, of characters that UTF-8 cannot spell.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("w", encoding="utf-8", errors=errors) as stream:
        stream.writelines([text] if isinstance(text, str) else text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(draft, path)
