"""Builds the wheel, installs it with the extras of a user into a fresh environment, and runs a bundle there.

    make test-wheel

A bundle of the demonstration weights is exported by the environment that runs this file, since exporting
needs torch; the fresh one has `[cli,ort,audio]` alone. Both run it on the same sentence, and must agree.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
EXTRAS = "[cli,ort,audio]"


def call(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Stdout of a program that must succeed, and must not see this clone."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=cwd, env=kept | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build(folder: Path) -> Path:
    """The wheel of this clone."""
    call(
        sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT, cwd=folder
    )
    (wheel,) = folder.glob("edge_export-*.whl")
    return wheel


def check_contents(wheel: Path) -> None:
    """Weights, their cards and licence, and what the demo speaks are in it."""
    names = zipfile.ZipFile(wheel).namelist()
    cards = [path.name for path in (ROOT / "reference_data" / "weights").iterdir() if path.is_file()]
    assert len(cards) > 10
    for name in (
        *(f"edge_export/assets/weights/{card}" for card in cards),
        "edge_export/assets/sentence.wav",
    ):
        assert name in names, f"the wheel lacks {name}"
    assert not [name for name in names if name.startswith(("tests/", "reference_data/", "docs/"))]
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert any(name.endswith("licenses/reference_data/weights/LICENSE.md") for name in names)


def install(wheel: Path, folder: Path) -> Path:
    """The command of a fresh environment; libraries come from the registry that pip is set to."""
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    constraints = ROOT / "constraints.txt"
    call(
        python, "-m", "pip", "install", "--quiet", "--constraint", constraints, f"{wheel}{EXTRAS}", cwd=folder
    )
    return folder / "venv" / "bin" / "edge-export"


def main() -> None:
    """Build, look into it, install, run, compare."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        wheel = build(folder)
        check_contents(wheel)
        command = install(wheel, folder)
        weights = ROOT / "reference_data" / "weights" / "audio-encoder.safetensors"
        here = Path(sys.executable).with_name("edge-export")
        call(
            *(here, "export", "audio-encoder", "--checkpoint", weights, "--target", "onnx"),
            *("--precision", "fp32", "--out", "bundle"),
            cwd=folder,
        )
        sentence = ROOT / "export" / "edge_export" / "assets" / "sentence.wav"
        for name, program in (("here", here), ("there", command)):
            call(program, "run", "talking-head", sentence, "--bundle", "bundle", "--out", name, cwd=folder)
        ours, theirs = (np.load(folder / name / "audio_features_raw.npy") for name in ("here", "there"))
        np.testing.assert_allclose(theirs, ours, atol=1e-4)
        say = "from edge_export.assets import WEIGHTS; print(WEIGHTS)"
        shipped = Path(call(folder / "venv" / "bin" / "python", "-c", say, cwd=folder).strip())
        assert shipped.is_relative_to(folder), f"the installed package takes its weights from {shipped}"
        assert len(list(shipped.glob("*.safetensors"))) == len(list(weights.parent.glob("*.safetensors")))
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB; installed, it runs a bundle")


if __name__ == "__main__":
    main()
