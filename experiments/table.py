"""Writes the tables of README.md from results/.

python -m experiments.table
"""

from __future__ import annotations

import json
import re
import statistics
from typing import Any

from experiments.row import HERE, RESULTS
from unet_native.files import write_text

TITLES = {
    "v_rand": "V_Rand",
    "v_info": "V_Info",
    "warping_error": "warping error",
    "rand_error": "Rand error",
    "pixel_error": "pixel error",
    "seg": "SEG",
    "f1": "F1",
    "iou": "IoU",
}
DIGITS = {"warping_error": 6}


def main() -> None:
    results = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]
    sets: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        if "row" not in result:
            continue
        sets.setdefault(result["row"].split("-")[0], []).append(result)
    body = "\n\n".join(
        f"### {name}\n\n{table(rows)}{over_seeds(rows)}" for name, rows in sets.items()
    )
    body += "".join(f"\n\n### PyTorch\n\n{twin(r, sets)}" for r in results if "experiment" in r)
    path = HERE / "README.md"
    text = path.read_text(encoding="utf-8")
    section = f"<!-- begin results -->\n{body}\n<!-- end results -->"
    pattern = re.compile("<!-- begin results -->.*<!-- end results -->", re.DOTALL)
    write_text(path, pattern.sub(lambda _: section, text))


def table(results: list[dict[str, Any]]) -> str:
    """One line for each row and way to segment."""
    scored = [(r, how, scores) for r in results for how, scores in r["scores"].items()]
    shown = [key for key in TITLES if any(key in scores for _, _, scores in scored)]
    header = ["row", "segmented", "iterations", "training (min)", "chosen at"]
    lines = [[*header, *(TITLES[key] for key in shown)]]
    lines.append(["---"] * len(lines[0]))
    for result, how, scores in scored:
        trained = [result["iterations"], result["training_minutes"]] if result["iterations"] else []
        cells = [result["row"], how, *(trained or ["-", "-"])]
        cells.append(result["chosen"].get("iteration", "-"))
        for key in shown:
            value = scores.get(key)
            cells.append("-" if value is None else f"{value:.{DIGITS.get(key, 4)}f}")
        lines.append([str(cell) for cell in cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def twin(result: dict[str, Any], sets: dict[str, list[dict[str, Any]]]) -> str:
    """What ``pytorch_twin`` found, and the minutes to the same score that follow from it."""
    differences = result["largest_relative_difference_of_losses"]
    seconds = result["seconds_a_step"]
    lines = [
        f"The same network of {result['width']} channels, weights, tiles of {result['tile']} px "
        f"({result['data']}), dropout masks, schedule and update, over {result['iterations']} "
        f"iterations: the losses differ by {differences['PyTorch']:.1e} of their value at most, "
        "those of this project's two algorithms for the convolutions by "
        f"{differences['unet_native, direct']:.1e}. Median of a step, taking turns "
        f"({result['machine']}):",
        "",
        "| " + " | ".join(seconds) + " | ratio |",
        "| " + " | ".join(["---"] * (len(seconds) + 1)) + " |",
        "| " + " | ".join(f"{s:.3f} s" for s in seconds.values()) + f" | {result['ratio']} |",
    ]
    trained = [r for r in sets.get("isbi2012", ()) if r["row"] == "isbi2012-seed1"]
    if trained:
        count = trained[0]["iterations"]
        here, there = (count * s / 60 for s in (seconds["unet_native"], _best_peer(seconds)))
        lines += [
            "",
            f"Derived, not measured: the {count} iterations of isbi2012-seed1, and so its scores, "
            f"take {here:.0f} minutes here and {there:.0f} in PyTorch on these cores, without the "
            "time for making tiles.",
        ]
    return "\n".join(lines)


def _best_peer(seconds: dict[str, float]) -> float:
    return min(value for name, value in seconds.items() if name.startswith("PyTorch"))


def over_seeds(results: list[dict[str, Any]]) -> str:
    """Mean and extremes of V_Rand over the seeds of a row, if there are several."""
    seeds = [r for r in results if re.fullmatch(r"[a-z0-9_]+-seed\d+", r["row"])]
    lines = []
    for how in seeds[0]["scores"] if len(seeds) > 1 else ():
        values = [r["scores"][how]["v_rand"] for r in seeds]
        lines.append(
            f"V_Rand over {len(seeds)} seeds, {how}: mean {statistics.mean(values):.4f}, from "
            f"{min(values):.4f} to {max(values):.4f}."
        )
    return "".join(f"\n\n{line}" for line in lines)


if __name__ == "__main__":
    main()
