"""Compiles a task and lets XLA call it: the glue of its foreign function interface.

The structures are those of `xla/ffi/api/c_api.h`, which jaxlib ships under `jaxlib/include`; XLA
keeps them for at least twelve months after a change. The tasks of a call are shared between the
calling thread and helpers of XLA's own thread pool. Whoever is free takes the next one, and the
caller takes part, so that a call ends even if no helper ever comes.
"""

import ctypes
import functools
from typing import Any

import jax

from catsdogs_jax.kernels.compiler import compile_function

_JOB_HEADER = 24
"""Bytes before the pointers of a job: next task, finished tasks, users."""

_HANDLER = """
declare i32 @sched_yield()
declare i64 @llvm.smax.i64(i64, i64)
declare i64 @llvm.smin.i64(i64, i64)

; A helper may come when all is done: the job lives until its last user has left.
define void @leave(ptr %job) {{
  %users = getelementptr i8, ptr %job, i64 16
  %before = atomicrmw sub ptr %users, i64 1 acq_rel
  %last = icmp eq i64 %before, 1
  br i1 %last, label %free, label %done
free:
  call void @free(ptr %job)
  br label %done
done:
  ret void
}}

define void @work(ptr %job) {{
  %finished = getelementptr i8, ptr %job, i64 8
{job_to_pointers}
  br label %next
next:
  %index = atomicrmw add ptr %job, i64 1 monotonic
  %left = icmp slt i64 %index, {tasks}
  br i1 %left, label %run, label %done
run:
  call void @task(i64 %index, {pointers})
  %ignored = atomicrmw add ptr %finished, i64 1 release
  br label %next
done:
  call void @leave(ptr %job)
  ret void
}}

; XLA_FFI_Error* handler(XLA_FFI_CallFrame*)
define ptr @handler(ptr %frame) {{
entry:
  %threads = alloca i64
  %query = alloca [5 x i64]
  %api_at = getelementptr i8, ptr %frame, i64 16
  %api = load ptr, ptr %api_at
  %extension_at = getelementptr i8, ptr %frame, i64 8
  %extension = load ptr, ptr %extension_at
  %execute = icmp eq ptr %extension, null
  br i1 %execute, label %start, label %describe

describe: ; XLA asks for XLA_FFI_Metadata: the version of the interface, and no traits.
  %metadata_at = getelementptr i8, ptr %extension, i64 24
  %metadata = load ptr, ptr %metadata_at
  %version_from = getelementptr i8, ptr %api, i64 32
  %version = load i64, ptr %version_from
  %version_to = getelementptr i8, ptr %metadata, i64 24
  store i64 %version, ptr %version_to
  %traits = getelementptr i8, ptr %metadata, i64 32
  store i32 0, ptr %traits
  ret ptr null

start: ; A job: next task, finished tasks, users, and the data of each XLA_FFI_Buffer.
  %job = call ptr @malloc(i64 {job_bytes})
  %finished = getelementptr i8, ptr %job, i64 8
  %users = getelementptr i8, ptr %job, i64 16
  store i64 0, ptr %job
  store i64 0, ptr %finished
  %inputs_at = getelementptr i8, ptr %frame, i64 72
  %inputs = load ptr, ptr %inputs_at
  %outputs_at = getelementptr i8, ptr %frame, i64 112
  %outputs = load ptr, ptr %outputs_at
{buffers_to_job}
  %context_at = getelementptr i8, ptr %frame, i64 24
  %context = load i64, ptr %context_at
  %query_1 = getelementptr i64, ptr %query, i64 1
  %query_2 = getelementptr i64, ptr %query, i64 2
  %query_3 = getelementptr i64, ptr %query, i64 3
  %query_4 = getelementptr i64, ptr %query, i64 4
  store i64 32, ptr %query ; XLA_FFI_ThreadPool_NumThreads_Args
  store i64 0, ptr %query_1
  store i64 %context, ptr %query_2
  store ptr %threads, ptr %query_3
  store i64 1, ptr %threads
  %count_threads_at = getelementptr i8, ptr %api, i64 144
  %count_threads = load ptr, ptr %count_threads_at
  %no_count = call ptr %count_threads(ptr %query)
  %available = load i64, ptr %threads
  %at_least_one = call i64 @llvm.smax.i64(i64 %available, i64 1)
  %workers = call i64 @llvm.smin.i64(i64 %at_least_one, i64 {tasks})
  %holders = add i64 %workers, 1
  store i64 %holders, ptr %users ; each worker, and the wait at the end
  store i64 40, ptr %query ; XLA_FFI_ThreadPool_Schedule_Args
  store ptr @work, ptr %query_3
  store ptr %job, ptr %query_4
  %schedule_at = getelementptr i8, ptr %api, i64 136
  %schedule = load ptr, ptr %schedule_at
  br label %hire
hire:
  %hired = phi i64 [ 1, %start ], [ %hired_now, %hire_one ]
  %enough = icmp sge i64 %hired, %workers
  br i1 %enough, label %own, label %hire_one
hire_one:
  %no_helper = call ptr %schedule(ptr %query)
  %hired_now = add i64 %hired, 1
  br label %hire
own:
  call void @work(ptr %job)
  br label %wait
wait:
  %done = load atomic i64, ptr %finished acquire, align 8
  %all = icmp eq i64 %done, {tasks}
  br i1 %all, label %end, label %again
again:
  %ignored = call i32 @sched_yield()
  br label %wait
end:
  call void @leave(ptr %job)
  ret ptr null
}}
"""


def register(name: str, task: str, inputs: int, outputs: int, tasks: int) -> None:
    """Compiles a task and registers it with XLA's CPU backend.

    Args:
        name: The target of `jax.ffi.ffi_call`.
        task: LLVM IR of `void task(i64 index, ptr inputs..., ptr outputs...)`, by an `Emitter`.
        inputs: Number of input arrays.
        outputs: Number of output arrays.
        tasks: Tasks of a call, numbered from 0; they may run in any order and at once.
    """
    address = compile_function(task + _handler(inputs, outputs, tasks), "handler")
    capsule = _capsule()(address, None, None)
    jax.ffi.register_ffi_target(name, capsule, platform="cpu")


@functools.cache
def _capsule() -> Any:
    make = ctypes.pythonapi.PyCapsule_New
    make.restype = ctypes.py_object
    make.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    return make


def _handler(inputs: int, outputs: int, tasks: int) -> str:
    places = [("inputs", k) for k in range(inputs)] + [("outputs", k) for k in range(outputs)]
    to_pointers, to_job = [], []
    for number, (source, k) in enumerate(places):
        place = _JOB_HEADER + 8 * number
        to_pointers += [
            f"%place_{number} = getelementptr i8, ptr %job, i64 {place}",
            f"%pointer_{number} = load ptr, ptr %place_{number}",
        ]
        to_job += [
            f"%buffer_at_{number} = getelementptr i8, ptr %{source}, i64 {8 * k}",
            f"%buffer_{number} = load ptr, ptr %buffer_at_{number}",
            f"%data_at_{number} = getelementptr i8, ptr %buffer_{number}, i64 24",
            f"%data_{number} = load ptr, ptr %data_at_{number}",
            f"%place_{number} = getelementptr i8, ptr %job, i64 {place}",
            f"store ptr %data_{number}, ptr %place_{number}",
        ]
    return _HANDLER.format(
        tasks=tasks,
        job_bytes=_JOB_HEADER + 8 * len(places),
        pointers=", ".join(f"ptr %pointer_{number}" for number in range(len(places))),
        job_to_pointers="\n".join(f"  {line}" for line in to_pointers),
        buffers_to_job="\n".join(f"  {line}" for line in to_job),
    )
