"""A training step of the seed CNN: uv run --group bench python -m benchmarks.train_step."""

from benchmarks.harness import arguments, compare, report

PEERS = [
    "pytorch",
    "pytorch tuned",
    "pytorch tuned compile",
    "keras tensorflow",
    "keras tensorflow tuned",
    "keras jax",
]


def main() -> None:
    """Measures 150x150 pictures, batch 32: forward, backward and Adam."""
    parser = arguments(__doc__ or "", rounds=9)
    flags = parser.parse_args()
    options = {"size": 150, "batch": 32, "steps": 1 if flags.quick else 8}
    rows, versions = compare("seed CNN, batch 32", "train_step", PEERS, options, flags)
    report(rows, versions, flags)


if __name__ == "__main__":
    main()
