"""Fluorescent nuclei (CC0): fit a00-a15 and b, choose by a16-a19, score a20-a23.

    python -m experiments.nuclei
    python -m experiments.nuclei --without border-weights       w0 = 0: only class weights

One nucleus in seven touches another: SEG and F1 tell whether they are kept apart. Scored with the
objects of ``segment`` cut at their waists, and without that cut ("components", averaged too), where
the network alone must keep them apart.
"""

from __future__ import annotations

from experiments.row import Pair, Row, arguments, data_folder

NAME = "nuclei"
ITERATIONS = 9000
OPTIONS = ["--base-width", "16", "--tile", "412", "--base-lr", "0.004", "--lr-policy", "poly"]
OPTIONS += ["--warmup", "300", "--average", "dihedral8", "--label-kind", "instances"]


def pairs(names: list[str]) -> list[Pair]:
    folder = data_folder(NAME)
    return [(folder / "images" / f"{n}.png", folder / "labels" / f"{n}.tif") for n in names]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--without", choices=["border-weights"], help="leave them out")
    given = parser.parse_args()
    iterations = str(given.iterations or ITERATIONS)
    train = [*OPTIONS, "--iterations", iterations, "--seed", str(given.seed)]
    train += ["--test-interval", "1000", "--snapshot", "1000"]
    train += ["--w0", "0"] if given.without else []
    name = f"{NAME}-seed{given.seed}" + (f"-without-{given.without}" if given.without else "")
    labels = ["--label-kind", "instances"]
    publish = given.iterations is None
    row = Row(name, given.work, train, ["--metric", "ctc"], labels, publish=publish)
    a, b = ([f"{group}{i:02}" for i in range(24)] for group in "ab")
    row.fit(pairs(a[:16] + b[:12]), choose=pairs(a[16:20]))
    held = pairs(a[20:24])
    row.result(
        averaged=row.segmented(held),
        plain=row.segmented(held, "--average", "none"),
        components=row.segmented(held, "--objects", "components"),
    )


if __name__ == "__main__":
    main()
