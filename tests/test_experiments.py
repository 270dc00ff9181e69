"""The scripts of experiments/ run from a clean checkout, and go on where they were cut off."""

import json

import numpy as np
import pytest
from PIL import Image

from command_line import python_outside
from shared import CHECKOUT
from unet_native.data.synthetic import synthetic_em

ROWS = "from runpy import run_module; run_module('experiments.{}', run_name='__main__')"

pytestmark = pytest.mark.skipif(
    not (CHECKOUT / "experiments").is_dir(), reason="no experiments beside these tests"
)


def run(script, tmp_path, *options):
    arguments = ["--work", tmp_path / "work", *options]
    done = python_outside(
        ROWS.format(script), *arguments, cwd=CHECKOUT, UNET_NATIVE_DATA=str(tmp_path / "data")
    )
    assert done.returncode == 0, done.stderr
    return done


def test_pytorch_trains_alike(tmp_path):
    pytest.importorskip("torch")
    run("pytorch_twin", tmp_path, "--iterations", "4", "--turns", "1", "--tile", "188")
    result = json.loads((tmp_path / "work" / "pytorch-twin.json").read_text())
    assert result["data"] == "synthetic"
    assert result["iterations"] == 4
    assert result["largest_relative_difference_of_losses"]["PyTorch"] < 1e-4
    losses = json.loads((tmp_path / "work" / "pytorch-twin-losses.json").read_text())
    assert len(set(losses["PyTorch"])) == 4


def write(path, plane):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(plane).save(path)


def test_a_row_trains_scores_and_goes_on(tmp_path):
    images, labels = synthetic_em(24, 64, seed=1)
    for index in range(24):
        write(tmp_path / "data/isbi2012/train/image" / f"{index}.png", images[index])
        label = np.where(labels[index] > 0, 255, 0).astype(np.uint8)
        write(tmp_path / "data/isbi2012/train/label" / f"{index}.png", label)
    published = sorted((CHECKOUT / "experiments" / "results").glob("*"))
    run("isbi2012", tmp_path, "--iterations", "2")
    path = tmp_path / "work" / "isbi2012-seed1" / "result.json"
    result = json.loads(path.read_text())
    assert result["iterations"] == 2
    assert set(result["scores"]) == {"averaged", "plain"}
    assert set(result["scores"]["plain"]["per_slice"]) == {"20", "21", "22", "23"}
    assert "warping_error" in result["scores"]["averaged"]
    fitted = sorted(p.stem for p in (path.parent / "fit" / "images").iterdir())
    assert fitted == sorted(map(str, range(16)))
    done = run("isbi2012", tmp_path, "--iterations", "3")
    assert "resumed at iteration 2" in done.stdout
    assert json.loads(path.read_text())["iterations"] == 3
    assert sorted((CHECKOUT / "experiments" / "results").glob("*")) == published
