"""From LLVM's language to functions of this process."""

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from catsdogs_jax.kernels.emitter import host

_PASSES = 3
_DIGEST_BYTES = hashlib.sha256().digest_size
_MOST_KEPT = 512
"""Files of some ten kilobytes; a run needs about ten."""

_folder: Path | None = None
_engines: list[Any] = []
"""Their code may be called as long as the process lives."""


def keep_machine_code(folder: Path) -> None:
    """Keeps what is compiled from now on in a folder, and takes it from there in later processes.

    Compiling the kernels of a small network takes more than a second of every start. The folder
    must be one that nobody else can write, as what lies in it is run.
    """
    global _folder
    _folder = folder


def compile_function(module: str, name: str) -> int:
    """Compiles a module in LLVM's language for the CPU at hand.

    Returns:
        The address of its function `name`, which stays valid.
    """
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = host()
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(cpu=cpu, features=features, opt=_PASSES, jit=True)
    kept = None if _folder is None else _folder / _key(module)
    code = None if kept is None else _recalled(kept)
    if code is None:
        code = _machine_code(module, machine)
        if kept is not None:
            _keep(kept, code)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines.append(engine)
    return engine.get_function_address(name)


def _machine_code(module: str, machine: Any) -> bytes:
    parsed = llvm.parse_assembly(module)
    parsed.verify()
    tuning = llvm.create_pipeline_tuning_options(speed_level=_PASSES)
    tuning.loop_vectorization = tuning.slp_vectorization = False  # The vectors are chosen already.
    passes = llvm.create_pass_builder(machine, tuning)
    passes.getModulePassManager().run(parsed, passes)
    return machine.emit_object(parsed)


def _key(module: str) -> str:
    """Returns all that the code depends on; a change of the passes above must change `_PASSES`."""
    made_by = (llvmlite.__version__, llvm.llvm_version_info, host(), _PASSES, module)
    return hashlib.sha256(repr(made_by).encode()).hexdigest()


def _recalled(path: Path) -> bytes | None:
    try:
        kept = path.read_bytes()
    except OSError:
        return None
    digest, code = kept[:_DIGEST_BYTES], kept[_DIGEST_BYTES:]
    return code if hashlib.sha256(code).digest() == digest else None


def _keep(path: Path, code: bytes) -> None:
    """Writes a file in one piece; a folder that takes nothing more is no reason to fail."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as draft:
            draft.write(hashlib.sha256(code).digest() + code)
        Path(draft.name).replace(path)
        files = sorted(path.parent.iterdir(), key=os.path.getmtime)
        for old in files[:-_MOST_KEPT]:
            old.unlink(missing_ok=True)
