"""A whole epoch of the notebook's experiment: python -m benchmarks.end_to_end."""

from benchmarks.harness import arguments, compare, photographs, report


def main() -> None:
    """Measures reading, augmentation and training of the photographs."""
    flags = arguments(__doc__ or "", rounds=5).parse_args()
    steps = 2 if flags.quick else 50
    options = {"folder": str(photographs()), "batch": 20, "steps": steps}
    peers = ["keras tensorflow", "keras jax"]
    rows, versions = compare("epoch of seed_cnn", "epoch", peers, options, flags)
    report(rows, versions, flags)


if __name__ == "__main__":
    main()
