"""What a prototxt cannot say, and with what words it is refused."""

from __future__ import annotations

import pytest

from unet_native.caffe import text
from unet_native.caffe.network import read_net
from unet_native.errors import UserError
from unet_native.layers import LAYER_TYPES
from unet_native.net import Net

# --- said wrongly ---


def test_unsupported_layers_are_all_named(net_of):
    """A line is where the layer begins, whatever stands between."""
    spec = net_of(
        "name: 'n' input: 'a' input_shape: { dim: 1 }\n"
        "layer { name: 'p' type: 'Power' bottom: 'a' top: 'b' }\n"
        "state: { level: 0 }\n"
        "layer # { the word may stand\n\n: { name: 'layer {' type: 'LRN' }\n"
        "layer { name: 'fine' type: 'ReLU' bottom: 'a' top: 'c' }\n"
        "layer [{ name: 'e' type: 'Eltwise' }, { name: 'f'\n type: 'Flatten' },\n"
        "  { name: 'g' type: 'GRU' }]\n"
        "layer { name: 'test' type: 'ArgMax' include { phase: TEST } }\n"
    )
    with pytest.raises(ValueError, match="network 'n': not supported: ") as error:
        Net(spec, "TRAIN")
    said = str(error.value)
    for part in (
        "'p' of type 'Power' (FILE, line 2)",
        "'layer {' of type 'LRN' (FILE, line 4)",
        "'e' of type 'Eltwise' (FILE, line 8)",
        "'f' of type 'Flatten' (FILE, line 8)",
        "'g' of type 'GRU' (FILE, line 10)",
    ):
        assert part.replace("FILE", spec.layers[1].where.split(",")[0]) in said
    assert "ArgMax" not in said
    assert "'fine'" not in said
    assert f"(there are: {', '.join(LAYER_TYPES)})" in said
    many = net_of("".join(f"layer {{ name: '{i}' type: 'LRN' }}\n" for i in range(15)))
    with pytest.raises(ValueError, match=r"'11' of type 'LRN' \(.*, line 12\) and 3 more"):
        Net(many, "TEST")


def test_lines_of_v1_layers(net_of):
    spec = net_of("input: 'x'\ninput_dim: [1, 1, 1, 1]\nlayers {\n}\nlayers:\n{ type: LRN }")
    assert [layer.where.partition(", ")[2] for layer in spec.layers] == ["", "line 3", "line 5"]


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        ("layer {\n name: 'a'\n bottm: 'x' }", 3, 'LayerParameter" has no field named "bottm"'),
        ("layer {\n convolution_param { kernelsize: 3 } }", 2, 'no field named "kernelsize"'),
        ("nme: 'a'", 1, 'NetParameter" has no field named "nme"'),
        ("layer { name: 'a' name: 'b' }", 1, 'should not have multiple "name" fields'),
        ("\nlayers { type: CONVOLUTIONS }", 2, "no value named CONVOLUTIONS"),
        ("layers { type: CROPS }", 1, "no value named CROPS"),
        ("layer { loss_param { normalization: SOME } }", 1, "no value named SOME"),
        ("layer { loss_param { normalization: 9 } }", 1, "no value with number 9"),
        ("layer { convolution_param { num_output: -1 } }", 1, "Value out of range: -1"),
        ("layer { convolution_param { num_output: 99999999999 } }", 1, "out of range"),
        ("layer { convolution_param { num_output: nan } }", 1, "Couldn't parse integer: nan"),
        ("layer { convolution_param { num_output: 1.5 } }", 1, "Couldn't parse integer: 1.5"),
        ("layer { convolution_param { bias_term: 2 } }", 1, "true.*false"),
        ("layer { relu_param { negative_slope: x } }", 1, "Couldn't parse float: x"),
        ("layer { name: 3 }", 1, "Expected string but found: '3'"),
        ("layer { name: 'a }", 1, "missing ending quote|found"),
        ("layer {\n name: 'a'\n", 2, 'Expected "}"'),
        ("layer { } }", 1, "Expected identifier"),
        ("layer 'a'", 1, 'Expected "{"'),
        ("layer { hdf5_data_param { source: 'a'\n'b' 'c' shuffled: true } }", 2, "shuffled"),
        ("layer { name: 'layer': b } # it's': so", 1, "Expected identifier or number, got :"),
    ],
)
def test_typing_errors(net_of, content, line, problem):
    with pytest.raises(UserError, match=problem) as error:
        net_of(content)
    assert f"net.prototxt, line {line}: " in str(error.value)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (None, r"cannot be read \(No such file or directory\)"),
        (b"name: '\xff'", "not a text file; give a prototxt"),
        (b"#" * (text.SIZE_LIMIT + 1), "longer than 1 MB, so it is no prototxt"),
    ],
)
def test_files_that_are_none(tmp_path, data, problem):
    path = tmp_path / "net.prototxt"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(UserError, match=rf"net\.prototxt: {problem}"):
        read_net(path)
    with pytest.raises(UserError, match=r"cannot be read \(Is a directory\)"):
        read_net(tmp_path)
    with pytest.raises(UserError, match="cannot be read"):
        read_net("a\0b")


# --- said, but not possible ---


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("input: 'a'", "1 inputs, but shapes for 0"),
        ("input_shape { dim: 1 }", "0 inputs, but shapes for 1"),
        ("input: 'a' input_dim: 1 input_dim: 2", "give 4 input_dim for each input"),
        ("input: 'a' input_dim: [1, 1, 1, 1] input_shape { dim: 1 }", "give 4 input_dim"),
        ("layer { name: 'a' } layers { name: 'b' }", "both `layers` .V1. and `layer`"),
    ],
)
def test_forms_that_contradict_themselves(net_of, content, problem):
    with pytest.raises(UserError, match=rf"net\.prototxt: .*{problem}"):
        net_of(content)


def test_include_and_exclude_together_are_refused(layer_of, net_of):
    layer = layer_of("name: 'x' type: 'ReLU' include { phase: TEST } exclude { phase: TRAIN }")
    assert layer.problem == "has both include and exclude rules; give one of them"
    spec = net_of(
        "input: 'a' input_shape { dim: 1 }\nlayer { name: 'x' type: 'ReLU' bottom: 'a' top: 'b'\n"
        "include { phase: TEST } exclude { phase: TRAIN } }"
    )
    with pytest.raises(ValueError, match=r"net\.prototxt, line 2: layer 'x' .* both include"):
        Net(spec, "TEST")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("convolution_param { kernel_h: 3 kernel_w: 5 }", "kernel_size: must be the same"),
        ("convolution_param { kernel_h: 3 }", "kernel_size: must be the same for both axes"),
        ("convolution_param { kernel_size: [3, 5] pad: [0, 1] }", "pad, kernel_size: must be"),
        ("convolution_param { stride: 1 stride_h: 2 stride_w: 2 }", "stride: must be the same"),
        ("convolution_param { axis: 2 }", "axis must be 1, got 2"),
        ("pooling_param { stride_h: 1 stride_w: 2 }", "stride: must be the same for both axes"),
        ("pooling_param { global_pooling: true }", "global_pooling is not supported"),
        ("param { name: 'shared' }", "parameters shared by name are not supported"),
        ("type: 'HDF5Data' transform_param { scale: 2 }", "HDF5Data does not transform data"),
    ],
)
def test_what_does_not_run_is_read_and_named(layer_of, net_of, content, problem):
    assert problem in layer_of(content).problem
    type_ = "" if "type" in content else "type: 'Convolution'"
    spec = net_of(f"\n\nlayer {{ name: 'x' {type_} {content} }}")
    with pytest.raises(ValueError, match=rf"line 3: layer 'x' .*{problem}"):
        Net(spec, "TRAIN")


def net_with(layer: str) -> str:
    return f"input: 'x' input_dim: [1, 4, 6, 8]\nlayer {{ name: 'l' {layer} }}"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ("type: 'ReLU' bottom: 'x' top: 'y' loss_weight: [1, 1]", "2 values of loss_weight for 1"),
        ("type: 'Concat' bottom: 'x' top: 'y' bottom: 'x' propagate_down: true", "propagate_down"),
        ("type: 'ReLU' bottom: 'x' top: 'y' param { }", "1 param for 0 parameters"),
        (
            "type: 'Convolution' bottom: 'x' top: 'y' param { } param { } convolution_param "
            "{ num_output: 1 kernel_size: 3 bias_term: false }",
            "2 param for 1 parameters",
        ),
        ("type: 'DummyData' top: 'y' top: 'y'", "has two tops named 'y'"),
        ("type: 'DummyData' top: 'x' dummy_data_param { shape { } }", "a top named 'x' too"),
    ],
)
def test_fields_that_do_not_fit_each_other(net_of, fields, problem):
    with pytest.raises(ValueError, match=rf"net\.prototxt, line 2: layer 'l' .*{problem}"):
        Net(net_of(net_with(fields)), "TRAIN")


def test_lines_belong_to_the_whole_file(net_of):
    """Also behind strings and comments with braces and words in them."""
    content = "name: 'layer { \\' {'\n# layer {\nlayer { name: '}' # }\n}\nlayer{}"
    assert text.lines_of(content, "layer") == [3, 5]
    assert text.lines_of("layer { layer { } }\nlayer : [ ]\nlayer <>", "layer") == [1, 3]
    assert text.lines_of("name: 'a' layer: 5 state { } layer { }", "layer") == [1]


@pytest.mark.parametrize(
    "said", ["1:2 : 'name: 3': Expected it.", "1:2 : Expected it.", "Expected it."]
)
def test_the_line_that_a_parser_quotes_is_left_out(monkeypatch, net_of, said):
    """The library's versions differ in what they say beside the reason."""

    def parse(content, message):
        raise text.text_format.ParseError(said)

    monkeypatch.setattr(text.text_format, "Parse", parse)
    with pytest.raises(UserError, match=r"net\.prototxt: Expected it\.$"):
        net_of("name: 3")


def test_a_backslash_that_escapes_nothing(net_of):
    """Caffe's parser refuses it; Python's would let it pass, with a warning, for now."""
    with pytest.raises(UserError, match=r"net\.prototxt: .*'\\D'.*a backslash is written twice"):
        net_of(r"name: 'C:\Data'")
    assert net_of(r"name: 'C:\\Data'").name == r"C:\Data"
