"""Promises of the watchdog: silent while a run moves, else it shows where every thread is."""

import subprocess
import sys

CODE = """
import threading, time
from catsdogs_jax.training.watchdog import Watchdog

def waits_in_vain():
    time.sleep(9)

threading.Thread(target=waits_in_vain, daemon=True).start()
with Watchdog({wait}) as watchdog:
    for _ in range(10):
        time.sleep(0.1)
        watchdog.pat()
    print("moved", flush=True)
    time.sleep({stall})
"""


def said(wait: float | None, stall: float) -> str:
    code = CODE.format(wait=wait, stall=stall)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stderr


def test_a_run_that_moves_hears_nothing_and_one_that_stands_still_sees_every_thread() -> None:
    assert said(wait=0.6, stall=0.0) == ""
    told = said(wait=0.6, stall=1.0)
    assert "Timeout" in told
    assert "waits_in_vain" in told  # A thread other than the one that should have moved.
    assert "<module>" in told


def test_without_a_time_it_never_speaks() -> None:
    assert said(wait=None, stall=1.0) == ""
