"""Steps of three networks: uv run --group bench python -m benchmarks.train_step.

ResNet-18 is met twice: at 64 pixels its last stage is smaller than its kernels.
"""

from benchmarks.harness import QUICK_STEP, arguments, compare, report

PEERS = [
    "pytorch",
    "pytorch tuned",
    "pytorch tuned compile",
    "keras tensorflow",
    "keras tensorflow tuned",
    "keras jax",
]


def main() -> None:
    """Measures training steps (forward, backward and Adam) and forward passes, batch 32."""
    parser = arguments(__doc__ or "", rounds=9)
    flags = parser.parse_args()
    seed = {"size": 150, "batch": 32, "steps": 8}
    resnet = {"size": 128, "batch": 32, "steps": 2, "network": "resnet18"}
    lite = {"size": 224, "batch": 32, "steps": 2}
    if flags.quick:
        seed, lite = QUICK_STEP, {"size": 64, "batch": 4, "steps": 1}
    case = f"seed CNN, batch {seed['batch']}"
    rows, versions = compare(case, "train_step", PEERS, seed, flags)
    case = f"EfficientNet-Lite0 at {lite['size']}, evaluation, batch {lite['batch']}"
    others = [(case, "forward", lite)]
    if not flags.quick:  # A minute to compile.
        for size in (64, 128):
            case = f"ResNet-18 at {size}, batch 32"
            others.insert(0, (case, "train_step", {**resnet, "size": size}))
    for case, task, options in others:
        more, found = compare(case, task, PEERS, options, flags)
        rows, versions = rows + more, versions | found
    report(rows, versions, flags)


if __name__ == "__main__":
    main()
