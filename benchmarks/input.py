"""From files to batches: uv run --group bench python -m benchmarks.input."""

from benchmarks.harness import arguments, compare, photographs, report


def main() -> None:
    """Measures an epoch of the photographs, from the files and from the cache of decoded ones."""
    flags = arguments(__doc__ or "", rounds=5).parse_args()
    options = {"folder": str(photographs()), "size": 150, "batch": 20}
    peers = ["pytorch", "tf.data", "grain"]
    rows, versions = compare("files, 150 px", "read", peers, options, flags)
    cached = ["pytorch", "tf.data cached"]
    more, _ = compare("cached, 150 px", "read", cached, options, flags, ours="cached")
    report([*rows, *more], versions, flags)


if __name__ == "__main__":
    main()
