"""Which GPUs the kernels are built for, and what is said where they cannot be used."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from shared import CHECKOUT
from unet_native import _core
from unet_native.ops import Context

MODULE, SOURCES = CHECKOUT / "cmake" / "cuda.cmake", CHECKOUT / "tests" / "cuda"
COMPILER = shutil.which(os.environ.get("CXX", "g++"))
NVCC = shutil.which("nvcc")
CHOICES = ("UNET_NATIVE_CUDA", "UNET_NATIVE_CUDA_ARCHITECTURES", "CUDACXX")

needs_sources = pytest.mark.skipif(
    not (MODULE.is_file() and COMPILER), reason="no sources beside these tests, or no C++ compiler"
)
needs_cmake = pytest.mark.skipif(
    not (MODULE.is_file() and COMPILER and shutil.which("cmake")),
    reason="no sources beside these tests, no C++ compiler or no CMake",
)
needs_nvcc = pytest.mark.skipif(not NVCC, reason="no nvcc on the PATH")


# --- the choice (cmake/cuda.cmake) ---

PROJECT = """cmake_minimum_required(VERSION 3.18)
project(choice LANGUAGES CXX)
set(Python_EXECUTABLE "{python}")
include("{module}")
message(STATUS "chosen: ${{UNET_CUDA_ARCHITECTURES}}|${{UNET_CUDA_MISSING}}")
"""


@pytest.fixture
def choose(tmp_path):
    """choose(*options, **environment) -> (architectures, why there are none), or CMake's error."""
    project = PROJECT.format(python=sys.executable, module=MODULE)
    (tmp_path / "CMakeLists.txt").write_text(project)

    def configure(*options, **environment):
        inherited = {name: value for name, value in os.environ.items() if name not in CHOICES}
        done = subprocess.run(
            ["cmake", "-S", tmp_path, "-B", tmp_path / "build", *options],
            env=inherited | environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            return " ".join(done.stderr.split())
        (chosen,) = [x for x in done.stdout.splitlines() if x.startswith("-- chosen: ")]
        architectures, missing = chosen[len("-- chosen: ") :].split("|")
        assert bool(architectures) != bool(missing)
        assert ("this build is for the CPU only" in done.stdout) == (not architectures)
        return architectures, missing

    return configure


@pytest.fixture(scope="session")
def driver(tmp_path_factory):
    """A folder with a driver that tells of the GPUs in $CAPABILITIES."""
    folder = tmp_path_factory.mktemp("driver")
    options = ["-x", "c", "-shared", "-fPIC", str(SOURCES / "driver.c")]
    subprocess.run([COMPILER, *options, "-o", folder / "libcuda.so.1"], check=True)
    return folder


@needs_cmake
def test_no_cuda_on_request(choose):
    assert choose(UNET_NATIVE_CUDA="OFF") == ("", "UNET_NATIVE_CUDA was OFF")


@needs_cmake
def test_a_mistyped_choice(choose):
    assert 'UNET_NATIVE_CUDA is "yes": use ON, OFF or wheels' in choose(UNET_NATIVE_CUDA="yes")


@needs_cmake
def test_without_an_nvcc(choose):
    assert choose("-DUNET_NVCC=") == ("", "no nvcc was found")
    assert "UNET_NATIVE_CUDA=ON, but no nvcc" in choose("-DUNET_NVCC=", UNET_NATIVE_CUDA="ON")


@needs_cmake
def test_wheels_that_are_not_installed(choose, tmp_path):
    (tmp_path / "python").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "python").chmod(0o755)
    text = (tmp_path / "CMakeLists.txt").read_text()
    (tmp_path / "CMakeLists.txt").write_text(text.replace(sys.executable, f"{tmp_path}/python"))
    assert "packages of the compiler are not installed" in choose(UNET_NATIVE_CUDA="wheels")


@needs_cmake
@needs_nvcc
def test_every_architecture_on_request(choose):
    architectures, _ = choose(UNET_NATIVE_CUDA="ON")
    numbers = [int(one.removesuffix("-real")) for one in architectures.split(";")[:-1]]
    assert numbers == [75, 80, 90, 100, 120]
    assert architectures.endswith("120-real;120-virtual")
    chosen = choose(UNET_NATIVE_CUDA="ON", UNET_NATIVE_CUDA_ARCHITECTURES="80-real;90-real")
    assert chosen == ("80-real;90-real", "")


@needs_cmake
@needs_nvcc
@pytest.mark.parametrize(
    ("capabilities", "architectures", "missing"),
    [
        ("90 80 90", "80-real;90-real", ""),
        ("61", "", "this nvcc does not compile for sm_61, the GPU at hand"),
        ("", "", "the NVIDIA driver has no GPU to offer (error 100)"),
    ],
)
def test_the_gpus_at_hand(choose, driver, capabilities, architectures, missing):
    environment = {"LD_LIBRARY_PATH": str(driver), "CAPABILITIES": capabilities}
    assert choose(**environment) == (architectures, missing)


# --- what is said (core/cuda_status.cpp) ---

ALL = "75-real;80-real;120-real;120-virtual"


@pytest.fixture(scope="session")
def obstacle_of(tmp_path_factory):
    folder = tmp_path_factory.mktemp("obstacles")
    (folder / "core").mkdir()
    config = '#define UNET_CUDA_ARCHITECTURES ""\n#define UNET_CUDA_MISSING ""\n'
    (folder / "core" / "config.h").write_text(config)
    files = [SOURCES / "obstacles.cpp", CHECKOUT / "csrc" / "core" / "cuda_status.cpp"]
    command = [COMPILER, "-std=c++17", f"-I{CHECKOUT / 'csrc'}", f"-I{folder}", *files]
    subprocess.run([*command, "-o", folder / "obstacles"], check=True)

    def ask(*fields):
        line = "|".join(map(str, fields))
        return subprocess.run(
            [folder / "obstacles"], input=line, capture_output=True, text=True, check=True
        ).stdout.rstrip("\n")

    return ask


@needs_sources
@pytest.mark.parametrize(
    ("answers", "text"),
    [
        (("", 0, 0, 0, ""), "without CUDA (no nvcc was found): install it again with UNET_NATIVE"),
        ((ALL, 35, 0, 13000, ""), "no NVIDIA driver"),
        ((ALL, 35, 12040, 13000, ""), "too old: it knows CUDA 12.4, and this build needs 13.0"),
        ((ALL, 100, 13000, 13000, ""), "no GPU to offer"),
        ((ALL, 0, 13000, 13000, ""), "no GPU to offer"),
        ((ALL, 999, 13000, 13000, ""), 'the NVIDIA driver answers "some error"'),
        ((ALL, 0, 13000, 13000, "7.0"), "GPU, an sm_70: they need sm_75 or newer"),
        (
            ("90-real", 0, 13000, 13000, "8.0"),
            "an sm_80: install it again with",
        ),
        (("80-real", 0, 13000, 13000, "9.0"), "(80-real) do not run on the GPU, an sm_90"),
        (("86-real", 0, 13000, 13000, "8.0"), "an sm_80"),
        (("90-virtual", 0, 13000, 13000, "8.9"), "an sm_89"),
        (("80-real", 0, 13000, 13000, "7.5 8.0"), "an sm_75"),
    ],
)
def test_obstacles(obstacle_of, answers, text):
    obstacle = obstacle_of(*answers)
    assert text in obstacle
    assert "\n" not in obstacle


@needs_sources
@pytest.mark.parametrize(
    ("architectures", "capability"),
    [(ALL, "7.5"), (ALL, "8.9"), (ALL, "12.1"), ("80-virtual", "9.0"), ("90", "10.0"),
     ("80-real", "8.6"), (ALL, "13.0")],
)  # fmt: skip
def test_no_obstacle(obstacle_of, architectures, capability):
    assert obstacle_of(architectures, 0, 13000, 13000, capability) == ""


# --- this build ---


def test_the_device_is_offered_or_the_reason_given():
    obstacle = _core.cuda_status()["obstacle"]
    assert ("cuda" in _core.devices()) == (obstacle == "")
    if obstacle:
        with pytest.raises(RuntimeError) as refusal:
            Context(device="cuda")
        assert str(refusal.value) == f'device="cuda" cannot be used: {obstacle}'


def test_the_extension_needs_no_cuda_library():
    """Without a driver it must load; another copy of the runtime must not meet ours."""
    if not _core.cuda_status()["architectures"]:
        pytest.skip("built without CUDA")
    libraries = subprocess.run(["ldd", _core.__file__], capture_output=True, text=True).stdout
    assert "libc.so" in libraries
    assert "cuda" not in libraries.replace(os.path.dirname(_core.__file__), "")
    listing = ["nm", "-D", "--defined-only", _core.__file__]
    symbols = subprocess.run(listing, capture_output=True, text=True, check=True).stdout
    assert "PyInit__core" in symbols
    assert not [line for line in symbols.splitlines() if " cuda" in line or "4unet4cuda" in line]
