"""A bundle opens as it was written, or is refused with the name of the file that is wrong (pain 14)."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime.dsp.mel import PRESETS
from edge_runtime.errors import BundleError, ConfigError, InputError
from edge_runtime.store import bundle as bundles
from edge_runtime.store.bundle import (
    Artifact,
    DataFile,
    Geometry,
    Lengths,
    Manifest,
    Source,
    Tensor,
    Tolerance,
    check_inputs,
    describe_artifact,
    is_bundle,
    open_bundle,
    write_reference,
)
from edge_runtime.store.targets import sha256_file

MEL = Tensor("mel", "float32", ("batch", 80, "frames"), "natural logarithm of the mel magnitudes", "nepers")
GAIN = Tensor("gain", "float32", ("batch",), "volume", "1")
WAV = Tensor("wav", "float32", ("batch", 1, "samples"), "audio – Ω", "full scale")


def reference_arrays() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(3)
    return {
        "mel": generator.standard_normal((2, 80, 3)).astype(np.float32),
        "gain": np.ones(2, np.float32),
        "wav": np.zeros((2, 1, 768), np.float32),
    }


def write(folder: Path, **changes: Any) -> Manifest:
    """A small bundle with a file and a folder as artifacts; their contents are no nets."""
    folder.mkdir()
    (folder / "model.onnx").write_bytes(bytes(range(256)) * 3)
    (folder / "model.fp16.mlpackage" / "Data").mkdir(parents=True)
    (folder / "model.fp16.mlpackage" / "Data" / "weight.bin").write_bytes(bytes(range(256)))
    (folder / "model.fp16.mlpackage" / "Manifest.json").write_text("{}")
    entries: dict[str, Any] = {
        "net": "hifigan",
        "config": {"upsample_rates": [8, 8, 2, 2], "leak": 0.1, "nested": {"a": None}},
        "front_end": PRESETS["hifigan-22k"],
        "inputs": (MEL, GAIN),
        "outputs": (WAV,),
        "artifacts": (
            describe_artifact(
                folder,
                "model.onnx",
                target="onnx",
                precision="fp32",
                version="opset 17, IR 8",
                axes={"frames": Lengths()},
            ),
            describe_artifact(
                folder,
                "model.fp16.mlpackage",
                target="coreml",
                precision="fp16",
                version="iOS16, specification 7",
                axes={"frames": Lengths(64, 128, (64, 128))},
                note="above 64 frames on GPU or CPU",
            ),
        ),
        "source": Source("g_02500000", "0" * 64, "HiFi-GAN generator, weight norm"),
        "tolerance": {"fp32": Tolerance(1e-3, 60.0), "fp16": Tolerance(5e-2, 30.0)},
        "geometry": Geometry(256, 27, None),
        "versions": {"torch": "2.13.0"},
        "reference": {"short": write_reference(folder, "short", reference_arrays())},
    } | changes
    manifest = Manifest(**entries)
    manifest.save(folder)
    return manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "bundle")
    return tmp_path / "bundle"


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest's entries and seal it again, as another program could."""
    path = folder / "manifest.json"
    entries = json.loads(path.read_text("utf-8"))
    change(entries)
    entries["sha256"] = bundles._self_hash(entries)
    path.write_bytes(bundles._canonical(entries))


# --- what is written is read ---


def test_entries_that_later_versions_added_may_be_missing(tmp_path: Path) -> None:
    manifest = write(tmp_path / "bundle")

    def forget(entries: dict[str, Any]) -> None:
        for artifact in entries["artifacts"]:
            assert artifact.pop("data") == []

    rewrite(tmp_path / "bundle", forget)
    assert open_bundle(tmp_path / "bundle").manifest == manifest


def test_files_of_several_artifacts_have_names_of_their_own(tmp_path: Path) -> None:
    manifest = write(tmp_path / "bundle")
    onnx, coreml = manifest.artifacts
    twice = replace(onnx, data=(DataFile(coreml.path, "0" * 64, 1),))
    with pytest.raises(ConfigError, match=r"artifacts: got model\.fp16\.mlpackage twice, expected each once"):
        replace(manifest, artifacts=(twice, coreml))
    with pytest.raises(ConfigError, match=r"path: got '\.\./model', expected a name in the bundle"):
        DataFile("../model", "0" * 64, 1)


def test_a_bundle_opens_as_it_was_written(tmp_path: Path) -> None:
    manifest = write(tmp_path / "bundle")
    found = open_bundle(tmp_path / "bundle")
    assert found.manifest == manifest
    assert found.manifest.front_end == PRESETS["hifigan-22k"]
    assert found.cases == ("short",)
    assert found.artifact("onnx") == tmp_path / "bundle" / "model.onnx"
    assert found.artifact("coreml", "fp16").is_dir()
    inputs, outputs = found.reference("short")
    assert (list(inputs), list(outputs)) == (["mel", "gain"], ["wav"])
    for name, array in reference_arrays().items():
        np.testing.assert_array_equal((inputs | outputs)[name], array)


def test_a_net_without_a_front_end_and_without_geometry(tmp_path: Path) -> None:
    manifest = write(tmp_path / "bundle", front_end=None, geometry=Geometry(None, None, None))
    assert open_bundle(tmp_path / "bundle").manifest == manifest


def test_the_same_contents_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name)
    first, second = (sorted(path for path in (tmp_path / name).rglob("*") if path.is_file()) for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_the_manifest_is_canonical_json(folder: Path) -> None:
    raw = (folder / "manifest.json").read_bytes()
    entries = json.loads(raw)
    assert entries["format"] == "edge-bundle/1"
    assert raw == json.dumps(entries, sort_keys=True, indent=2, ensure_ascii=False).encode() + b"\n"
    assert "Ω" in raw.decode()


def test_a_bundle_of_links_opens(folder: Path, tmp_path: Path) -> None:
    """Download caches hold the files elsewhere and links to them in the folder."""
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        blob = tmp_path / "blobs" / re.sub(r"\W", "_", str(path))
        blob.parent.mkdir(exist_ok=True)
        shutil.move(path, blob)
        path.symlink_to(blob)
    assert open_bundle(folder).cases == ("short",)


def test_what_finder_leaves_behind_does_not_matter(folder: Path) -> None:
    for place in (folder, folder / "model.fp16.mlpackage"):
        (place / ".DS_Store").write_bytes(b"anything")
    assert open_bundle(folder).cases == ("short",)
    assert is_bundle(folder)


# --- damage ---


@contextmanager
def flipped(path: Path, place: int, bit: int) -> Iterator[None]:
    """One bit of a file turned over, in place (rewriting the file would wait for the disk each time)."""
    with open(path, "r+b", buffering=0) as file:
        file.seek(place)
        byte = file.read(1)[0]
        for value in (byte ^ 1 << bit, byte):
            file.seek(place)
            file.write(bytes([value]))
            if value != byte:
                yield


def test_every_flipped_byte_of_the_manifest_is_refused(folder: Path) -> None:
    path = folder / "manifest.json"
    draw = random.Random(1)
    for place in range(path.stat().st_size):
        with flipped(path, place, draw.randrange(8)), pytest.raises(BundleError, match=r"manifest\.json: "):
            open_bundle(folder)
    open_bundle(folder)


def test_a_flipped_byte_of_any_file_is_refused_and_named(folder: Path) -> None:
    draw = random.Random(2)
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json"]
    assert len(files) == 6
    for path in files:
        size = path.stat().st_size
        artifact = path.relative_to(folder).parts[0]
        named = re.escape(artifact if artifact.startswith("model") else path.name)
        for place in {0, size - 1, *(draw.randrange(size) for _ in range(20))}:
            with (
                flipped(path, place, draw.randrange(8)),
                pytest.raises(BundleError, match=rf"{named}: got SHA-256 .*it is damaged"),
            ):
                open_bundle(folder)
    open_bundle(folder)


@pytest.mark.parametrize("keep", [0, 1, 100, -2])
def test_a_truncated_manifest_is_named(folder: Path, keep: int) -> None:
    path = folder / "manifest.json"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(
        BundleError,
        match=r"manifest\.json: got text that .*, expected JSON; the file is truncated",
    ):
        open_bundle(folder)


@pytest.mark.parametrize("ending", [b"", b"\n", b" "])
def test_a_manifest_with_another_ending_is_refused(folder: Path, ending: bytes) -> None:
    path = folder / "manifest.json"
    path.write_bytes(path.read_bytes()[:-1] + ending * (2 if ending == b"\n" else 1))
    with pytest.raises(BundleError, match="differ from their own hash"):
        open_bundle(folder)


@pytest.mark.parametrize(
    "text",
    [
        b'{"format": "edge-bundle/1", "a": NaN}\n',
        b"[" * 100_000,
        b'{"format": "edge-bundle/1", "a": "\\ud800"}\n',
    ],
)
def test_json_that_only_python_reads_is_refused(folder: Path, text: bytes) -> None:
    (folder / "manifest.json").write_bytes(text)
    with pytest.raises(BundleError, match=r"manifest\.json: got (text that is not|brackets|bytes that are)"):
        open_bundle(folder)


def test_an_edit_by_hand_is_refused(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text("utf-8").replace('"max_abs": 0.001', '"max_abs": 9.001'), "utf-8")
    with pytest.raises(
        BundleError, match=r"manifest\.json: got contents that differ .* the file is damaged, or was edited"
    ):
        open_bundle(folder)


def test_a_truncated_artifact_is_named_with_its_sizes(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"short")
    with pytest.raises(
        BundleError, match=r"model\.onnx: got 5 bytes, expected 768 bytes; it was copied or down"
    ):
        open_bundle(folder, verify=False)


@pytest.mark.parametrize("name", ["model.onnx", "model.fp16.mlpackage", "reference/short/mel.npy"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    path = folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(BundleError, match=rf"{re.escape(name)}: got no such file, .* in part"):
        open_bundle(folder, verify=False)


@pytest.mark.parametrize("name", ["model.onnx.bak", "reference/short/extra.npy", "notes/todo.txt"])
def test_a_file_too_many_is_named(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).touch()
    with pytest.raises(BundleError, match=rf"{re.escape(name)}: got a file that the manifest does not list"):
        open_bundle(folder)


def test_a_file_too_many_in_a_package_is_damage(folder: Path) -> None:
    (folder / "model.fp16.mlpackage" / "empty").touch()
    with pytest.raises(BundleError, match=r"model\.fp16\.mlpackage: got SHA-256"):
        open_bundle(folder)


def test_without_verifying_contents_are_trusted_but_references_are_not(folder: Path) -> None:
    for name in ("model.onnx", "reference/short/mel.npy"):
        raw = bytearray((folder / name).read_bytes())
        raw[-1] ^= 1
        (folder / name).write_bytes(raw)
    found = open_bundle(folder, verify=False)
    with pytest.raises(BundleError, match=r"mel\.npy: got SHA-256"):
        found.reference("short")


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda _: None, "no such folder, expected a bundle's folder; edge-export export writes one"),
        (lambda path: path.touch(), "got a file, expected a bundle's folder"),
        (lambda path: path.mkdir(), r"manifest\.json: got no such file"),
    ],
)
def test_what_is_no_bundle_is_refused(tmp_path: Path, prepare: Callable[[Path], None], message: str) -> None:
    prepare(tmp_path / "bundle")
    with pytest.raises(BundleError, match=message):
        open_bundle(tmp_path / "bundle")


# --- formats and entries ---


@pytest.mark.parametrize("found", ["edge-bundle/2", "edge-bundle/0"])
def test_another_version_says_which_one_this_reads(folder: Path, found: str) -> None:
    rewrite(folder, lambda entries: entries.update(format=found))
    with pytest.raises(BundleError, match=rf"got format {found}, expected edge-bundle/1, .*update this one"):
        open_bundle(folder)


@pytest.mark.parametrize("text", ["[]\n", "3\n", "{}\n", '{"format": 1}\n', '{"format": "other"}\n'])
def test_json_of_something_else_is_refused(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)
    with pytest.raises(
        BundleError, match="expected edge-bundle/1, which is what this version reads; is this a"
    ):
        open_bundle(folder)


def into(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    """A change of one entry, somewhere inside the manifest."""

    def change(entries: Any) -> None:
        for step in path[:-1]:
            entries = entries[step]
        entries[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (into("net", value=3), "net: got 3, expected a text"),
        (into("config", value=[]), r"config: got \[\], expected an object"),
        (into("inputs", value={}), "inputs: got {}, expected a list"),
        (into("inputs", 0, value="mel"), r'inputs\[0\]: got "mel", expected an object'),
        (into("inputs", 0, "shape", 1, value=1.5), r"inputs\[0\]\.shape\[1\]: got 1\.5, expected int or str"),
        (
            into("inputs", 0, "shape", 1, value=True),
            r"inputs\[0\]\.shape\[1\]: got true, expected int or str",
        ),
        (into("inputs", 0, "shape", 1, value=0), r"inputs\[0\]\.shape: got .*expected sizes of at least 1"),
        (
            into("inputs", 0, "dtype", value="float33"),
            r"inputs\[0\]\.dtype: got float33, expected float32 or float16 or int32",
        ),
        (into("inputs", 0, "name", value="../mel"), r"inputs\[0\]\.name: got '\.\./mel', expected a name"),
        (into("outputs", 0, "name", value="mel"), "inputs and outputs: got mel twice, expected each once"),
        (
            into("artifacts", 0, "bytes", value="768"),
            r'artifacts\[0\]\.bytes: got "768", expected a whole number',
        ),
        (
            into("artifacts", 0, "target", value="tflite"),
            r'artifacts\[0\]\.target: got "tflite", expected onnx or coreml or coreai',
        ),
        (
            into("artifacts", 0, "target", value=[]),
            r"artifacts\[0\]\.target: got \[\], expected onnx or coreml or coreai",
        ),
        (
            into("artifacts", 0, "precision", value="int4"),
            r'artifacts\[0\]\.precision: got "int4", expected fp32 or fp16',
        ),
        (into("tolerance", value={"fp16": {"max_abs": 1, "min_snr_db": 1}}), "tolerance: got none for fp32"),
        (
            into("tolerance", "fp32", "max_abs", value=None),
            r"tolerance\.fp32\.max_abs: got null, expected a number",
        ),
        (
            into("geometry", "hop_length", value="256"),
            'geometry.hop_length: got "256", expected a whole number',
        ),
        (
            into("geometry", "context_before", value=3),
            r"geometry\.context_before and context_after: got \(3, None\), expected both, or neither",
        ),
        (
            into("geometry", "hop", value=1),
            "geometry: got hop, expected the entries context_after, context_before, context_frames",
        ),
        (
            into("reference", "short", value={}),
            "reference/short: got none, expected gain.npy, mel.npy, wav.npy",
        ),
        (into("reference", "../short", value={}), r"reference: got '\.\./short', expected a name"),
        (into("versions", "torch", value=2), r"versions\.torch: got 2, expected a text"),
        (into("front_end", value=3), "front_end: got 3, expected an object"),
        (into("front_end", "hop_length", value=-1), "front_end.hop_length: got -1"),
        (into("front_end", "fmax", value="8k"), "front_end"),
        (into("front_end", "hops", value=1), "front_end.*hops"),
        (
            lambda entries: entries.pop("net"),
            "the manifest: got no net, expected the entries artifacts, config",
        ),
        (into("comment", value=""), "the manifest: got comment, expected the entries artifacts, config"),
    ],
)
def test_a_wrong_entry_is_named(
    folder: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    rewrite(folder, change)
    with pytest.raises(BundleError, match=rf"manifest\.json: {message}"):
        open_bundle(folder)


@pytest.mark.parametrize(
    "path", ["../model.onnx", "/etc/passwd", "a/../../b", "manifest.json", "reference", "", "."]
)
def test_a_path_out_of_the_bundle_is_refused(folder: Path, path: str) -> None:
    rewrite(folder, into("artifacts", 0, "path", value=path))
    with pytest.raises(
        BundleError, match=rf"artifacts\[0\]\.path: got '{re.escape(path)}', expected a name in the"
    ):
        open_bundle(folder)


def test_a_manifest_that_could_not_be_opened_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="expected a whole number"):
        write(tmp_path / "bundle", geometry=Geometry(256.0, None, None))  # type: ignore[arg-type]
    assert not (tmp_path / "bundle" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (
            replace(MEL, shape=("batch", 79, "frames")),
            r"short: mel: got shape \(2, 80, 3\), expected \(batch, 79",
        ),
        (replace(MEL, dtype="float16"), "short: mel: got float32, expected float16"),
        (replace(MEL, shape=("batch", 80)), "short: mel: got shape .* 3 axes, expected .* 2 axes"),
        (replace(GAIN, shape=("frames",)), "short: mel"),
    ],
)
def test_reference_arrays_of_another_shape_are_refused(tmp_path: Path, tensor: Tensor, message: str) -> None:
    others = tuple(item for item in (MEL, GAIN) if item.name != tensor.name)
    write(tmp_path / "bundle", inputs=(tensor, *others))
    with pytest.raises(BundleError, match=message):
        open_bundle(tmp_path / "bundle")


@pytest.mark.parametrize("contents", [b"", b"\x80\x04K\x01.", b"\x93NUMPY\x01\x00"])
def test_a_reference_that_is_no_array_is_refused_and_never_unpickled(folder: Path, contents: bytes) -> None:
    path = folder / "reference" / "short" / "gain.npy"
    path.write_bytes(contents)
    rewrite(folder, into("reference", "short", "gain.npy", value=sha256_file(path)))
    with pytest.raises(BundleError, match=r"gain\.npy: got .*, expected an array of numbers"):
        open_bundle(folder)


# --- asking for what is not there ---


def test_an_artifact_that_is_not_there_lists_those_that_are(folder: Path) -> None:
    with pytest.raises(
        BundleError, match="artifacts: got coreml fp16, onnx fp32, expected coreml fp32; export"
    ):
        open_bundle(folder).artifact("coreml")


def test_a_case_that_is_not_there_lists_those_that_are(folder: Path) -> None:
    with pytest.raises(BundleError, match="reference: got no case long, expected one of short"):
        open_bundle(folder).reference("long")


def test_two_artifacts_of_one_kind_are_refused(tmp_path: Path) -> None:
    item = Artifact("model.onnx", "onnx", "fp32", "0" * 64, 3, "opset 17", {})
    with pytest.raises(ConfigError, match="artifacts: got onnx fp32 twice"):
        write(tmp_path / "bundle", artifacts=(item, replace(item, path="model.b.onnx")))


# --- whether it may be overwritten ---


def test_a_bundle_is_recognised_as_ours_even_when_damaged(folder: Path) -> None:
    assert is_bundle(folder)
    (folder / "model.onnx").unlink()
    (folder / "manifest.json").write_bytes((folder / "manifest.json").read_bytes()[:-40])
    assert is_bundle(folder)


@pytest.mark.parametrize("name", ["notes.txt", "src/main.py", ".git/HEAD"])
def test_a_bundle_with_somebodys_files_is_not_ours(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).touch()
    assert not is_bundle(folder)


def test_other_folders_are_not_ours(tmp_path: Path) -> None:
    assert not is_bundle(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": "web-app"}')
    assert not is_bundle(tmp_path)
    assert not is_bundle(tmp_path / "nothing")
    assert os.listdir(tmp_path) == ["manifest.json"]


# --- inputs ---


def test_inputs_that_fit_pass() -> None:
    check_inputs((MEL, GAIN), {"gain": np.ones(2, np.float32), "mel": np.ones((2, 80, 9), np.float32)})


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"mel": np.ones((2, 80, 9), np.float32)}, "inputs: got mel, expected gain, mel"),
        ({"mel": 0, "gain": 0, "pitch": 0}, "inputs: got gain, mel, pitch, expected gain, mel"),
        ({"mel": np.ones((2, 80, 9)), "gain": np.ones(2)}, "mel: got float64, expected float32"),
        (
            {"mel": np.ones((80, 9), np.float32), "gain": np.ones(1, np.float32)},
            r"mel: got shape \(80, 9\), 2 axes, expected \(batch, 80, frames\), 3 axes; is the batch",
        ),
        (
            {"mel": np.ones((2, 9, 80), np.float32), "gain": np.ones(2, np.float32)},
            r"mel: got shape \(2, 9, 80\), expected \(batch, 80, frames\), 80 on axis 1; are two axes",
        ),
        (
            {"mel": np.ones((2, 13, 9), np.float32), "gain": np.ones(2, np.float32)},
            r"mel: got shape \(2, 13, 9\), expected \(batch, 80, frames\), 80 on axis 1$",
        ),
        (
            {"mel": np.ones((2, 80, 0), np.float32), "gain": np.ones(2, np.float32)},
            r"mel: got shape \(2, 80, 0\), expected .*, no axis empty",
        ),
        (
            {"mel": np.ones((2, 80, 9), np.float32), "gain": np.ones(3, np.float32)},
            r"gain: got 3 batch \(axis 0\), expected 2 batch, as many as mel has",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_named(arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_inputs((MEL, GAIN), arrays)


@pytest.mark.parametrize(
    "name", ["manifest.json", "model.onnx", "model.fp16.mlpackage/more.bin", "reference/short/gain.npy"]
)
def test_pipes_in_place_of_files_are_refused(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    with pytest.raises(BundleError, match=rf"{name}: got a pipe"):
        open_bundle(folder)
    assert not is_bundle(folder) or name != "manifest.json"


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        (("geometry", "hop_length"), 10**10),
        (("geometry", "context_frames"), 10**9),
        (("geometry", "receptive_field"), -1),
        (("inputs", 0, "shape"), [2**20, 2**20, "frames"]),
        (("artifacts", 0, "axes", "frames", "high"), 2**60),
        (("front_end", "hop_length"), 10**10),
        (("front_end", "n_fft"), 2**32),
    ],
)
def test_numbers_of_a_sealed_manifest_are_bounded(folder: Path, entry: tuple[Any, ...], value: Any) -> None:
    rewrite(folder, into(*entry, value=value))
    with pytest.raises(BundleError, match=r"manifest\.json: .*(hop_length|frames|field|shape|lengths|n_fft)"):
        open_bundle(folder)
