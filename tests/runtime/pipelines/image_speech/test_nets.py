"""Bundles that do not fit each other, or the size that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import small_diffusion

from edge_runtime.errors import BundleError, ConfigError, InputError
from edge_runtime.pipelines.image_speech.nets import (
    PhonemeAdapter,
    TextEncoder,
    Unet,
    VaeDecoder,
    check_fit,
)

EXECUTION: dict[str, Any] = {
    "backend": "onnxruntime", "device": "cpu", "threads": 1, "precision": "fp32",
}  # fmt: skip


@pytest.fixture(scope="module")
def vae(parts: Path) -> VaeDecoder:
    return VaeDecoder(parts / "vae_decoder", EXECUTION)


def test_text_encoder(parts: Path) -> None:
    tokens, states = TextEncoder(parts / "image_text", EXECUTION)(["", "a castle"])
    assert tokens.shape == (2, 77)
    assert tokens.dtype == np.int32
    np.testing.assert_array_equal(states, small_diffusion.table()[tokens])


def test_phoneme_adapter(tmp_path: Path) -> None:
    adapter = PhonemeAdapter(small_diffusion.write_adapter(tmp_path / "adapter"), EXECUTION)
    given = np.random.default_rng(0).normal(0, 1, (2, small_diffusion.DIM)).astype(np.float32)
    expected = (given @ small_diffusion.projection())[:, None].repeat(77, axis=1)
    np.testing.assert_allclose(adapter(given), expected, atol=1e-6)
    with pytest.raises(InputError, match="phoneme embeddings: got 768 numbers each, expected 5, as the adap"):
        adapter(np.zeros((1, 768), np.float32))


def test_vae_decoder(vae: VaeDecoder) -> None:
    latents = np.random.default_rng(0).standard_normal((1, 4, 3, 5)).astype(np.float32)
    np.testing.assert_allclose(vae(latents), small_diffusion.decoded(latents), atol=1e-6)


def test_bundles_of_different_models_are_refused(parts: Path, vae: VaeDecoder, tmp_path: Path) -> None:
    good = Unet(parts / "audio_unet", EXECUTION)
    wide = Unet(small_diffusion.write_unet(tmp_path / "wide", width=9), EXECUTION)
    with pytest.raises(BundleError, match="wide: cross attention: got a width of 9, expected 6, as its text"):
        check_fit({"image": wide, "audio": good}, {"image": 6, "audio": 6}, vae)
    deep = Unet(small_diffusion.write_unet(tmp_path / "deep", channels=9), EXECUTION)
    with pytest.raises(BundleError, match="deep: latents: got 9 channels, expected 4, as the VAE has"):
        check_fit({"image": deep, "audio": good}, {"image": 6, "audio": 6}, vae)
    loud = Unet(small_diffusion.write_unet(tmp_path / "loud", beta_end=0.02), EXECUTION)
    with pytest.raises(
        BundleError, match=r"noise schedules: got .*0\.02\) and .*0\.012\), expected the same"
    ):
        check_fit({"image": loud, "audio": good}, {"image": 6, "audio": 6}, vae)
    check_fit({"image": good, "audio": good}, {"image": 6, "audio": 6}, vae)


def test_other_kinds_of_models_are_refused(parts: Path, tmp_path: Path) -> None:
    bundle = small_diffusion.write_unet(tmp_path / "v", prediction_type="v_prediction")
    with pytest.raises(BundleError, match="v: prediction_type: got 'v_prediction', expected 'epsilon'"):
        Unet(bundle, EXECUTION)
    with pytest.raises(BundleError, match="vae_decoder: net: got sd-vae-decoder, expected sd-unet"):
        Unet(parts / "vae_decoder", EXECUTION)
    bundle = small_diffusion.write_vae(tmp_path / "two", block_out_channels=[4, 8])
    with pytest.raises(BundleError, match="factor: got 2 pixels for each latent, expected 8, as Stable Diff"):
        VaeDecoder(bundle, EXECUTION)
    halved = VaeDecoder(small_diffusion.write_vae(tmp_path / "four", factor=4), EXECUTION)
    with pytest.raises(BundleError, match="factor: got 4 pixels for each latent"):
        halved(np.zeros((1, 4, 2, 2), np.float32))
    bundle = small_diffusion.write_text(tmp_path / "text", vocab_size=300)
    with pytest.raises(
        BundleError, match="tokenizer: got tokens up to 513, expected at most 299, as the net"
    ):
        TextEncoder(bundle, EXECUTION)


def test_two_halves_are_the_whole(parts: Path, tmp_path: Path) -> None:
    first, second = small_diffusion.write_halves(tmp_path / "halves")
    latents = np.random.default_rng(0).standard_normal((1, 4, 4, 8)).astype(np.float32)
    states = np.random.default_rng(1).standard_normal((2, 77, small_diffusion.WIDTH)).astype(np.float32)
    halved = Unet(first, EXECUTION, second)
    expected = Unet(parts / "image_unet", EXECUTION)(latents, 500, states)
    np.testing.assert_allclose(halved(latents, 500, states), expected, atol=1e-6)
    assert [*halved.nets] == ["", "_second"]


def test_halves_that_do_not_belong_together_are_refused(parts: Path, tmp_path: Path) -> None:
    first, second = small_diffusion.write_halves(tmp_path / "halves")
    with pytest.raises(ConfigError, match=r"first: sd-unet: got its first half alone, .*--chunks 2 wrote"):
        Unet(first, EXECUTION)
    with pytest.raises(ConfigError, match="image_unet: sd-unet: got a whole net beside a second half"):
        Unet(parts / "image_unet", EXECUTION, second)
    _, other = small_diffusion.write_halves(tmp_path / "other", beta_end=0.02)
    with pytest.raises(
        BundleError, match=r"other/second: got a half of .*expected the other half of .*first"
    ):
        Unet(first, EXECUTION, other)
    with pytest.raises(BundleError, match="first: net: got sd-unet-first, expected sd-unet-second"):
        Unet(first, EXECUTION, first)
