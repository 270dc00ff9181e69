"""ISBI 2012, electron micrographs: fit 0-15, choose by 16-19, score 20-23.

    python -m experiments.isbi2012 --seed 1                     also 2 and 3
    python -m experiments.isbi2012 --long                       five times as many iterations
    python -m experiments.isbi2012 --without weight-map         or augmentation

Scored with and without averaging over eight transforms of each slice.
"""

from __future__ import annotations

from collections.abc import Iterable

from experiments.row import Pair, Row, arguments, data_folder

NAME = "isbi2012"
ITERATIONS, LONG = 9000, 45000
OPTIONS = ["--base-width", "16", "--tile", "572", "--base-lr", "0.004", "--lr-policy", "poly"]
OPTIONS += ["--warmup", "300", "--average", "dihedral8"]
LEFT_OUT = {
    "weight-map": ["--weight-map", "uniform"],
    "augmentation": ["--augmentation", "none"],
}


def pairs(indices: Iterable[int]) -> list[Pair]:
    folder = data_folder(NAME) / "train"
    return [(folder / "image" / f"{i}.png", folder / "label" / f"{i}.png") for i in indices]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--long", action="store_true", help="five times as many iterations")
    parser.add_argument("--without", choices=LEFT_OUT, help="leave a part of the recipe out")
    given = parser.parse_args()
    iterations = given.iterations or (LONG if given.long else ITERATIONS)
    parts = [NAME, f"seed{given.seed}"]
    parts += ["long"] if given.long else []
    parts += [f"without-{given.without}"] if given.without else []
    train = [*OPTIONS, "--iterations", str(iterations), "--seed", str(given.seed)]
    train += ["--test-interval", "1000", "--snapshot", "1000", *LEFT_OUT.get(given.without, [])]
    score = ["--warping"]
    row = Row("-".join(parts), given.work, train, score, publish=given.iterations is None)
    row.fit(pairs(range(16)), choose=pairs(range(16, 20)))
    held = pairs(range(20, 24))
    row.result(averaged=row.segmented(held), plain=row.segmented(held, "--average", "none"))


if __name__ == "__main__":
    main()
