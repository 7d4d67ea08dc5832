"""Promises of what is read from machine code: each exchange, its kind, size and group."""

import pytest

from catsdogs_jax.planning import report
from catsdogs_jax.planning.chips import CHIPS
from catsdogs_jax.planning.collectives import Collective, read_collectives, summarized
from catsdogs_jax.planning.costs import StepCosts


def test_collectives_are_read_from_machine_code() -> None:
    code = """
  %a = f32[4,8]{1,0} all-reduce(%x), channel_id=1, replica_groups={{0,1,2,3}}, to_apply=%sum
  %b = (bf16[4]{0}, bf16[16]{0}) all-gather-start(%x), channel_id=2, replica_groups=[2,4]<=[8]
  %b2 = bf16[16]{0} all-gather(%x), channel_id=2, replica_groups=[2,4]<=[8], dimensions={0}
  %c = f32[2]{0} reduce-scatter(%x), channel_id=3, replica_groups=mesh['a'=2,'b'=4] {'b'}
  %d = f32[2]{0} all-reduce(%x), channel_id=4, replica_groups=mesh['a'=8,'b'=1] {'b'}
  %e = f32[2]{0} collective-permute(%x), channel_id=5, source_target_pairs={{0,1},{1,2}}
"""
    assert read_collectives(code, 8) == [
        Collective("all-reduce", 128, 4),
        Collective("all-gather", 32, 4),
        Collective("reduce-scatter", 8, 4),
        Collective("collective-permute", 8, 3),
    ]
    assert [each.sent for each in read_collectives(code, 8)] == [192, 24, 24, 8]


def test_what_a_loop_exchanges_counts_in_each_pass() -> None:
    code = """
%fused (a: f32[4]) -> f32[4] {
  ROOT %g = f32[8]{0} all-gather(%x), channel_id=1, replica_groups=[2,4]<=[8], dimensions={0}
}
%body.1 (a: f32[4]) -> f32[4] {
  %f = f32[8]{0} fusion(%a), kind=kCustom, calls=%fused
  %r = f32[4]{0} all-reduce(%f), channel_id=2, replica_groups={{0,1,2,3}}, to_apply=%sum
}
ENTRY %main (a: f32[4]) -> f32[4] {
  %w = f32[4]{0} while(%a), condition=%cond, body=%body.1
  %s = f32[2]{0} all-reduce(%w), channel_id=3, replica_groups={{0,1,2,3}}, to_apply=%sum
}
"""
    found = summarized(read_collectives(code, 4, passes=3))
    assert found == [("all-gather", 3, 96), ("all-reduce", 4, 56)]
    assert summarized(read_collectives(code, 4)) == [("all-gather", 1, 32), ("all-reduce", 2, 24)]


def test_a_part_cut_out_of_a_sum_is_a_reduce_scatter_and_channels_may_be_shared() -> None:
    code = """
%all-reduce-scatter.1 (a: f32[64,2]) -> f32[16,2] {
  %r = f32[64,2]{1,0} all-reduce(%a), channel_id=1, replica_groups={{0,1,2,3}}, to_apply=%sum
  ROOT %d = f32[16,2]{1,0} dynamic-slice(%r, %at, %zero), dynamic_slice_sizes={16,2}
}
ENTRY %main (a: f32[64,2]) -> f32[16,2] {
  %f = f32[16,2]{1,0} fusion(%a), kind=kCustom, calls=%all-reduce-scatter.1
  %s = f32[2]{0} all-reduce(%f), channel_id=1, replica_groups={{0,1,2,3}}, to_apply=%sum
}
"""
    found = read_collectives(code, 4)
    assert found == [Collective("reduce-scatter", 128, 4), Collective("all-reduce", 8, 4)]


def test_what_crosses_between_slices_is_read_from_machine_code() -> None:
    code = """
  %r = (f32[8,128]{1,0:T(8,128)}, u32[], token[]) recv(%t), channel_id=1, is_host_transfer=true, \
frontend_attributes={_xla_megascale_target="{1,2}x{0:7}",_xla_megascale_transfer_type="ALL_REDUCE"}
  %s = (f32[8,128]{1,0:T(8,128)}, u32[], token[]) send(%x, %t), channel_id=2, \
frontend_attributes={_xla_megascale_target="{1,2}x{0:7}",_xla_megascale_transfer_type="ALL_REDUCE"}
  %d = token[] send-done(%s), channel_id=2, frontend_attributes={handler="xla_megascale_runtime"}
"""
    found = read_collectives(code, 16)
    assert found == [Collective("all-reduce", 4096, 2, between_slices=True)]
    assert summarized(found) == [("all-reduce between slices", 1, 4096)]
    (gathered,) = read_collectives(code.replace("ALL_REDUCE", "ALL_GATHER"), 16)
    assert gathered.sent == 4096  # What is given to it, once.
    step = StepCosts(0.0, 0.0, 0, found)
    assert step.seconds(CHIPS["v5e"])["network"] == pytest.approx(4096 / 3.125e9)
    assert step.seconds(CHIPS["v5e"])["interconnect"] == 0
    assert "not in the times" in report.collectives(step, CHIPS["v4"])[1]
