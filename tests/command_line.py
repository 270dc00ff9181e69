"""What the tests of the command line share."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import tifffile

from unet_native import cli

FAST = ["--depth", "2", "--base-width", "4", "--tile", "76"]
FAST += ["--iterations", "6", "--snapshot", "3", "--test-interval", "3"]


def write_folders(folder, images, labels):
    for name, stack in (("images", images), ("labels", 255 * labels)):
        (folder / name).mkdir(parents=True)
        for index, plane in enumerate(stack):
            tifffile.imwrite(folder / name / f"{index}.tif", plane)


def sources(data):
    return ["--images", str(data / "images"), "--labels", str(data / "labels")]


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def outside(*arguments, cwd=None, **environment):
    """The program as a process of its own, in the folder `cwd`."""
    program = "from unet_native.cli import main; main()"
    return python_outside(program, *arguments, cwd=cwd, **environment)


def python_outside(program, *arguments, cwd=None, **environment):
    """A program in Python as a process of its own, in the folder `cwd`."""
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )


def evaluated(capsys, *arguments):
    """What ``unet-native evaluate --json`` prints."""
    capsys.readouterr()
    assert cli.run(["evaluate", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)
