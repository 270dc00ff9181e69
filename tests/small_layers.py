"""Layers for networks that a test writes down itself."""

from __future__ import annotations

from unet_native.spec import ConvolutionParameter, FillerParameter, InputParameter, LayerSpec


def conv(name: str, bottom: str, top: str, num_output: int = 3, **more) -> LayerSpec:
    parameter = ConvolutionParameter(
        num_output=num_output, kernel_size=3, weight_filler=FillerParameter("msra")
    )
    return LayerSpec(name, "Convolution", (bottom,), (top,), convolution_param=parameter, **more)


def data(*shape: int, name: str = "data") -> LayerSpec:
    return LayerSpec(name, "Input", (), (name,), input_param=InputParameter((shape,)))
