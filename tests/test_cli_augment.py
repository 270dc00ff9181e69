"""``unet-native augment``: the picture shows the tiles that a training makes."""

import numpy as np
import pytest
from PIL import Image

from command_line import contents, sources
from small_run import data_set
from unet_native import cli
from unet_native.contact_sheet import draw_contact_sheet
from unet_native.data.sampler import Sampler

SMALL = ["--tile", "76", "--depth", "2"]


def test_the_sheet_has_a_row_for_each_tile(data, tmp_path, capsys):
    heights = []
    for count in ("2", "4"):
        path = tmp_path / f"{count}.png"
        command = ["augment", *sources(data), "-o", str(path), "--count", count, *SMALL]
        assert cli.run(command) == 0
        assert f"{count} tiles" in capsys.readouterr().out
        picture = np.asarray(Image.open(path).convert("L"))
        assert picture.std() > 20, "not blank"
        heights.append(len(picture))
    assert heights[1] > 1.7 * heights[0]


def test_it_draws_the_tiles_of_the_sampler(tmp_path, monkeypatch):
    sampler = Sampler(data_set(), 76, 60, seed=3)
    drawn = []
    sample = sampler.sample
    monkeypatch.setattr(sampler, "sample", lambda k: drawn.append(k) or sample(k))
    draw_contact_sheet(tmp_path / "one.png", sampler, count=3, start=5)
    assert drawn == [5, 6, 7]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-o", "sheet.tif"], ".png"),
        (["-o", "sheet.png", "--tile", "75"], "tile of 75 pixels"),
        (["-o", "sheet.png", "--weight-map", "paper"], "use one of paper2015"),
        (["-o", "sheet.png", "--augmentation", "mixup"], "use paper2015, layer2019, none"),
    ],
)
def test_bad_input_costs_nothing(data, tmp_path, capsys, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    before = contents(data)
    assert cli.run(["augment", *sources(data), *SMALL, *options]) == 2
    assert words in capsys.readouterr().err
    assert contents(data) == before
    assert not list(tmp_path.glob("sheet*"))
