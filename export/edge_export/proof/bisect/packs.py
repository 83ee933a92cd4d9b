"""`edge-export bisect PACK CANDIDATE`: the first stage that differs, and what only inherits it.

A reference pack lists its stages in the order of the signal (VALIDATION_INSTRUCTIONS.json). Each is compared
as `check` does. Where this project can compute a stage from the one before it without a net (mel of audio,
windows of mels, padding and context of features), or with a bundle that is given, the stage is run on the
*candidate's* input: if that gives the candidate's array, the stage is right and its error is propagated; if
not, the error is introduced there. For mels and rows of parameters guesses at the cause are tested
(`guesses`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_export.proof.bisect.guesses import explain_channels, explain_mel
from edge_export.proof.reference import CheckReport, Row, check_reference
from edge_export.proof.verify import align
from edge_runtime.compare import Comparison, compare
from edge_runtime.dsp.mel import MelConfig, MelFrontEnd
from edge_runtime.dsp.windows import check_counting, context_window, encoder_windows, repeat_ends
from edge_runtime.errors import ConfigError, EdgeError, InputError
from edge_runtime.media.audio import read_audio
from edge_runtime.pipelines.pack_files import AUDIO, INSTRUCTIONS, is_pack
from edge_runtime.store.bundle import Bundle, open_bundle
from edge_runtime.store.reading import find_object, read_array

AnyPath = str | os.PathLike[str]
Array = NDArray[Any]
MELS = ("mel.npy", "mel_spectrogram.npy")


@dataclass(frozen=True)
class Stage:
    """One stage: its arrays, what `check` says of the worst, and where its error comes from.

    ``origin``: "" where it agrees; "introduced", "propagated" or "both"; "unknown" where the stage cannot be
    run here.
    """

    name: str
    status: str  # PASS, FAIL or MISSING
    row: Row  # of the worst array
    meaning: str
    origin: str = ""
    introduced: Comparison | None = None  # the candidate's array against the stage on the candidate's input
    guess: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "stage": self.name,
            "status": self.status,
            "meaning": self.meaning,
            "origin": self.origin,
            "guess": self.guess,
            "worst": self.row.to_json(),
            "introduced": self.introduced.to_json() if self.introduced else None,
        }


@dataclass(frozen=True)
class PackBisection:
    """All stages in the order of the signal."""

    pack: str
    candidate: str
    tolerance: float
    stages: tuple[Stage, ...]

    @property
    def passed(self) -> bool:
        """Whether every stage is there and within the tolerance."""
        return all(stage.status == "PASS" for stage in self.stages)

    @property
    def culprit(self) -> Stage | None:
        """The first stage that differs and does not only inherit it."""
        wrong = [stage for stage in self.stages if stage.status != "PASS"]
        return next((stage for stage in wrong if stage.origin != "propagated"), None)

    def summary(self) -> str:
        """One line."""
        if self.culprit is None:
            return f"all {len(self.stages)} stages within {self.tolerance:g}"
        guess = f"; {self.culprit.guess}" if self.culprit.guess else ""
        return f"the first stage that differs is {self.culprit.name}{guess}"

    def text(self) -> str:
        """A line for each stage; what is known of the first one that differs."""
        lines = [("stage", "", "max abs", "SNR dB", "error", "")]
        for stage in self.stages:
            c = stage.row.comparison
            figures = (f"{c.max_abs:.2e}", f"{c.snr_db:.1f}") if c else ("-", "-")
            lines.append((stage.name, stage.status, *figures, stage.origin or "-", stage.row.remark))
        found = self.culprit
        if found is None:
            return align(lines)
        told = [f"first stage that differs: {found.name} ({found.meaning})"]
        told += [f"  {found.guess}"] if found.guess else []
        return "\n".join([align(lines), "", *told])

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "pack": self.pack,
            "candidate": self.candidate,
            "tolerance": self.tolerance,
            "passed": self.passed,
            "culprit": self.culprit.name if self.culprit else None,
            "stages": [stage.to_json() for stage in self.stages],
        }


def bisect_pack(
    pack: AnyPath, candidate: AnyPath, *, tolerance: float = 1e-3, bundle: AnyPath | Bundle | None = None
) -> PackBisection:
    """Find the first stage with which a port, or another bundle, leaves a reference pack.

    Args:
        pack: the folder that `edge-export reference` wrote.
        candidate: a folder of the same files.
        tolerance: largest absolute difference that passes, in the unit of each array.
        bundle: of the net of a vocoder's or talking head's pack, to run it on the candidate's input.

    Raises:
        InputError: no pack, or one that is damaged.
        ConfigError: a tolerance that is none, or a bundle of another pipeline's net.
    """
    folder, other = Path(pack), Path(candidate)
    if not folder.is_dir() or not is_pack(folder):
        raise InputError(
            str(pack),
            got="no reference pack" if folder.exists() else "no such folder",
            expected="a reference pack, as `edge-export reference` writes",
            cause="bisect takes one bundle, or a pack and a candidate",
        )
    report = check_reference(folder, other, tolerance)
    meanings = _meanings(folder)
    rerun = _Rerun(folder, other, None if bundle is None else _opened(bundle))
    stages = [_audio_stage(folder, other, tolerance)] if (other / AUDIO).is_file() else []
    for name, rows in _in_order(report, meanings):
        stages.append(_stage(name, rows, meanings, rerun, tolerance))
    return PackBisection(str(pack), str(candidate), tolerance, tuple(s for s in stages if s is not None))


def _opened(bundle: AnyPath | Bundle) -> Bundle:
    opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    known = ("hifigan", "istft-vocoder", "audio-encoder")
    if opened.manifest.net not in known:
        raise ConfigError("--bundle", got=opened.manifest.net, expected=f"a bundle of {', '.join(known)}")
    return opened


def _meanings(folder: Path) -> dict[str, str]:
    """File or folder → what the pack says of it, in the order of the signal."""
    files = find_object(folder / INSTRUCTIONS).get("files", {})
    return {str(name): str(text) for name, text in files.items()} if isinstance(files, dict) else {}


def _in_order(report: CheckReport, meanings: Mapping[str, str]) -> list[tuple[str, list[Row]]]:
    """Stages with their rows: files as they are listed, folders whole, unlisted ones last."""
    found: dict[str, list[Row]] = {}
    for row in report.rows:
        place, _, name = row.file.rpartition("/")
        key = f"{place}/*_{name.rpartition('_')[2]}" if place else row.file
        found.setdefault(key, []).append(row)
    listed = list(meanings)

    def position(key: str) -> tuple[int, str]:
        entry = f"{key.partition('/')[0]}/" if "/" in key else key
        # a window comes before what it is reshaped to, as the names happen not to say
        return (listed.index(entry) if entry in listed else len(listed), "" if "window" in key else key)

    return [(key, found[key]) for key in sorted(found, key=position)]


def _stage(name: str, rows: list[Row], meanings: Mapping[str, str], rerun: _Rerun, tolerance: float) -> Stage:
    wrong = [row for row in rows if row.status != "PASS"]
    worst = max(wrong or rows, key=lambda row: row.comparison.max_abs if row.comparison else float("inf"))
    meaning = meanings.get(name, meanings.get(f"{name.partition('/')[0]}/", ""))
    if not wrong:
        return Stage(name, "PASS", worst, meaning)
    if worst.status == "MISSING":
        return Stage(name, "MISSING", worst, meaning, "unknown")
    origin, introduced = rerun.origin(worst.file, tolerance)
    guess = "" if origin == "propagated" else rerun.guess(worst.file, tolerance)
    return Stage(name, "FAIL", worst, meaning, origin, introduced, guess)


def _audio_stage(folder: Path, other: Path, tolerance: float) -> Stage | None:
    """The candidate's own audio, where it wrote one."""
    if not (folder / AUDIO).is_file():
        return None
    try:
        ours, theirs = (read_audio(place / AUDIO) for place in (folder, other))
    except EdgeError as error:
        row = Row(AUDIO, "FAIL", None, str(error))
        return Stage(AUDIO, "FAIL", row, "the samples that the rest is made from", "introduced")
    result = compare(ours.samples, theirs.samples, tolerance=tolerance)
    status = "PASS" if result.passed else "FAIL"
    row = Row(AUDIO, status, result, result.reason)
    return Stage(
        AUDIO, status, row, "the samples that the rest is made from", "" if result.passed else "introduced"
    )


class _Rerun:
    """Runs stages of a pack on the candidate's arrays."""

    def __init__(self, folder: Path, other: Path, bundle: Bundle | None) -> None:
        self._folder, self._other, self._bundle = folder, other, bundle
        self._front_end = _front_end(folder)
        self._made_by: Mapping[str, tuple[str, Callable[[Array, str], Array | None]]] = {
            "mel.npy": (AUDIO, self._mel),
            "mel_spectrogram.npy": (AUDIO, self._mel),
            "mel_windows.npy": ("mel_spectrogram.npy", self._windows),
            "audio_features_padded.npy": ("audio_features_raw.npy", lambda raw, _: repeat_ends(raw)),
            "wav.npy": ("mel.npy", self._net),
            "audio_features_raw.npy": ("mel_windows.npy", self._net),
        }

    def origin(self, file: str, tolerance: float) -> tuple[str, Comparison | None]:
        """Whether the error of a file was introduced by its stage."""
        source, stage = self._made_by.get(file, ("", None))
        if file.startswith("frames/") and file.endswith("_window.npy"):
            source, stage = "audio_features_padded.npy", _context
        if stage is None or not self._has(source):
            return "unknown", None
        given = self._read(self._other, source)
        made = None if given is None else stage(given, file)
        if made is None:
            return "unknown", None
        result = compare(made, read_array(self._other / file), tolerance=tolerance)
        before = self._differs(source, tolerance)
        if result.passed:
            return "propagated" if before else "unknown", result
        return "both" if before else "introduced", result

    def guess(self, file: str, tolerance: float) -> str:
        """What the candidate did instead, where a guess holds."""
        try:
            reference, candidate = (read_array(place / file) for place in (self._folder, self._other))
        except EdgeError:
            return ""
        if file in MELS and self._front_end is not None and (self._folder / AUDIO).is_file():
            audio = self._read(self._folder, AUDIO)
            if audio is not None:
                return explain_mel(audio, self._front_end, candidate, reference, tolerance)
        return explain_channels(candidate, reference, tolerance)

    def _has(self, source: str) -> bool:
        return (self._other / source).is_file() or (source == AUDIO and (self._folder / AUDIO).is_file())

    def _differs(self, source: str, tolerance: float) -> bool:
        if not (self._other / source).is_file():
            return False
        ours, theirs = (self._read(place, source) for place in (self._folder, self._other))
        return ours is None or theirs is None or not compare(ours, theirs, tolerance=tolerance).passed

    def _read(self, place: Path, source: str) -> Array | None:
        """The candidate's array; audio from the pack where the candidate has none."""
        try:
            if source != AUDIO:
                return read_array(place / source)
            mine = place / AUDIO
            return read_audio(mine if mine.is_file() else self._folder / AUDIO).samples
        except EdgeError:
            return None

    def _mel(self, audio: Array, _file: str) -> Array | None:
        if self._front_end is None:
            return None
        try:
            return MelFrontEnd(self._front_end, "float64")(audio)
        except EdgeError:
            return None

    def _windows(self, mel: Array, _file: str) -> Array | None:
        stated = find_object(self._folder / "metadata.json")
        try:
            return encoder_windows(mel, float(stated["fps"]), counting=check_counting(stated["windows"]))
        except (EdgeError, KeyError, TypeError, ValueError):
            return None

    def _net(self, given: Array, _file: str) -> Array | None:
        if self._bundle is None:
            return None
        try:
            if self._bundle.manifest.net == "audio-encoder":
                from edge_runtime.pipelines.talking_head.pipeline import TalkingHead

                net = TalkingHead(self._bundle).net
                return None if net is None else net(given.transpose(0, 2, 1)[:, None])
            from edge_runtime.pipelines.vocoder.pipeline import Vocoder

            return Vocoder(self._bundle).synthesize(np.asarray(given, np.float32))
        except EdgeError:
            return None


def _front_end(folder: Path) -> MelConfig | None:
    """As the pack states it: in metadata.json, or among the provenance."""
    stated = find_object(folder / "metadata.json").get("front_end")
    if stated is None:
        provenance = find_object(folder / INSTRUCTIONS).get("provenance", {})
        stated = provenance.get("front_end") if isinstance(provenance, dict) else None
    if not isinstance(stated, dict):
        return None
    try:
        return MelConfig.from_json(stated)
    except EdgeError:
        return None


def _context(padded: Array, file: str) -> Array | None:
    number = int("".join(character for character in Path(file).name if character.isdigit()))
    return context_window(padded, number) if number < len(padded) else None
