"""Steps of three networks: uv run --group bench python -m benchmarks.train_step.

ResNet-18 is met twice: at 64 pixels its last stage is smaller than its kernels.
"""

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
    """Measures training steps (forward, backward and Adam) and forward passes, batch 32."""
    parser = arguments(__doc__ or "", rounds=9)
    flags = parser.parse_args()
    seed = {"size": 150, "batch": 32, "steps": 1 if flags.quick else 8}
    resnet = {"size": 128, "batch": 32, "steps": 1 if flags.quick else 2, "network": "resnet18"}
    lite = {"size": 224, "batch": 32, "steps": 1 if flags.quick else 2}
    rows, versions = compare("seed CNN, batch 32", "train_step", PEERS, seed, flags)
    others = [
        ("ResNet-18 at 64, batch 32", "train_step", {**resnet, "size": 64}),
        ("EfficientNet-Lite0 at 224, evaluation, batch 32", "forward", lite),
    ]
    if not flags.quick:
        others.insert(0, ("ResNet-18 at 128, batch 32", "train_step", resnet))
    for case, task, options in others:
        more, found = compare(case, task, PEERS, options, flags)
        rows, versions = rows + more, versions | found
    report(rows, versions, flags)


if __name__ == "__main__":
    main()
