"""bench: contests are fair – both do the same work – and run in processes of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests import small_bundles

from edge_export import bench
from edge_runtime.backends import ort
from edge_runtime.dsp.griffin_lim import griffin_lim
from edge_runtime.dsp.mel import PRESETS, MelFrontEnd
from edge_runtime.dsp.spectral import Stft, StftConfig
from edge_runtime.errors import BackendError, ConfigError
from edge_runtime.store.bundle import open_bundle


def test_a_ratio_is_the_peers_time_over_ours() -> None:
    calls: list[str] = []
    ours_ms, peer_ms, ratio = bench.race(lambda: calls.append("a"), lambda: calls.append("b"), rounds=3)
    assert calls == ["a", "b"] * 4  # one uncounted round, then in turns
    assert ours_ms > 0
    assert peer_ms > 0
    assert ratio > 0


@pytest.mark.parametrize("peer", [bench._librosa_mel, bench._torch_mel])
def test_the_peers_compute_the_same_mel(peer: object) -> None:
    audio = bench._speech(2.0, 16000)
    assert audio.shape == (32000,)
    expected = MelFrontEnd(PRESETS["talking-head"], "float64")(audio.astype(np.float64))
    got = np.asarray(peer(audio, 1)())  # type: ignore[operator]
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-3)


def test_startup_is_timed_in_a_process_of_its_own() -> None:
    rows = bench.bench(against=["torch"])
    assert [row.what for row in rows] == ["import edge_runtime", "--help"]
    assert all(row.ratio is None and row.ours_ms > 0 for row in rows)
    lines = bench.table(rows).splitlines()
    assert len(lines) == 3


def test_griffin_lim_is_raced_with_and_without_scipy() -> None:
    rows = bench._griffin_lim_contest(1.0, rounds=1)
    assert [row.ours for row in rows] == ["griffin_lim, scipy.fft", "griffin_lim, numpy alone"]
    assert all(row.ratio is not None and row.ratio > 1 for row in rows)


def test_librosas_griffin_lim_does_the_same() -> None:
    framing = StftConfig(1024, 256, 1024, "center-zero")
    magnitude = np.abs(Stft(framing).forward(bench._speech(1.0, 22050)))
    expected = np.asarray(bench._librosa_griffin_lim(magnitude)())
    got = griffin_lim(magnitude, n_fft=1024, hop_length=256)
    assert np.linalg.norm(got - expected) < 1e-3 * np.linalg.norm(expected)


def test_a_net_is_raced_against_torch(small_hifigan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "ROUNDS", 1)
    (row,) = bench._net_contest(open_bundle(small_hifigan), bench.Contest("net"))
    assert row.what == "hifigan, batch 1, frames 172"
    assert (row.ours, row.peer) == ("onnxruntime fp32 cpu", "PyTorch eager")
    assert row.ratio is not None
    assert row.ratio > 0


def test_a_stream_is_raced_against_its_own_playing_time(tmp_path: Path) -> None:
    bundle = open_bundle(small_bundles.write_vocoder(tmp_path / "bundle"))
    (row,) = bench._stream_contest(bundle, chunks=6)
    assert row.what == "hifigan, stream in chunks of 4 frames"
    assert row.peer_ms == 1e3 * 4 * small_bundles.HOP / 8000
    assert row.ratio == row.peer_ms / row.ours_ms


def test_devices_are_refused_before_anything_is_timed(small_hifigan: Path) -> None:
    with pytest.raises(ConfigError, match="--device: got 'tpu', expected one of cpu, cuda"):
        bench.bench([small_hifigan], devices=["tpu"])
    if ort.trial("cuda"):
        with pytest.raises(
            BackendError, match=r"--device cuda: got .*onnxruntime-gpu.* expected a device that"
        ):
            bench.bench([small_hifigan], devices=["cpu", "cuda"])


def test_an_unknown_peer_is_refused() -> None:
    with pytest.raises(ConfigError, match="--against: got jax, expected some of torch, librosa"):
        bench.bench(against=["jax"])


def test_impossible_threads_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"--threads: got \[0\], expected numbers of at least 1"):
        bench.bench(threads=[0])


def test_a_peer_that_races_nothing_is_refused(small_hifigan: Path) -> None:
    with pytest.raises(ConfigError, match="--against: got librosa, expected torch"):
        bench.bench([small_hifigan], against=["librosa"])
