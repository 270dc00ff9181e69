"""Drosophila VNC, electron micrographs: fit 0-9, choose by 10-12, score 13-15.

python -m experiments.vnc_stack1
python -m experiments.vnc_stack1 --from work/isbi2012-seed1/run     without any training
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from experiments import isbi2012
from experiments.row import Pair, Row, arguments, data_folder

NAME = "vnc_stack1"


def pairs(indices: Iterable[int]) -> list[Pair]:
    folder = data_folder(NAME)
    return [(folder / "raw" / f"{i:02}.tif", folder / "membranes" / f"{i:02}.png") for i in indices]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--from", dest="run", type=Path, help="a run whose network is scored")
    given = parser.parse_args()
    held = pairs(range(13, 16))
    iterations = str(given.iterations or isbi2012.ITERATIONS)
    train = [*isbi2012.OPTIONS, "--iterations", iterations, "--seed", str(given.seed)]
    train += ["--test-interval", "1000", "--snapshot", "1000"]
    labels = ["--foreground", "zero"]  # 1 is membrane here, 0 the interior
    if given.run is not None:
        row = Row(f"{NAME}-from-{given.run.parent.name}", given.work, [], [], labels)
        row.result(averaged=row.segmented(held, run=given.run))
        return
    name, publish = f"{NAME}-seed{given.seed}", given.iterations is None
    row = Row(name, given.work, train, [], labels, publish=publish)
    row.fit(pairs(range(10)), choose=pairs(range(10, 13)))
    row.result(averaged=row.segmented(held), plain=row.segmented(held, "--average", "none"))


if __name__ == "__main__":
    main()
