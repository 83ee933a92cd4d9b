"""`edge-export optimise`: a new bundle whose layers are as coarse as a budget lets them be.

    objective bytes   Core ML: float16 with islands in float32, int8 per channel, palettes of 8, 6 and 4 bits;
                      ONNX: float32, float16 and int8 weights, arithmetic in float32
    objective ms      the ONNX artifacts, the smallest ONNX mix among them, on every runtime of this machine

The search judges the PyTorch net with rounded weights and results (`rounding`). What is written is then
executed on the same sentence, and stepped back along the table until it keeps the budget itself.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from edge_export.backends import get_backend
from edge_export.catalog import get_net
from edge_export.convert import case_axes, module_of
from edge_export.precision import artifacts, timing
from edge_export.precision.formats import Array, Format
from edge_export.precision.picture import draw
from edge_export.precision.quality import Budget, Probe, Quality, probe_of
from edge_export.precision.rounding import Rounded
from edge_export.precision.search import Mix, Search
from edge_export.proof.bisect.origins import write_for_export
from edge_export.proof.verify import align
from edge_export.run import check_apart
from edge_runtime.compare import compare
from edge_runtime.errors import BackendError, ConfigError
from edge_runtime.store.bundle import (
    REFERENCE,
    Artifact,
    Bundle,
    Lengths,
    Tolerance,
    describe_artifact,
    describe_file,
    is_bundle,
    open_bundle,
)
from edge_runtime.store.targets import replace_directory

if TYPE_CHECKING:
    from torch import nn

Objective = Literal["bytes", "ms"]
Goal = Literal["coreml", "onnx"]
PICTURE = "model.pareto.png"
KNOWN: Mapping[str, tuple[Format, ...]] = {
    "coreml": ("float16", "int8", "palette8", "palette6", "palette4"),
    "onnx": ("float32", "float16", "int8"),
}
SUFFIXES: Mapping[str, str] = {"coreml": "model.fp16.mlpackage", "onnx": "model.onnx"}
BACKENDS: Mapping[str, str] = {"coreml": "mil", "onnx": "onnxruntime"}
MARGIN = 1.5  # of the tolerance that the new manifest states, over what was measured
MARGIN_DB = 1.0

Progress = Callable[[str], object]


@dataclass(frozen=True)
class Optimised:
    """The new bundle, and how it was found."""

    bundle: Bundle
    table: dict[str, Any]  # as it stands in the manifest

    def text(self) -> str:
        """The table, a line for each mix, the choice marked."""
        points, unit = self.table["points"], self.table["objective"]
        heads = ("", "mix", "MB" if unit == "bytes" else "ms", "SNR dB", "PESQ", "DNSMOS", "fits")
        lines: list[Sequence[str]] = [heads]
        for point in points:
            cost = f"{point['bytes'] / 1e6:.3f}" if unit == "bytes" else f"{point['ms']:.1f}"
            figures = [_figure(point[name]) for name in ("snr", "pesq", "dnsmos")]
            mark = "→" if point["chosen"] else ""
            lines.append((mark, point["name"], cost, *figures, "yes" if point["fits"] else "no"))
        return align(lines)


def _figure(value: Any) -> str:
    return "-" if value is None else value if isinstance(value, str) else f"{value:.3f}"


def optimise(
    bundle: str | os.PathLike[str] | Bundle,
    out: str | os.PathLike[str],
    *,
    checkpoint: str | os.PathLike[str] | None = None,
    budget: Sequence[str] | Budget = (),
    objective: str = "bytes",
    target: str = "coreml",
    audio: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    progress: Progress = lambda _line: None,
) -> Optimised:
    """Find the coarsest mix of formats within a budget and write it.

    Args:
        bundle: folder, or an opened bundle, of any net whose weights are at hand.
        out: the bundle to write.
        checkpoint: the weights that it was made from; not for random ones.
        budget: texts NAME=VALUE with a name of `Budget`: pesq, dnsmos (largest loss), snr, cosine (at least).
            Without: 0.05 of PESQ and DNSMOS for nets that make audio, 30 dB and a cosine of 0.999 for others.
        objective: "bytes", or "ms": milliseconds on this machine.
        target: for bytes: "coreml" or "onnx".
        audio: another spoken sentence to judge on.
        overwrite: replace an earlier bundle.
        progress: called with a line before each step.

    Raises:
        ConfigError: an unknown objective, target or budget; or a budget that not even the finest mix keeps.
        CheckpointError: weights that are not the bundle's.
        BackendError: PESQ or DNSMOS is asked for and not installed.
    """
    for what, got, known in (("--for", objective, get_args(Objective)), ("--target", target, get_args(Goal))):
        if got not in known:
            raise ConfigError(what, got=got, expected=" or ".join(known))
    opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    check_apart(out, opened)
    manifest = opened.manifest
    if not manifest.source.format.startswith("random seed ") and checkpoint is None:
        raise ConfigError("weights", got="none", expected=f"--checkpoint {manifest.source.file}")
    probe = probe_of(opened, get_net(manifest.net), audio)
    allowed = budget if isinstance(budget, Budget) else Budget.parse(budget, probe.budget)
    job = _Job(opened, module_of(manifest, checkpoint), replace(probe, budget=allowed), progress)
    with replace_directory(out, overwrite, ours=is_bundle) as folder:
        table = job.for_bytes(folder, target) if objective == "bytes" else job.for_time(folder)
    return Optimised(open_bundle(out), table)


class _Job:
    """One net, its probe and its budget."""

    def __init__(self, bundle: Bundle, module: nn.Module, probe: Probe, progress: Progress) -> None:
        from edge_export.tracing.norm_folding import folded

        self._bundle, self._manifest = bundle, bundle.manifest
        self._module, self._folded = module, folded(module)
        self._probe, self._budget, self._progress = probe, probe.budget, progress
        self._net = get_net(self._manifest.net)
        self._config = self._net.config_from_json(self._manifest.config)
        self._outputs = tuple(tensor.name for tensor in self._manifest.outputs)
        self._truth = Rounded(self._folded, self._outputs, None).run(probe.whole, {})

    # ---- bytes --------------------------------------------------------------------------------------------

    def for_bytes(self, folder: Path, target: str) -> dict[str, Any]:
        """Fill a bundle's folder with the smallest mix; returns the table."""
        islands = self._islands() if target == "coreml" else ()
        search = self._search(target, islands)
        chosen = search.run(self._truth)
        while chosen is not None:
            self._progress(f"writing {chosen.name}")
            modules: dict[str, dict[str, str]] = {}
            version, axes = self._write(folder, target, chosen.formats, islands, modules)
            self._progress(f"executing {SUFFIXES[target]}")
            quality, plain = self._executed(folder / SUFFIXES[target], target, axes)
            if quality.within(self._budget, plain):
                break
            _remove(folder / SUFFIXES[target])
            search.mixes = [replace(mix, fits=False) if mix is chosen else mix for mix in search.mixes]
            left = [mix for mix in search.mixes if mix.fits]
            chosen = min(left, key=lambda mix: mix.bytes, default=None)
        if chosen is None:
            raise self._beyond(search.mixes)
        points = [_point(mix, chosen=mix is chosen) for mix in sorted(search.mixes, key=lambda m: -m.bytes)]
        table = self._table("bytes", points, search.plain, chosen.formats, islands)
        table["executed"] = quality.to_json() | {"backend": BACKENDS[target]}
        artifact = self._described(folder, target, version, axes, chosen, islands)
        self._seal(folder, artifact, table, modules, "bytes")
        return table

    def _executed(self, path: Path, target: str, axes: Mapping[str, Lengths]) -> tuple[Quality, Quality]:
        """Figures of an artifact that was written, and of the float32 net on the same inputs."""
        inputs = self._probe.cut(axes.get("frames", Lengths()))
        truth = Rounded(self._folded, self._outputs, None).run(inputs, {})
        made = get_backend(BACKENDS[target]).open(path).run(inputs)
        mine = {name: np.asarray(made[name]) for name in self._outputs}
        return self._probe.judged(truth, mine), self._probe.judged(truth, truth)

    def _search(self, target: str, islands: tuple[str, ...]) -> Search:
        net = Rounded(self._folded, self._outputs, islands if target == "coreml" else None)
        layers = sum(weight.size for weight in net.weights.values())
        others = sum(parameter.numel() for parameter in self._folded.parameters()) - layers
        each = 2 if target == "coreml" else 4
        return Search(net, KNOWN[target], self._probe, self._budget, each * others, self._progress)

    def _islands(self) -> tuple[str, ...]:
        """Parts that stay float32: the catalogue's, and the most damaging ones until the budget is kept."""
        islands = list(self._net.float32_parts)
        plain = self._probe.judged(self._truth, self._truth)
        parts = [name for name, part in self._folded.named_children() if name not in islands]
        damage: dict[str, float] = {}
        while True:
            net = Rounded(self._folded, self._outputs, tuple(islands))
            halves: dict[str, Format] = {
                path: "float32" if net.in_island(path) else "float16" for path in net.layers
            }
            quality = self._probe.judged(self._truth, net.run(self._probe.whole, halves))
            if quality.within(self._budget, plain) or not parts:
                return tuple(islands)
            if not damage:
                damage = {part: self._alone(part, parts, islands) for part in parts}
            worst = min(parts, key=lambda part: damage[part])
            self._progress(f"{worst} stays float32")
            islands.append(worst)
            parts.remove(worst)

    def _alone(self, part: str, parts: Sequence[str], islands: Sequence[str]) -> float:
        """Signal-to-noise ratio with only one part in float16, dB."""
        self._progress(f"float16 in {part} alone")
        others = (*islands, "", *(other for other in parts if other != part))
        net = Rounded(self._folded, self._outputs, others)
        formats: dict[str, Format] = {p: "float32" if net.in_island(p) else "float16" for p in net.layers}
        truth = Rounded(self._folded, self._outputs, None).run(self._probe.short, {})
        made = net.run(self._probe.short, formats)
        return min(_snr(truth[name], made[name]) for name in truth)

    def _write(
        self,
        folder: Path,
        target: str,
        formats: Mapping[str, Format],
        islands: tuple[str, ...],
        modules: dict[str, dict[str, str]],
    ) -> tuple[str, dict[str, Lengths]]:
        """The artifact of a mix; its version and its axes."""
        path = folder / SUFFIXES[target]
        if target == "onnx":
            from edge_export.to_onnx.exporter import flexible_axes

            version = artifacts.write_onnx_mix(self._module, self._net, self._config, path, formats)
            return version, flexible_axes(self._net, self._config)
        axes = case_axes(self._net, self._manifest)
        version = artifacts.write_coreml_mix(
            self._module,
            self._net,
            self._config,
            path,
            formats,
            islands,
            axes,
            source_sha256=self._manifest.source.sha256,
            modules=modules.setdefault(path.name, {}),
        )
        return version, {name: axis.lengths for name, axis in axes.items()}

    def _described(
        self,
        folder: Path,
        target: str,
        version: str,
        axes: Mapping[str, Lengths],
        chosen: Mix,
        islands: tuple[str, ...],
    ) -> Artifact:
        counts = ", ".join(f"{count} in {kind}" for kind, count in chosen.counts.items())
        return describe_artifact(
            folder,
            SUFFIXES[target],
            target="coreml" if target == "coreml" else "onnx",
            precision="fp16" if target == "coreml" else "fp32",
            version=version,
            axes=axes,
            note=f"weights of layers: {counts}",
            float32_parts=islands,
            form="any" if target == "coreml" else "plain",
        )

    # ---- milliseconds -------------------------------------------------------------------------------------

    def for_time(self, folder: Path) -> dict[str, Any]:
        """Fill a bundle's folder with the fastest artifact; returns the table."""
        plain = self._probe.judged(self._truth, self._truth)
        files = {a.path: self._bundle.path / a.path for a in self._manifest.artifacts if a.target == "onnx"}
        search = self._search("onnx", ())
        smallest = search.run(self._truth)
        scratch = folder / "model.small.onnx"
        if smallest is not None:
            artifacts.write_onnx_mix(self._module, self._net, self._config, scratch, smallest.formats)
            files[scratch.name] = scratch
        timed = timing.measured(files, self._probe, self._truth, plain, self._budget, self._progress)
        fitting = [each for each in timed if each.fits]
        if not fitting:
            raise self._beyond(search.mixes)
        fastest = min(fitting, key=lambda each: each.milliseconds)
        points = [
            {"name": t.name, "bytes": t.bytes, "ms": round(t.milliseconds, 2), "fits": t.fits}
            | t.quality.to_json()
            | {"chosen": t is fastest}
            for t in sorted(timed, key=lambda each: -each.milliseconds)
        ]
        formats = smallest.formats if smallest and fastest.path == scratch.name else {}
        table = self._table("ms", points, plain, formats, ())
        if fastest.path == scratch.name and smallest is not None:
            from edge_export.to_onnx.exporter import VERSION, flexible_axes

            scratch.rename(folder / SUFFIXES["onnx"])
            axes = flexible_axes(self._net, self._config)
            artifact = self._described(folder, "onnx", VERSION, axes, smallest, ())
        else:
            scratch.unlink(missing_ok=True)
            artifact = self._copied(folder, fastest.path)
        artifact = replace(
            artifact, note=f"fastest within the budget here: {fastest.name.partition(' on ')[2]}"
        )
        self._seal(folder, artifact, table, {}, "ms")
        return table

    def _copied(self, folder: Path, path: str) -> Artifact:
        (artifact,) = (each for each in self._manifest.artifacts if each.path == path)
        for name in artifact.paths:
            shutil.copyfile(self._bundle.path / name, folder / name)
        return artifact

    # ---- the bundle ---------------------------------------------------------------------------------------

    def _table(
        self,
        objective: str,
        points: list[dict[str, Any]],
        plain: Quality,
        formats: Mapping[str, Format],
        islands: Sequence[str],
    ) -> dict[str, Any]:
        return {
            "objective": objective,
            "budget": self._budget.words(),
            "float32": plain.to_json(),
            "points": points,
            "formats": dict(formats),
            "islands": list(islands),
        }

    def _seal(
        self,
        folder: Path,
        artifact: Artifact,
        table: dict[str, Any],
        modules: Mapping[str, Mapping[str, str]],
        unit: str,
    ) -> None:
        """Reference cases, picture, origins and the manifest."""
        shutil.copytree(self._bundle.path / REFERENCE, folder / REFERENCE)
        measure = "pesq" if self._probe.rate is not None and self._budget.pesq is not None else "snr"
        title = f"{self._manifest.net}: {self._budget.words()}"
        draw(folder / PICTURE, title, unit, table["points"], measure)
        manifest = replace(
            self._manifest,
            artifacts=(artifact,),
            tolerance={artifact.precision: self._measured(folder, artifact)},
            optimised=table,
            files=(),
        )
        shortest = min(self._cases(), key=lambda inputs: sum(array.size for array in inputs.values()))
        origins = write_for_export(folder, self._net, self._module, manifest, shortest, modules)
        files = tuple(describe_file(folder, name) for name in (origins, PICTURE))
        replace(manifest, files=files).save(folder)

    def _cases(self) -> list[dict[str, Array]]:
        return [self._bundle.reference(case)[0] for case in self._bundle.cases]

    def _measured(self, folder: Path, artifact: Artifact) -> Tolerance:
        """What the artifact keeps on the reference cases, with a margin."""
        session = get_backend(BACKENDS[artifact.target]).open(folder / artifact.path)
        worst, snr = 0.0, math.inf
        for case in self._bundle.cases:
            inputs, expected = self._bundle.reference(case)
            made = session.run(inputs)
            for name, truth in expected.items():
                result = compare(truth, made[name])
                if math.isnan(result.max_abs):
                    raise BackendError(artifact.path, got=result.reason, expected="finite outputs")
                worst, snr = max(worst, result.max_abs), min(snr, result.snr_db)
        before = self._manifest.tolerance.get(artifact.precision)
        stated = Tolerance(float(f"{MARGIN * worst:.1e}"), math.floor(min(snr, 200.0) - MARGIN_DB))
        if before is not None and worst <= before.max_abs and snr >= before.min_snr_db:
            return before
        return stated

    def _beyond(self, mixes: Sequence[Mix]) -> ConfigError:
        best = max(mixes, key=lambda mix: mix.quality.snr, default=None)
        figures = f"; the finest has {best.quality.to_json()}" if best else ""
        return ConfigError(
            "--budget",
            got=self._budget.words(),
            expected="a budget that some mix keeps",
            cause=f"not even the finest formats keep it{figures}",
        )


def _snr(reference: Array, array: Array) -> float:
    from edge_export.proof.bisect.values import snr_db

    value = snr_db(np.asarray(reference), np.asarray(array))
    return -math.inf if math.isnan(value) else value


def _point(mix: Mix, *, chosen: bool) -> dict[str, Any]:
    entries: dict[str, Any] = {"name": mix.name, "bytes": mix.bytes, "fits": mix.fits, "chosen": chosen}
    return entries | mix.quality.to_json() | {"layers": mix.counts}


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
