"""Peak memory of training the seed CNN: uv run --group bench python -m benchmarks.memory."""

from benchmarks.harness import OURS, Row, arguments, compare, report
from benchmarks.systems.ours import device_mebibytes
from benchmarks.train_step import PEERS


def main() -> None:
    """Measures the greatest resident size of each process, and what XLA plans for our step."""
    flags = arguments(__doc__ or "", rounds=3).parse_args()
    options = {"size": 150, "batch": 32, "steps": 1 if flags.quick else 4}
    case = "seed CNN, batch 32, peak RSS"
    rows, versions = compare(
        case, "train_step", PEERS, options, flags, key="peak_rss_mib", unit="MiB"
    )
    planned = device_mebibytes(options["size"], options["batch"])
    rows += [
        Row(f"seed CNN, batch 32, device {kind}", OURS, size, "MiB", None, size, size, 1)
        for kind, size in planned.items()
    ]
    report(rows, versions, flags)


if __name__ == "__main__":
    main()
