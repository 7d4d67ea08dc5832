"""Peak memory of training the seed CNN: uv run --group bench python -m benchmarks.memory."""

from benchmarks.harness import arguments, compare, report
from benchmarks.train_step import PEERS


def main() -> None:
    """Measures the greatest resident size of each process, its libraries included."""
    flags = arguments(__doc__ or "", rounds=3).parse_args()
    options = {"size": 150, "batch": 32, "steps": 1 if flags.quick else 4}
    case = "seed CNN, batch 32, peak RSS"
    rows, versions = compare(
        case, "train_step", PEERS, options, flags, key="peak_rss_mib", unit="MiB"
    )
    report(rows, versions, flags)


if __name__ == "__main__":
    main()
