"""Scripts as users of pycaffe have them. One change makes each run: what `import caffe` imports."""

from __future__ import annotations

import numpy as np
import pytest

import small_caffe
from command_line import python_outside
from unet_native.caffe import pycaffe


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Runs a script of pycaffe's in a folder with Caffe's files; returns its variables."""
    small_caffe.write_all(tmp_path, max_iter=100, display=0, snapshot=0, test_interval=1000)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pycaffe, "_seed", [])

    def run(text: str) -> dict:
        variables: dict = {}
        exec(compile(changed(text), "script.py", "exec"), variables)
        return variables

    return run


def changed(text: str) -> str:
    """With this project in place of pycaffe."""
    text = text.replace("import caffe\n", "import unet_native as caffe\n")
    return text.replace("from caffe.proto ", "from unet_native.proto ")


# --- training, losses and accuracies kept for a plot (as in the notebook 01-learning-lenet) ---

TRAIN = """
import numpy as np
import caffe

caffe.set_device(0)
caffe.set_mode_cpu()
solver = caffe.SGDSolver('solver.prototxt')
shapes = [(k, v.data.shape) for k, v in solver.net.blobs.items()]
sizes = [(k, v[0].data.shape, v[1].data.shape) for k, v in solver.net.params.items()]

niter, test_interval = 40, 10
train_loss = np.zeros(niter)
test_acc = np.zeros(int(np.ceil(niter / test_interval)))
told = []
output = np.zeros((niter, 2, 2, 10, 10))
for it in range(niter):
    solver.step(1)
    train_loss[it] = solver.net.blobs['loss'].data
    solver.test_nets[0].forward(start='conv_d0a-b')
    output[it] = solver.test_nets[0].blobs['score'].data
    if it % test_interval == 0:
        correct = 0
        for test_it in range(2):
            told.append(float(solver.test_nets[0].forward()['accuracy']))
            score = solver.test_nets[0].blobs['score'].data
            correct += (score.argmax(1) == solver.test_nets[0].blobs['label'].data[:, 0]).sum()
        test_acc[it // test_interval] = correct / 400.0
"""


def test_training(script):
    found = script(TRAIN)
    solver, loss = found["solver"], found["train_loss"]
    assert ("score", (2, 2, 10, 10)) in found["shapes"]
    assert ("upconv_d1b_u0a", (6, 3, 2, 2), (3,)) in found["sizes"]
    assert solver.iter == 40
    assert (loss > 0).all()
    assert loss[-5:].mean() < 0.75 * loss[:5].mean()
    accuracies = np.array(found["told"]).reshape(-1, 2).mean(1)
    assert found["test_acc"] == pytest.approx(accuracies, abs=1e-6)
    assert accuracies[-1] > max(0.6, accuracies[0])
    assert found["output"][0].any()
    assert np.ptp(found["output"], axis=0).max() > 0.1, "the test net shares what is trained"
    again = pycaffe.SGDSolver("solver.prototxt")
    again.step(40)
    assert float(again.net.blobs["loss"].data) == loss[-1]


def test_training_as_a_program(tmp_path):
    small_caffe.write_all(tmp_path)
    report = "\nprint(solver.iter, train_loss[-1] < train_loss[0], shapes[0])\n"
    done = python_outside(changed(TRAIN) + report, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "40 True ('data', (2, 1, 16, 16))\n"
    assert done.stderr == ""


# --- net surgery (as in the notebook net_surgery) ---

SURGERY = """
import caffe
from caffe.proto import caffe_pb2

caffe.get_solver('solver.prototxt').net.save('whole.caffemodel')
net = caffe.Net('deploy.prototxt', 'whole.caffemodel', caffe.TEST)
params = ['conv_u0c-score']
old_params = {pr: (net.params[pr][0].data, net.params[pr][1].data) for pr in params}
net_full = caffe.Net('three.prototxt', 'whole.caffemodel', caffe.TEST)
params_full = ['score-three']
new_params = {pr: (net_full.params[pr][0].data, net_full.params[pr][1].data) for pr in params_full}
for pr, pr_new in zip(params, params_full):
    new_params[pr_new][0].flat[:old_params[pr][0].size] = old_params[pr][0].flat
    new_params[pr_new][1][:2] = old_params[pr][1] + [0.5, -0.25]
net_full.save('three.caffemodel')

image = net.blobs['data'].data
image[0, 0] = [[(r * 7 + c * 3) % 5 - 2 for c in range(16)] for r in range(16)]
score = net.forward(blobs=['score'])['score'].copy()
net_full.blobs['data'].data[...] = image
full = net_full.forward(blobs=['score'])['score'].copy()
saved = caffe_pb2.NetParameter()
with open('three.caffemodel', 'rb') as f:
    saved.ParseFromString(f.read())
again = caffe.Net('three.prototxt', caffe.TEST, weights='three.caffemodel')
again.forward(data=image)
"""


def test_net_surgery(script, tmp_path):
    three = small_caffe.deploy_net(classes=3, score="score-three")
    (tmp_path / "three.prototxt").write_text(three)
    found = script(SURGERY)
    assert found["score"].any()
    shifted = found["score"] + np.float32([0.5, -0.25])[:, None, None]
    np.testing.assert_allclose(found["full"][:, :2], shifted, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(found["again"].blobs["score"].data, found["full"])
    layers = {layer.name: layer for layer in found["saved"].layer}
    assert list(layers["score-three"].blobs[0].shape.dim) == [3, 6, 1, 1]
    stored = np.array(layers["score-three"].blobs[0].data, np.float32)
    np.testing.assert_array_equal(
        stored, found["net_full"].params["score-three"][0].data.reshape(-1)
    )


# --- features ---

FEATURES = """
import numpy as np
import caffe

caffe.set_mode_cpu()
caffe.get_solver('solver.prototxt').net.save_hdf5('whole.caffemodel.h5')
net = caffe.Net(network_file='deploy.prototxt', phase=caffe.TEST, weights='whole.caffemodel.h5')
images = [np.random.RandomState(i).randn(1, s, s) for i, s in enumerate((16, 20, 24))]
features = []
for image in images:
    net.blobs['data'].reshape(1, *image.shape)
    net.reshape()
    net.blobs['data'].data[...] = image
    out = net.forward(blobs=['d0b'], end='relu_d1b')
    features.append((out['d1b'].copy(), out['d0b'].copy()))
kept = {k: v.data.copy() for k, v in net.blobs.items() if k in ('u0a', 'prob')}
whole = net.forward()['prob'].copy()
net.blobs['data'].reshape(2, 1, 16, 16)
batches = net.forward_all(blobs=['d1b'], data=np.stack([images[0], images[0] + 1, images[0]]))
"""


def test_features(script):
    found = script(FEATURES)
    net = found["net"]
    assert [one.shape for one, _ in found["features"]] == [(1, 6, s, s) for s in (5, 7, 9)]
    weight, bias = (blob.data for blob in net.params["conv_d0a-b"])
    for image, (_, d0b) in zip(found["images"], found["features"], strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(image[0], (3, 3))
        expected = np.einsum("yxkl,okl->oyx", windows, weight[:, 0]) + bias[:, None, None]
        np.testing.assert_allclose(d0b[0], np.maximum(expected, 0), rtol=0, atol=1e-5)
    assert not any(array.any() for array in found["kept"].values()), "layers behind `end` rest"
    assert found["whole"].sum(1) == pytest.approx(np.ones((1, 18, 18)), abs=1e-6)
    batches = found["batches"]
    assert {name: array.shape for name, array in batches.items()} == {
        "prob": (3, 2, 10, 10),
        "d1b": (3, 6, 5, 5),
    }
    np.testing.assert_array_equal(batches["d1b"][0], batches["d1b"][2])
    np.testing.assert_allclose(
        batches["d1b"][0], found["features"][0][0][0], rtol=0, atol=1e-6
    )  # other strips of rows may be other sums
    assert not np.allclose(batches["d1b"][0], batches["d1b"][1])


# --- the gradient of the input, as for saliency maps and dreams ---

SALIENCY = """
import numpy as np
import caffe

caffe.set_random_seed(4)
net = caffe.Net('forced.prototxt', caffe.TEST)
for blobs in net.params.values():
    blobs[1].data[...] = 0.1
net.blobs['data'].data[...] = np.random.RandomState(0).randn(*net.blobs['data'].data.shape)
src, dst, end = net.blobs['data'], net.blobs['score'], 'conv_u0c-score'
net.forward(end=end)
dst.diff[...] = 0
dst.diff[1, 1, 4, 5] = 1
net.backward(start=end)
gradient = src.diff.copy()
differences = {}
for y, x in ((6, 7), (7, 8), (4, 4), (0, 0), (15, 15)):
    old = src.data[1, 0, y, x]
    values = []
    for step in (0.001, -0.001):
        src.data[1, 0, y, x] = old + step
        net.forward(end=end)
        values.append(float(dst.data[1, 1, 4, 5]))
    src.data[1, 0, y, x] = old
    differences[y, x] = (values[0] - values[1]) / 0.002
src.data[1] += 0.01 * gradient[1] / np.abs(gradient[1]).mean()
before = float(dst.data[1, 1, 4, 5])
net.forward(end=end)
after = float(dst.data[1, 1, 4, 5])
"""


def test_gradient_of_the_input(script, tmp_path):
    (tmp_path / "forced.prototxt").write_text(small_caffe.deploy_net("force_backward: true"))
    found = script(SALIENCY)
    gradient = found["gradient"]
    assert gradient.shape == (2, 1, 16, 16)
    assert not gradient[0].any(), "the other image has no part in it"
    assert np.count_nonzero(gradient[1]) >= 20
    for (y, x), difference in found["differences"].items():
        # float32 scores of about 1 differ by 1e-7, over a step of 2e-3
        assert gradient[1, 0, y, x] == pytest.approx(difference, abs=5e-4)
    assert found["after"] > found["before"]


# --- fine-tuning ---

FINE_TUNE = """
import caffe

pretrained = caffe.get_solver('solver.prototxt')
pretrained.step(3)
pretrained.net.save('whole.caffemodel')
solver = caffe.get_solver('fine_solver.prototxt')
fresh = {k: [b.data.copy() for b in v] for k, v in solver.net.params.items()}
solver.net.copy_from('whole.caffemodel')
solver.test_nets[0].share_with(solver.net)
copied = {k: [b.data.copy() for b in v] for k, v in solver.net.params.items()}
theirs = {k: [b.data.copy() for b in v] for k, v in pretrained.net.params.items()}
solver.step(2)
tuned = {k: [b.data.copy() for b in v] for k, v in solver.net.params.items()}
tested = {k: [b.data for b in v] for k, v in solver.test_nets[0].params.items()}
"""


def test_fine_tuning(script, tmp_path):
    net = small_caffe.train_net(classes=3, score="score-three")
    frozen = net.replace("lr_mult: 1", "lr_mult: 0", 1).replace("lr_mult: 2", "lr_mult: 0", 1)
    (tmp_path / "fine.prototxt").write_text(frozen)
    fine = small_caffe.solver_text(net='"fine.prototxt"', display=0, weight_decay=None)
    (tmp_path / "fine_solver.prototxt").write_text(fine)
    found = script(FINE_TUNE)
    fresh, copied, theirs, tuned, tested = (
        found[name] for name in ("fresh", "copied", "theirs", "tuned", "tested")
    )
    for name, arrays in copied.items():
        expected = fresh[name] if name == "score-three" else theirs[name]
        for i, array in enumerate(arrays):
            np.testing.assert_array_equal(array, expected[i])
            np.testing.assert_array_equal(tested[name][i], tuned[name][i])
            assert np.array_equal(tuned[name][i], array) == (name == "conv_d0a-b"), (name, i)


# --- snapshots ---

SNAPSHOTS = """
import caffe

solver = caffe.get_solver('solver.prototxt')
solver.step(4)
solver.snapshot()
solver.net.save('four.caffemodel')
solver.step(3)
resumed = caffe.get_solver('solver.prototxt')
resumed.restore('run_iter_4.solverstate')
at = resumed.iter, resumed.lr
net = caffe.Net('deploy.prototxt', 'four.caffemodel', caffe.TEST)
same = all((net.params[k][i].data == resumed.net.params[k][i].data).all()
           for k in net.params for i in range(2))
resumed.step(3)
"""


def test_snapshots(script, tmp_path):
    """The four samples, two a pass, come round at iteration 4: both see the same data."""
    found = script(SNAPSHOTS)
    assert found["at"] == (4, pytest.approx(0.05))
    assert found["same"]
    solver, resumed = found["solver"], found["resumed"]
    assert solver.iter == resumed.iter == 7
    for one, two in zip(solver.net.parameters, resumed.net.parameters, strict=True):
        np.testing.assert_array_equal(one.blob.data, two.blob.data)
    model = tmp_path / "run_iter_4.caffemodel"
    assert model.read_bytes() == (tmp_path / "four.caffemodel").read_bytes()


# --- one's own training loop, and the check of its gradients ---

LOOP = """
import numpy as np
import caffe

solver = caffe.get_solver('plain_solver.prototxt')
net = caffe.Net('net.prototxt', caffe.TRAIN)
net.share_with(solver.net)
start = {k: [b.data.copy() for b in v] for k, v in net.params.items()}
net.clear_param_diffs()
net.forward()
net.backward()
for name, blobs in net.params.items():
    for blob in blobs:
        blob.data[...] -= 0.05 * blob.diff
mine = {k: [b.data.copy() for b in v] for k, v in net.params.items()}
for name, blobs in net.params.items():
    for blob, data in zip(blobs, start[name]):
        blob.data[...] = data
seen = []
solver.add_callback(lambda: seen.append('start'),
                    lambda: seen.append(np.abs(solver.net.params['conv_d1a-b'][0].diff).sum()))
solver.step(1)
solved = {k: [b.data.copy() for b in v] for k, v in net.params.items()}

gradients = {}
for name, index in (('conv_d0a-b', (1, 0, 2, 1)), ('conv_u0c-score', (0, 4, 0, 0)),
                    ('upconv_d1b_u0a', (3, 1, 0, 1))):
    weight, losses = net.params[name][0], []
    for step in (0.01, -0.01):
        weight.data[index] += step
        losses.append(float(net.forward(start='conv_d0a-b')['loss']))
        weight.data[index] -= step
    net.forward(start='conv_d0a-b')
    net.clear_param_diffs()
    net.backward()
    gradients[name] = (float(weight.diff[index]), (losses[0] - losses[1]) / 0.02)
"""


def test_own_loop(script, tmp_path):
    plain = small_caffe.solver_text(momentum=None, weight_decay=None, display=0)
    (tmp_path / "plain_solver.prototxt").write_text(plain)
    net = small_caffe.train_net().replace("lr_mult: 2", "lr_mult: 1")
    (tmp_path / "net.prototxt").write_text(net)
    found = script(LOOP)
    assert found["seen"][0] == "start"
    assert found["seen"][1] > 0
    for name, arrays in found["mine"].items():
        for i, array in enumerate(arrays):
            np.testing.assert_allclose(found["solved"][name][i], array, rtol=0, atol=1e-7)
    for gradient, difference in found["gradients"].values():
        assert abs(gradient) > 1e-4
        assert gradient == pytest.approx(difference, rel=0.02, abs=2e-4)
