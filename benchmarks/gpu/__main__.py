"""Everything about a GPU in one command, on a machine where nothing else is prepared.

``python -m benchmarks.gpu`` checks every op and the whole network against the CPU, then times each
layer and pass, the step, inference and segmentation in every math, against cuDNN and PyTorch where
they are, and writes benchmarks/gpu.md.

``python -m benchmarks.gpu --device cuda-simt --quick`` does the checks where there is no GPU.

Exit code 0: all is well; 1: a result is wrong, and nothing was timed; 2: there is no such device.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.gpu import check, cudnn, machine, page, pytorch, race, whole
from benchmarks.gpu.cases import cases
from benchmarks.gpu.gpus import MATHS
from benchmarks.peers.problem import Problem
from unet_native.files import write_text
from unet_native.ops import Context

PAGE = Path(__file__).parents[1] / "gpu.md"
FULL = (572, 64)  # tile, width
QUICK = {"cuda": (316, 32)}
QUICK_WITHOUT_GPU = (188, 4)  # the least tile of the network


def parser() -> argparse.ArgumentParser:
    described = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = described.add_argument
    add("--device", default="cuda", help="cuda, or cuda-simt, on which nothing is timed")
    add("--gpu", type=int, default=0, help="which one, counted from 0")
    add("--quick", action="store_true", help="a smaller network, fewer repetitions")
    add("--tile", type=int, help=f"pixels a side of the input tile (default {FULL[0]})")
    add("--width", type=int, help=f"channels of the first level (default {FULL[1]})")
    add("--math", action="append", choices=MATHS, help="one of them (default all); repeatable")
    add("--repeats", type=int, help="repetitions in each turn (default 30, quick 10)")
    add("--turns", type=int, default=3, help="how often the competitors take turns")
    add("--install-cudnn", action="store_true", help=f"pip install {cudnn.PACKAGE} first")
    add("--no-cudnn", action="store_true", help="do not race cuDNN")
    add("--no-pytorch", action="store_true", help="do not race PyTorch")
    add("--output", type=Path, default=PAGE, help="the page (default benchmarks/gpu.md)")
    add("--json", type=Path, help="everything that was measured, as a file of its own")
    return described


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    if why := machine.obstacle(options.device, options.gpu):
        print(f"python -m benchmarks.gpu: {why}", file=sys.stderr)
        return 2
    tile, width = QUICK.get(options.device, QUICK_WITHOUT_GPU) if options.quick else FULL
    problem = Problem(options.tile or tile, options.width or width)
    contexts, remarks = check.contexts(options.device, options.gpu, options.math or MATHS)
    print(f"{options.device}, tile {problem.tile}, width {problem.width}, {', '.join(contexts)}")
    for remark in remarks:
        print(remark)

    findings = check.check(cases(problem.tile, problem.width), contexts, _say)
    findings += whole.check(problem, contexts, _say)
    if wrong := [finding for finding in findings if not finding.is_good]:
        print(f"{len(wrong)} of {len(findings)} checks failed; nothing was timed", file=sys.stderr)
        return 1
    print(f"all {len(findings)} checks passed")
    measured = {
        "tile": problem.tile,
        "width": problem.width,
        "checks": [dataclasses.asdict(finding) for finding in findings],
        "remarks": remarks,
    }
    if options.device != "cuda":
        print(f"nothing was timed: {options.device} is no GPU")
    else:
        measured |= _timed(problem, contexts, options, remarks)
        write_text(options.output, page.page(measured))
        print("\n".join(page.verdicts(measured)))
        print(options.output)
    if options.json:
        write_text(options.json, json.dumps(measured, indent=1) + "\n")
    return 0


def _timed(
    problem: Problem, contexts: dict[str, Context], options: argparse.Namespace, remarks: list[str]
) -> dict[str, Any]:
    """Peers that are missing are named in `remarks`."""
    repeats = options.repeats or (10 if options.quick else 30)
    with ExitStack() as stack:
        library = None
        if not options.no_cudnn:
            try:
                if options.install_cudnn:
                    cudnn.install()
                library = stack.enter_context(cudnn.running(options.gpu))
            except cudnn.CudnnError as error:
                remarks.append(f"without cuDNN: {error}")
        eager = None
        if not options.no_pytorch:
            if why := pytorch.obstacle():
                remarks.append(f"without PyTorch: {why}")
            else:
                eager = pytorch.PyTorch(options.gpu)
        layers = race.race(
            cases(problem.tile, problem.width),
            contexts,
            library,
            eager,
            repeats=repeats,
            turns=options.turns,
            say=_say_row,
        )
        facts = machine.facts(options.gpu)
        networks = whole.race(problem, contexts, eager, repeats=repeats, say=_say_row)
        versions = {race.CUDNN: library.version} if library else {}
        versions |= {race.PYTORCH: eager.version} if eager else {}
    return {
        "machine": facts,
        "peers": versions,
        "repeats": repeats,
        "turns": options.turns,
        "layers": layers,
        "whole": networks,
    }


def _say(finding: check.Finding) -> None:
    print(finding, flush=True)


def _say_row(row: dict[str, Any]) -> None:
    what = row.get("mode") or f"{row['layer']} {row['pass']}"
    times = ", ".join(f"{name} {seconds * 1e3:.3f} ms" for name, seconds in row["seconds"].items())
    print(f"{what}, {row['math']}: {times}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
