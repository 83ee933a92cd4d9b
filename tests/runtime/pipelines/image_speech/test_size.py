"""Sizes of pictures: one refusal says the whole rule, and what it names as nearest is taken."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import small_diffusion

from edge_runtime.errors import BundleError, ConfigError
from edge_runtime.pipelines.image_speech.nets import Unet, VaeDecoder
from edge_runtime.pipelines.image_speech.plan import Plan
from edge_runtime.pipelines.image_speech.size import check_size, common
from edge_runtime.store.bundle import Lengths

EXECUTION: dict[str, Any] = {
    "backend": "onnxruntime", "device": "cpu", "threads": 1, "precision": "fp32",
}  # fmt: skip
FIXED = {"height": Lengths(32, 32, (32,)), "width": Lengths(128, 128, (128,))}


@pytest.fixture(scope="module")
def nets(parts: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A UNet and a VAE of any size; a UNet that halves three times; both for one size."""
    place = tmp_path_factory.mktemp("sizes")
    halving = {name: Lengths(8, step=8) for name in ("height", "width")}
    small = {"height": Lengths(8, 8, (8,)), "width": Lengths(16, 16, (16,))}
    made = {name: small_diffusion.write_unet(place / name, axes=axes)
            for name, axes in (("halving", halving), ("packaged", FIXED), ("small", small))}  # fmt: skip
    unets = {name: Unet(path, EXECUTION) for name, path in (made | {"free": parts / "image_unet"}).items()}
    vae = small_diffusion.write_vae(place / "vae", axes=FIXED)
    return unets | {"vae": VaeDecoder(parts / "vae_decoder", EXECUTION), "one": VaeDecoder(vae, EXECUTION)}


@pytest.mark.parametrize(
    ("unets", "plan", "sentence"),
    [
        (["free"], {"width": 100}, "got 100, expected a multiple of 8, 16 or more; nearest: 96 and 104"),
        (["free"], {"width": 0}, "got 0, expected a multiple of 8, 16 or more; nearest: 16"),
        (["free"], {"width": -9}, "got -9, expected a multiple of 8, 16 or more; nearest: 16"),
        (["free", "halving"], {"width": 104}, "expected a multiple of 64, 64 or more; nearest: 64 and 128"),
        (
            ["free"],
            {"width": 40, "crop_image": True},
            "a multiple of 8, 48 or more, 32 of which are dropped; nearest: 48",
        ),
        (
            ["packaged", "free"],
            {"width": 512},
            r"expected 1024; .*packaged was exported for 1024; --set width=",
        ),
    ],
)
def test_the_whole_rule_is_said(
    nets: dict[str, Any], unets: list[str], plan: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=f"^--width: .*{sentence}") as refused:
        check_size([nets[name] for name in unets], nets["vae"], Plan(**plan))
    for near in re.findall(r"\d+", str(refused.value).partition("nearest: ")[2]):
        check_size([nets[name] for name in unets], nets["vae"], Plan(**plan | {"width": int(near)}))


def test_the_vae_has_its_say(nets: dict[str, Any]) -> None:
    check_size([nets["free"]], nets["one"], Plan(width=1024))
    with pytest.raises(ConfigError, match=r"--width: got 512, expected 1024; .*exported for 1024"):
        check_size([nets["free"]], nets["one"], Plan(width=512))
    with pytest.raises(ConfigError, match=r"--cutoff-latent: got 124 columns .* expected 128; --crop-image"):
        check_size([nets["packaged"]], nets["one"], Plan(cutoff_latent=True))
    check_size([nets["packaged"]], nets["one"], Plan(crop_image=True))


def test_nets_of_another_height_or_without_a_common_width_are_refused(nets: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match=r"small: height: got 64, expected 256, a row .*--set height=256"):
        check_size([nets["free"], nets["small"]], nets["vae"], Plan())
    assert common([Lengths(8, 8, (8,)), Lengths(16, 16, (16,))]) is None
    assert common([Lengths(8, 8, (8,)), Lengths(3, step=3)]) is None


LENGTHS = st.builds(
    lambda step, low, more: Lengths(step * low, step * (low + more), step=step),
    st.integers(1, 4), st.integers(1, 5), st.integers(0, 9),
) | st.builds(
    lambda sizes: Lengths(min(sizes), max(sizes), tuple(sorted(sizes))),
    st.sets(st.integers(1, 40), min_size=1, max_size=4),
)  # fmt: skip


@given(st.lists(LENGTHS, min_size=1, max_size=3))
def test_common_lengths_are_those_that_all_take(given_lengths: list[Lengths]) -> None:
    def taken(lengths: Lengths) -> set[int]:
        assert lengths.high is not None
        return set(lengths.only) or set(range(lengths.low, lengths.high + 1, lengths.step))

    found = common(given_lengths)
    assert (set() if found is None else taken(found)) == set.intersection(*map(taken, given_lengths))
