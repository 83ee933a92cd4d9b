"""What run and reference leave in their folders, by the commands."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import small_diffusion

from edge_export.__main__ import main
from edge_runtime.errors import ConfigError, InputError
from edge_runtime.media.audio import read_audio
from edge_runtime.media.png import read_png
from edge_runtime.pipelines.image_speech.batch import plan_jobs
from edge_runtime.pipelines.image_speech.pipeline import ImageSpeech
from edge_runtime.pipelines.image_speech.result import standardised, write_result

QUICK = ("--width", "64", "--steps", "3", "--iterations", "1", "--threads", "1")


def run(parts: Path, out: Path, *given: str, command: str = "run") -> int:
    """The status of a command on a folder of parts."""
    return main([command, "image-speech", "--bundle", str(parts), *QUICK, "--out", str(out), *given])


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_pair_is_made(parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "heard.txt").write_text('a bell\n\n  ein Mädchen, "singt"\n', encoding="utf-8")
    out = tmp_path / "out"
    prompts = ["--image-prompt", "a castle", "--image-prompt", "@@home", "--audio-prompt"]
    assert run(parts, out, *prompts, f"@{tmp_path / 'heard.txt'}", "--colormap", "jet") == 0
    assert "picture 4 of 4 [████████████████████] step 3 of 3" in capsys.readouterr().err
    rows = rows_of(out / "prompts.csv")
    assert [*rows[0]] == ["index", "image_prompt", "audio_prompt"]
    assert [tuple(row.values()) for row in rows] == [
        ("000001", "a castle", "a bell"),
        ("000002", "a castle", 'ein Mädchen, "singt"'),
        ("000003", "@home", "a bell"),
        ("000004", "@home", 'ein Mädchen, "singt"'),
    ]
    for number in range(1, 5):
        name = f"{number:06d}"
        spectrogram = np.load(out / f"{name}.npy")
        assert spectrogram.shape == (256, 64)
        assert spectrogram.dtype == np.float32
        np.testing.assert_array_equal(read_png(out / f"{name}_spec.png"), np.rint(spectrogram * 255))
        assert read_png(out / f"{name}_img.png").shape == (256, 64, 3)
        assert read_png(out / f"{name}_spec_colormap.png").shape == (256, 64, 3)
        assert read_audio(out / f"{name}.wav").samples.size == 64 * 160
    said = json.loads((out / "metadata.json").read_text())
    assert said["source"]["image_prompt"] == ["a castle", "@home"]
    assert (said["plan"]["steps"], said["seeds"]["000004"]) == (3, 0)
    assert run(parts, out, *prompts, "a bell", "--overwrite") == 0, "it knows its own folder"


def test_a_pair_is_the_same_alone_and_in_a_batch(parts: Path, tmp_path: Path) -> None:
    both = ["--image-prompt", "a", "--image-prompt", "b", "--audio-prompt", "c", "--samples", "2"]
    assert run(parts, tmp_path / "both", *both, "--seed", "5") == 0
    alone = ["--image-prompt", "b", "--audio-prompt", "c", "--seed", "6"]
    assert run(parts, tmp_path / "alone", *alone) == 0
    batch, single = (tmp_path / "both" / "000004.npy").read_bytes(), tmp_path / "alone" / "000001.npy"
    assert batch == single.read_bytes()
    assert json.loads((tmp_path / "both" / "metadata.json").read_text())["seeds"]["000004"] == 6


def test_previews(parts: Path, tmp_path: Path) -> None:
    given = ["--image-prompt", "a", "--audio-prompt", "b", "--preview-every", "2"]
    assert run(parts, tmp_path / "out", *given) == 0
    assert [path.name for path in sorted((tmp_path / "out").glob("*_step_*"))] == ["000001_step_0002.png"]


def test_embeddings_of_an_archive(parts: Path, tmp_path: Path) -> None:
    adapter = small_diffusion.write_adapter(tmp_path / "adapter")
    values = np.random.default_rng(0).normal(0, 1, (4, small_diffusion.DIM)).astype(np.float32)
    np.savez(tmp_path / "e.npz", emb=values, model_id="m", ckpt="c", lang="en-us")
    given = ["--image-prompt", "a", "--phoneme-npz", str(tmp_path / "e.npz"), "--prompt-index", "2,0"]
    assert run(parts, tmp_path / "out", *given, "--bundle", f"phoneme_adapter={adapter}") == 0
    named = [row["audio_prompt"] for row in rows_of(tmp_path / "out" / "prompts.csv")]
    assert named == ["row 2 of e.npz", "row 0 of e.npz"]
    jobs = plan_jobs(["a"], list("wxyz"), tmp_path / "e.npz", rows=None, samples=1, seed=0)
    assert [job.audio_prompt for job in jobs] == ["w", "x", "y", "z"]
    np.testing.assert_array_equal(jobs[3].heard, values[3])


def test_what_cannot_be_heard_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", emb=np.zeros((2, 5), np.float32))
    np.savez(tmp_path / "other.npz", mel=np.zeros(3))

    def planned(audio: list[str], npz: str | None, rows: tuple[int, ...] | None = None) -> None:
        path = None if npz is None else tmp_path / npz
        plan_jobs(["a"], audio, path, rows=rows, samples=1, seed=0)

    with pytest.raises(
        ConfigError, match="--audio-prompt: got none, expected at least one, or --phoneme-npz"
    ):
        planned([], None)
    with pytest.raises(ConfigError, match="--prompt-index: got it without --phoneme-npz"):
        planned(["b"], None, (1,))
    with pytest.raises(ConfigError, match=r"--prompt-index: got 2, expected 0 … 1: .* has no more"):
        planned([], "e.npz", (0, 2))
    with pytest.raises(InputError, match="got 2 embeddings beside 3 audio prompts, expected as many"):
        planned(["b", "c", "d"], "e.npz")
    with pytest.raises(InputError, match=r"other\.npz: emb: got only mel, expected embeddings of sentences"):
        planned([], "other.npz")
    np.savez(tmp_path / "e.npz", emb=np.full((2, 5), np.nan))
    with pytest.raises(InputError, match=r"emb: got float64 of shape .*, expected finite floats"):
        planned([], "e.npz")


def test_samples_are_ranked_within_their_pair(parts: Path, tmp_path: Path) -> None:
    heard: list[tuple[str, str]] = []

    def scorer(clip: Any, clap: Any) -> Any:
        assert (clip, clap) == ("CLIP", None)

        def score(seen: np.ndarray, samples: np.ndarray, image: str, audio: str) -> dict[str, float]:
            heard.append((image, audio))
            assert seen.dtype == np.uint8
            assert (seen.shape, samples.size) == ((256, 64, 3), 10240)
            return {"clip": (3 * len(heard)) % 5 / 10}

        return score

    roles = ("image_unet", "audio_unet", "vae_decoder", "image_text", "audio_text")
    pipeline = ImageSpeech(
        *(parts / role for role in roles),
        width=64, steps=1, iterations=1, samples=3, seed=7, rank=True, clip="CLIP", scorer=scorer,
    )  # fmt: skip
    write_result(pipeline, tmp_path, ("a", "b"), ("c",), None)
    rows = rows_of(tmp_path / "ranking.csv")
    assert [*rows[0]] == ["index", "seed", "clip", "score", "place"]
    assert [float(row["clip"]) for row in rows] == [0.3, 0.1, 0.4, 0.2, 0.0, 0.3]
    assert [row["place"] for row in rows] == ["2", "3", "1", "2", "3", "1"]
    assert [row["seed"] for row in rows] == ["7", "8", "9"] * 2
    assert heard[3] == ("b", "c")


def test_what_has_no_words_is_not_ranked_by_words(parts: Path, tmp_path: Path) -> None:
    roles = ("image_unet", "audio_unet", "vae_decoder", "image_text")
    given: dict[str, Any] = {role: parts / role for role in roles}
    given["phoneme_adapter"] = small_diffusion.write_adapter(tmp_path / "adapter")

    def scorer(_clip: Any, _clap: Any) -> Any:
        return lambda *_given: {"clap": 0.0}

    pipeline = ImageSpeech(**given, width=64, rank=True, clap="CLAP", scorer=scorer)
    np.savez(tmp_path / "e.npz", emb=np.zeros((2, small_diffusion.DIM), np.float32))
    with pytest.raises(ConfigError, match="--clap: got embeddings without sentences, expected the sentences"):
        write_result(pipeline, tmp_path, ("a",), (), tmp_path / "e.npz")


def test_scores_are_in_standard_deviations() -> None:
    values = standardised(np.array([[1.0, 5.0], [3.0, 5.0]]))
    np.testing.assert_array_equal(values, [[-1, 0], [1, 0]])


@pytest.mark.parametrize("method", ["joint", "imprint"])
def test_the_pack_and_its_check(parts: Path, tmp_path: Path, method: str) -> None:
    pack, ours = tmp_path / "pack", tmp_path / "ours"
    given = ["reference", "image-speech", "--bundle", str(parts), "--width", "64", "--iterations", "1"]
    given += ["--image-prompt", "a", "--audio-prompt", "b", "--method", method, "--out", str(pack)]
    assert main(given) == 0
    names = {path.stem for path in pack.glob("*.npy")}
    expected = {f"{model}_{what}" for model in ("image", "audio") for what in ("tokens", "states")}
    expected |= {f"{model}_noise_{number:03d}" for model in ("image", "audio") for number in range(3)}
    own = ("",) if method == "joint" else ("image_", "audio_")
    expected |= {"latents_000"} | {f"{name}latents_{number:03d}" for name in own for number in (1, 2, 3)}
    assert names == expected | {"picture", "spectrogram", "mel", "wav"}
    assert json.loads((pack / "metadata.json").read_text())["plan"]["steps"] == 3
    ours.mkdir()
    for name in names:
        np.save(ours / f"{name}.npy", np.load(pack / f"{name}.npy"))
    assert main(["check", str(pack), str(ours)]) == 0
    np.save(ours / "picture.npy", np.load(pack / "picture.npy") + np.float32(0.01))
    assert main(["check", str(pack), str(ours)]) == 1


def test_refusals_are_one_sentence_and_leave_nothing(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    pair = ["--image-prompt", "a", "--audio-prompt", "b"]
    empty = tmp_path / "empty.txt"
    empty.write_text(" \n")
    for given, sentence in (
        (pair[2:], "--image-prompt: got none, expected at least one"),
        (pair[:2], "--audio-prompt: got none, expected at least one, or --phoneme-npz FILE"),
        (
            ["--image-prompt", f"@{empty}", *pair[2:]],
            "empty.txt: got no text in it, expected texts for --image-prompt, one a line",
        ),
        (["--image-prompt", "@", *pair[2:]], "--image-prompt: got '@', expected @FILE"),
        (
            [*pair, "--width", "100"],
            "--width: got 100, expected a multiple of 8, 16 or more; nearest: 96 and 104",
        ),
        ([*pair, "--prompt-index", "0"], "--prompt-index: got it without --phoneme-npz, expected both"),
        (
            [*pair, "--image-prompt", "@nowhere.txt"],
            "nowhere.txt: got no such file, expected texts, one a li",
        ),
        (
            [*pair, "--rank", "--clip", str(tmp_path)],
            "got no config.json of a model, expected a folder of clip",
        ),
    ):
        assert run(parts, out, *given) == 2
        told = capsys.readouterr().err.splitlines()[-1]
        assert sentence in told
        assert not out.exists()
    assert run(parts, out, *pair, "--audio-prompt", "c", command="reference") == 2
    assert "reference pack: got 2 pictures, expected one" in capsys.readouterr().err
    long = " ".join("word" for _ in range(40))
    assert run(parts, out, "--image-prompt", long, "--audio-prompt", "b") == 0
    assert "160 tokens, expected at most 75; the rest is cut off" in capsys.readouterr().err


def test_a_folder_without_all_parts_says_which(
    parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some = tmp_path / "some"
    some.mkdir()
    for role in ("image_unet", "audio_unet", "image_text"):
        (some / role).symlink_to(parts / role)
    assert run(some, tmp_path / "out", "--image-prompt", "a", "--audio-prompt", "b") == 2
    assert "got none of sd-vae-decoder, expected" in capsys.readouterr().err
