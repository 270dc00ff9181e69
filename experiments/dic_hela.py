"""HeLa cells in DIC: fit 0-39, choose by 42-47, score 50-59 (gaps between: a film).

    python -m experiments.dic_hela

The terms of these images ask consent before results are published: they stay in the work folder.
"""

from __future__ import annotations

from collections.abc import Iterable

from experiments.row import Pair, Row, arguments, data_folder

NAME = "dic_hela"
ITERATIONS = 9000
OPTIONS = ["--base-width", "16", "--tile", "572", "--base-lr", "0.004", "--lr-policy", "poly"]
OPTIONS += ["--warmup", "300", "--average", "dihedral8", "--choose-by", "iou"]


def pairs(indices: Iterable[int]) -> list[Pair]:
    folder = data_folder(NAME) / "labelled"
    return [(folder / "images" / f"{i}.png", folder / "labels" / f"{i}.png") for i in indices]


def main() -> None:
    given = arguments(__doc__).parse_args()
    iterations = str(given.iterations or ITERATIONS)
    train = [*OPTIONS, "--iterations", iterations, "--seed", str(given.seed)]
    train += ["--test-interval", "1000", "--snapshot", "1000"]
    labels = ["--foreground", "zero"]  # cells are 0, background and borders 65535
    name = f"{NAME}-seed{given.seed}"
    row = Row(name, given.work, train, ["--metric", "iou"], labels, publish=False)
    row.fit(pairs(range(40)), choose=pairs(range(42, 48)))
    held = pairs(range(50, 60))
    row.result(averaged=row.segmented(held), plain=row.segmented(held, "--average", "none"))


if __name__ == "__main__":
    main()
