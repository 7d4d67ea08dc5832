"""From LLVM's language to functions of this process."""

from typing import Any

import llvmlite.binding as llvm

from catsdogs_jax.kernels.emitter import host

_machine_code: list[Any] = []
"""Engines whose code may be called as long as the process lives."""


def compile_function(module: str, name: str) -> int:
    """Compiles a module in LLVM's language for the CPU at hand.

    Returns:
        The address of its function `name`, which stays valid.
    """
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = host()
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(cpu=cpu, features=features, opt=3, jit=True)
    parsed = llvm.parse_assembly(module)
    parsed.verify()
    tuning = llvm.create_pipeline_tuning_options(speed_level=3)
    tuning.loop_vectorization = tuning.slp_vectorization = False  # The vectors are chosen already.
    passes = llvm.create_pass_builder(machine, tuning)
    passes.getModulePassManager().run(parsed, passes)
    engine = llvm.create_mcjit_compiler(parsed, machine)
    engine.finalize_object()
    _machine_code.append(engine)
    return engine.get_function_address(name)
