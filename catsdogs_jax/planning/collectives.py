"""What devices say to each other in a compiled step, read from its machine code."""

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Sequence

_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "f32": 4, "s32": 4, "u32": 4, "f64": 8}
_KINDS = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute"
_LINE = re.compile(rf" = (?P<result>.*?) (?P<kind>{_KINDS})(?P<start>-start)?\((?P<rest>.*)")
_ARRAY = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
_CHANNEL = re.compile(r"channel_id=(\d+)")
_COMPUTATION = re.compile(r"^(?:ENTRY )?%?(?P<name>[\w.-]+) .*\{ *$")
# On TPUs a reduce-scatter is a computation of this name: an all-reduce, and a part cut out of it.
_SCATTER = "all-reduce-scatter"
_BODY = re.compile(r"\bbody=%?([\w.-]+)")
_CALLED = re.compile(r"\b(?:body|calls|to_apply)=%?([\w.-]+)")
# Between slices of TPUs hosts exchange what each device hands them.
_SEND = re.compile(
    r" = \((?P<result>\S+\[[\d,]*\]).* send\(.*"
    r'_xla_megascale_target="\{(?P<slices>[\d,:]*)\}.*'
    r'_xla_megascale_transfer_type="(?P<kind>\w+)"'
)


@dataclasses.dataclass(frozen=True)
class Collective:
    """One exchange between devices.

    Attributes:
        kind: XLA's name, for example "all-reduce".
        size: Bytes of its result on one device.
        group: Devices that take part in one exchange, each of another slice if it is between
            slices.
        between_slices: Whether it goes over the data centre's network.
    """

    kind: str
    size: int
    group: int
    between_slices: bool = False

    @property
    def name(self) -> str:
        """What it is in words."""
        return f"{self.kind} between slices" if self.between_slices else self.kind

    @property
    def sent(self) -> float:
        """Bytes that each device sends if the exchange goes round a ring, the least possible."""
        others = self.group - 1
        if self.kind == "all-reduce":
            return 2 * self.size * others / self.group
        if self.kind == "reduce-scatter":
            return self.size * others
        if self.kind == "collective-permute":
            return self.size
        return self.size * others / self.group


def read_collectives(code: str, devices: int, passes: int = 1) -> list[Collective]:
    """Returns the collectives of a compiled step; one that runs beside others counts once.

    Args:
        code: `compiled.as_text()`.
        devices: Number of devices, the group of a collective that names none.
        passes: How often the body of a loop runs: what it exchanges comes so often.
    """
    found, times, scatters, looped = {}, 1, False, _in_loops(code)
    for number, line in enumerate(code.splitlines()):
        if begins := _COMPUTATION.match(line):
            times = passes if begins["name"] in looped else 1
            scatters = begins["name"].startswith(_SCATTER)
        if crossing := _SEND.search(line):
            found["between slices", f"line {number}"] = _between_slices(crossing), times
        match = _LINE.search(line)
        if match is None:
            continue
        arrays = _ARRAY.findall(match["result"])
        # An asynchronous gather or permute returns its operand and what it waits on as well.
        if match["start"] and match["kind"] != "all-reduce":
            arrays = [max(arrays, key=_size)]
        channel = _CHANNEL.search(line)
        size = sum(map(_size, arrays))
        # What the compiler has put together all has the same channel.
        key = (match["kind"], size, channel[1] if channel else f"line {number}")
        kind, group = match["kind"], _group(match["rest"], devices)
        if scatters:
            kind, size = "reduce-scatter", size // group
        found[key] = Collective(kind, size, group), times
    return [each for each, times in found.values() if each.group > 1 for _ in range(times)]


def _in_loops(code: str) -> set[str]:
    """Returns the computations that run in the body of a loop."""
    calls: dict[str, set[str]] = {}
    called: set[str] = set()
    for line in code.splitlines():
        if begins := _COMPUTATION.match(line):
            called = calls.setdefault(begins["name"], set())
        called.update(_CALLED.findall(line))
    found, waiting = set(), set(_BODY.findall(code))
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting |= calls.get(name, set()) - found
    return found


def summarized(collectives: Sequence[Collective]) -> list[tuple[str, int, int]]:
    """Returns (kind, number, bytes together) of each kind, the largest first."""
    count: Counter[str] = Counter(each.name for each in collectives)
    size: Counter[str] = Counter()
    for each in collectives:
        size[each.name] += each.size
    return [(kind, count[kind], total) for kind, total in size.most_common()]


def _size(array: tuple[str, str]) -> int:
    kind, shape = array
    return _BYTES.get(kind, 4) * math.prod(int(n) for n in shape.split(",") if n)


def _between_slices(send: re.Match[str]) -> Collective:
    kind, slices = send["kind"].lower().replace("_", "-"), send["slices"].count(",") + 1
    given = sum(map(_size, _ARRAY.findall(send["result"])))
    # What is sent is the operand, not the result.
    size = {"all-gather": given * slices, "reduce-scatter": given // slices}.get(kind, given)
    return Collective(kind, size, slices, between_slices=True)


def _group(rest: str, devices: int) -> int:
    if mesh := re.search(r"replica_groups=mesh\[(.*?)\] \{(.*?)\}", rest):
        lengths = {name: int(n) for name, n in re.findall(r"'(\w+)'=(\d+)", mesh[1])}
        return math.prod(lengths[name] for name in re.findall(r"'(\w+)'", mesh[2]))
    if tiles := re.search(r"replica_groups=\[\d+,(\d+)\]", rest):
        return int(tiles[1])
    if members := re.search(r"replica_groups=\{\{([\d,]*)\}", rest):
        return members[1].count(",") + 1
    if pairs := re.search(r"source_target_pairs=\{(\{[\d,{}]*\})\}", rest):
        return len(set(re.findall(r"\d+", pairs[1])))
    return devices
