"""Reports as a real browser shows them: every picture decodes, nothing is cut off or asked for."""

import numpy as np
import pytest
from PIL import Image

from browser import ask, browser, screenshot
from command_line import FAST, sources
from reports import slices
from unet_native import cli
from unet_native.evaluate import ScoredObjects, evaluate, evaluate_objects
from unet_native.report.evaluate_report import write_evaluation

LONG = "a_rather_long_name_of_a_slice_as_microscopes_give_them_2015-05-18_0001"


@pytest.fixture(scope="module")
def pages(data, tmp_path_factory):
    """A report of each kind."""
    browser()
    folder = tmp_path_factory.mktemp("pages")
    run = folder / "run"
    command = ["train", *sources(data), "-o", str(run), "--validation", "2-3", *FAST]
    assert cli.run(command) == 0
    made = {"train": run / "report.html"}
    for name, classes in (("isbi", 2), ("classes", 6)):
        scored = slices(3, classes=classes)
        made[name] = folder / f"{name}.html"
        facts = [("prediction", LONG)]
        write_evaluation(made[name], evaluate(scored), scored, title=LONG, facts=facts)
    cells = [s.labels.astype(np.int32) for s in slices(2)]
    scored = [ScoredObjects(f"{LONG}{k}", plane, plane) for k, plane in enumerate(cells)]
    made["ctc"] = folder / "ctc.html"
    write_evaluation(made["ctc"], evaluate_objects(scored), scored, title="Objects")
    return made


LOOK = """
const images = [...document.images];
return {
  width: document.documentElement.clientWidth,
  needed: document.documentElement.scrollWidth,
  images: images.length,
  decoded: images.filter((image) => image.complete && image.naturalWidth > 0).length,
  empty: [...document.querySelectorAll("main > section, figure, svg.chart")]
    .filter((part) => part.getBoundingClientRect().height < 20).length,
  loaded: window.performance.getEntriesByType("resource").map((entry) => entry.name),
};
"""


@pytest.mark.parametrize("name", ["train", "isbi", "classes", "ctc"])
@pytest.mark.parametrize("width", [380, 1200])
def test_a_page_without_its_script_is_whole(pages, tmp_path, name, width):
    found = ask(tmp_path, pages[name], LOOK, width=width, scripts=False)
    assert found["needed"] <= found["width"], "it must not scroll sideways"
    assert width - 20 <= found["width"] <= width
    assert found["decoded"] == found["images"] > 0
    assert found["empty"] == 0
    assert [url for url in found["loaded"] if not url.startswith("data:")] == []


def test_layers_are_switched_without_a_script(pages, tmp_path):
    question = """
    const found = [];
    for (const figure of document.querySelectorAll("figure.layers")) {
      const images = [...figure.querySelectorAll(".stage img")];
      const seen = (image) => window.getComputedStyle(image).visibility === "visible";
      found.push(seen(images[0]));
      [...figure.querySelectorAll("input")].forEach((input, k) => {
        found.push(seen(images[k + 1]) === input.checked);
        figure.querySelectorAll("label")[k].click();
        found.push(seen(images[k + 1]) === input.checked);
        const [one, ground] = [images[k + 1], images[0]].map((i) => i.getBoundingClientRect());
        found.push(one.width === ground.width && one.height === ground.height);
      });
    }
    return found;
    """
    for name in ("train", "classes", "ctc"):
        found = ask(tmp_path, pages[name], question, width=1200, scripts=False)
        assert len(found) > 10
        assert all(found)


def test_a_click_sorts_a_table(pages, tmp_path):
    question = """
    const table = document.querySelector("table");
    const column = () => [...table.tBodies[0].rows].map((row) => row.cells[1].textContent);
    const button = table.tHead.rows[0].cells[1].querySelector("button");
    const columns = [column()];
    for (let k = 0; k < 2; ++k) { button.click(); columns.push(column()); }
    return { columns, foot: table.tFoot.rows[0].cells[0].textContent };
    """
    found = ask(tmp_path, pages["isbi"], question, width=1200, scripts=True)
    before, upwards, downwards = found["columns"]
    assert upwards == sorted(before, key=float)
    assert downwards == upwards[::-1]
    assert before != upwards, "else the test shows nothing"
    assert found["foot"] == "all 3"


CONTRAST = """
const rgb = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map(Number);
const light = (colour) => rgb(colour)
  .map((c) => c / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
  .reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0);
const ground = (element) => {
  for (let e = element; e; e = e.parentElement) {
    const colour = window.getComputedStyle(e).backgroundColor;
    if (!/, 0\\)$/.test(colour)) return colour;
  }
  return "rgb(255, 255, 255)";
};
const found = {};
for (const element of document.querySelectorAll("body, h1, p, a, dt, dd, strong, td, th, caption, "
    + "figcaption, label, .badge, .legend li, svg.chart text")) {
  const style = window.getComputedStyle(element);
  const drawn = element.closest("svg") ? style.fill : style.color;
  const [a, b] = [light(drawn), light(ground(element))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const name = element.tagName + "." + element.className;
  found[name] = Math.min(found[name] ?? 99, ratio);
}
return { found, ground: light(window.getComputedStyle(document.body).backgroundColor) };
"""


@pytest.mark.parametrize("dark", [False, True])
def test_text_is_readable_in_light_and_dark(pages, tmp_path, dark):
    """A contrast of 4.5 at least, as the Web Content Accessibility Guidelines 2.1 (1.4.3) ask."""
    answer = ask(tmp_path, pages["train"], CONTRAST, width=1200, scripts=False, dark=dark)
    assert (answer["ground"] < 0.1) == dark
    assert len(answer["found"]) > 8
    assert {name: ratio for name, ratio in answer["found"].items() if ratio < 4.5} == {}


@pytest.mark.parametrize("dark", [False, True])
def test_a_screenshot_shows_something(pages, tmp_path, dark):
    path = screenshot(tmp_path, pages["train"], 1200, 2000, dark)
    with Image.open(path) as picture:
        grey = np.asarray(picture.convert("L"), float)
    assert grey.shape == (2000, 1200)
    assert grey.std() > 10
    assert (np.median(grey) < 100) == dark
    bands = grey.reshape(4, 500, 1200).std(axis=(1, 2))
    assert (bands > 3).all(), "a part of the page is blank"
