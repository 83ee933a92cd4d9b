"""Which electrodes a decoder depends on: silence some of them and measure what changes.

For every electrode, every k × k patch, or every named region: its input is replaced in all 144 frames of
every item, while the synthesizer's noise stays the same. It becomes (`Silence`)

    zero    0, as published: the mean of z-scores. Z-scores over all electrodes together leave each a mean of
            its own; its absence is missed too, though it tells nothing
    mean    that mean, over the trials
    other   what the electrode showed in another trial, aligned by the onset: an input as decoders meet it,
            while they have never seen a second of 0; the average response stays (permutation importance,
            Breiman 2001)

Reported are

    pcc                  how much PCC drops
    spectrogram          mean change of all its values, dB
    the parameters       mean change inside the response, weighted as the losses weigh it (on_stage · loudness
                         on a scale of dB · share of voiced, or unvoiced, sound): Hz, dB, shares

Changes are absolute: signed ones of different frames would cancel. Maps are arrays of the electrodes; on a
hybrid grid only the 128 cells that have one are silenced. The level that a change must exceed (`noise_level`)
comes from decoders that were trained on shuffled trials; how far a map would be the same for other trials,
from its halves (`Occlusion.reliability`).

Source: Chen and others 2024, whose contribution is the drop of PCC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_runtime.errors import ConfigError
from edge_runtime.pipelines.ecog_speech.grids import HB_SIDE, hybrid_places
from edge_runtime.pipelines.ecog_speech.measures import correlation
from edge_training.ecog_speech.data import EcogData, Trial, batch_of
from edge_training.ecog_speech.decoders.ecog_decoder import decode
from edge_training.ecog_speech.formant_synthesizer import FormantSynthesizer, draw_noise
from edge_training.ecog_speech.losses.decoder_losses import DB_RANGE, on_db_above
from edge_training.ecog_speech.parameters import FRAMES, PARAMETERS
from edge_training.ecog_speech.parameters import UNITS as UNITS_OF_PARAMETERS

Silence = Literal["zero", "mean", "other"]  # what a silenced electrode shows
PARTS = tuple(name for name in PARAMETERS if name != "amplitudes_h")
COMPONENTS = ("spectrogram", *PARTS)
UNITS = {name: UNITS_OF_PARAMETERS[name].partition(",")[0] for name in PARTS} | {
    "pcc": "drop of PCC", "spectrogram": "dB", "loudness": "dB"
}  # fmt: skip
AT_ONCE = 10  # trials decoded together: their signals, 128 samples a frame, stay in the cache


@dataclass(frozen=True, eq=False)
class Occlusion:
    """The effect of silencing each group of electrodes."""

    groups: Mapping[str, tuple[int, ...]]  # name → electrodes
    sums: Mapping[str, NDArray[np.float64]]  # "pcc" and each component → (groups, trials), change · weight
    weights: Mapping[str, NDArray[np.float64]]  # the same → (trials,), what the sums are divided by
    pcc: float  # of nothing silenced
    electrodes: int

    @property
    def changes(self) -> dict[str, NDArray[np.float64]]:
        """ "pcc" and each component → (groups,), how much it lost or moved."""
        return {name: self._mean(name, slice(None)) for name in self.sums}

    def _mean(self, name: str, trials: slice) -> NDArray[np.float64]:
        total = self.sums[name][:, trials].sum(axis=1)
        mean: NDArray[np.float64] = total / (self.weights[name][trials].sum() + 1e-12)
        return mean

    def reliability(self, name: str) -> float:
        """How well the changes would correlate with those of as many other trials, at most 1.

        From the correlation r of even with odd trials, 2 r / (1 + r) (Spearman and Brown); nan for less than
        two trials or three groups, or groups that do not differ.
        """
        if len(self.weights[name]) < 2 or len(self.groups) < 3:
            return float("nan")
        halves = [self._mean(name, slice(first, None, 2)) for first in (0, 1)]
        if min(half.std() for half in halves) == 0:
            return float("nan")
        r = correlation(*halves)
        return 2 * r / (1 + r) if r > -1 else -float("inf")

    def map(self, name: str) -> NDArray[np.float64]:
        """(grid, grid) of a component: each electrode the mean of its groups, NaN where it is in none."""
        return self._spread(self._mean(name, slice(None)))

    def blurred(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """(grid, grid): values of electrodes, (E,), as these groups can show them, to compare with a map."""
        return self._spread([float(values[list(members)].mean()) for members in self.groups.values()])

    def _spread(self, of_groups: Iterable[float]) -> NDArray[np.float64]:
        total, count = np.zeros(self.electrodes), np.zeros(self.electrodes)
        for change, members in zip(of_groups, self.groups.values(), strict=True):
            total[list(members)] += change
            count[list(members)] += 1
        side = round(self.electrodes**0.5)
        values = np.full(self.electrodes, np.nan)
        values[count > 0] = total[count > 0] / count[count > 0]
        return values.reshape(side, side)


def real_electrodes(electrodes: int) -> tuple[int, ...]:
    """Cells of a grid that have an electrode, in the order of the recording's electrodes."""
    return tuple(hybrid_places().tolist()) if electrodes == HB_SIDE**2 else tuple(range(electrodes))


def electrode_groups(electrodes: int, patch: int = 1) -> dict[str, tuple[int, ...]]:
    """Every electrode, or every k × k patch of the grid, by name; cells without an electrode are left out.

    Patches overlap: one begins at each electrode, so that `Occlusion.map` averages those around it.

    Raises:
        ConfigError: a patch larger than the grid.
    """
    side = round(electrodes**0.5)
    if not 1 <= patch <= side:
        raise ConfigError("patch", got=str(patch), expected=f"1 … {side} electrodes a side")
    real = set(real_electrodes(electrodes))
    groups = {}
    for row in range(side - patch + 1):
        for column in range(side - patch + 1):
            cells = [(row + y) * side + column + x for y in range(patch) for x in range(patch)]
            members = tuple(cell for cell in cells if cell in real)
            if members:
                groups[f"{row}-{column}"] = members
    return groups


@torch.no_grad()
def occlude(
    decoder: nn.Module,
    synthesizer: FormantSynthesizer,
    data: EcogData,
    groups: Mapping[str, Sequence[int]],
    *,
    silence: Silence = "zero",
    seed: int = 0,
    trials: Sequence[Trial] | None = None,
    progress: Callable[[str], object] = lambda _: None,
) -> Occlusion:
    """Silence each group in turn and decode trials, each from 32 frames before its onset.

    Args:
        decoder, synthesizer: in evaluation mode.
        groups: name → electrodes.
        silence: see above; means are over all frames of these trials, other trials are among them.
        seed: of the synthesizer's noise, the same for all, and of which trial is whose other one.
        trials: of `data`; its test trials if not given.
        progress: called with a line of text before each ten trials.

    Raises:
        ConfigError: an electrode that does not exist; no trials; another kind of silence.
    """
    wrong = sorted({e for members in groups.values() for e in members if not 0 <= e < data.electrodes})
    if wrong or not all(groups.values()) or not groups:
        raise ConfigError(
            "electrodes", got=", ".join(map(str, wrong)) or "none", expected=f"0 … {data.electrodes - 1}"
        )
    chosen = data.test if trials is None else trials
    if not chosen:
        raise ConfigError("trials", got="none", expected="one at least")
    shown = _shown(data, chosen, check_silence(silence), seed)
    noise = draw_noise(FRAMES, 1, torch.Generator().manual_seed(seed))[:2]
    sums: dict[str, list[NDArray[np.float64]]] = {name: [] for name in ("pcc", *COMPONENTS)}
    weights: dict[str, list[NDArray[np.float64]]] = {name: [] for name in sums}
    pcc = []
    for first, batch in _batches(data, chosen):
        progress(f"trials {first + 1} to {first + len(batch['ecog'])} of {len(chosen)}")
        base = _decoded(decoder, synthesizer, batch, batch["ecog"], noise)
        pcc.append(base["pcc"])
        weight = _weights(base, batch["on_stage"])
        changed = [
            _changes(base, _decoded(decoder, synthesizer, batch, ecog, noise), weight)
            for ecog in _silenced(batch["ecog"], groups, shown(first, len(batch["ecog"])))
        ]
        for name in sums:
            sums[name].append(np.stack([change[name] for change in changed]))
            weights[name].append(_total(weight[name]))
    return Occlusion(
        {name: tuple(members) for name, members in groups.items()},
        {name: np.concatenate(values, axis=1) for name, values in sums.items()},
        {name: np.concatenate(values) for name, values in weights.items()},
        float(torch.cat(pcc).mean()),
        data.electrodes,
    )


def _batches(data: EcogData, trials: Sequence[Trial]) -> Iterator[tuple[int, dict[str, Any]]]:
    for first in range(0, len(trials), AT_ONCE):
        items = batch_of([data.aligned_item(trial) for trial in trials[first : first + AT_ONCE]])
        batch = {name: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for name, v in items.items()}
        yield first, batch


def check_silence(name: str) -> Silence:
    """The name of what a silenced electrode shows; ConfigError for another."""
    for known in get_args(Silence):
        if name == known:
            return known  # type: ignore[no-any-return]
    raise ConfigError("silence", got=repr(name), expected=" or ".join(get_args(Silence)))


def _shown(
    data: EcogData, trials: Sequence[Trial], silence: Silence, seed: int
) -> Callable[[int, int], Tensor]:
    """First trial and number of trials → what their electrodes show when silenced, (E,) or (B, 144, E)."""
    if silence == "other":
        others = other_trials(trials, seed)

        def of_others(first: int, count: int) -> Tensor:
            ecog = [data.aligned_item(trial)["ecog"] for trial in others[first : first + count]]
            return torch.from_numpy(np.stack(ecog))

        return of_others
    level = torch.zeros(data.electrodes)
    if silence == "mean":
        means = [data.aligned_item(trial)["ecog"].mean(axis=0) for trial in trials]
        level = torch.from_numpy(np.mean(means, axis=0, dtype=np.float32))
    return lambda _first, _count: level


def other_trials(trials: Sequence[Trial], seed: int) -> list[Trial]:
    """For each trial another one of its subject, each once, in an order of the seed.

    Raises:
        ConfigError: a subject with one trial.
    """
    order = np.random.default_rng(seed).permutation(len(trials))
    found = list(trials)
    for subject in {trial.subject for trial in trials}:
        own = [place for place in order if trials[place].subject == subject]
        if len(own) == 1:
            raise ConfigError("trials", got="one of a subject", expected="two, where silence is 'other'")
        for place, other in zip(own, [*own[1:], own[0]], strict=True):
            found[place] = trials[other]
    return found


def _silenced(ecog: Tensor, groups: Mapping[str, Sequence[int]], shown: Tensor) -> Iterator[Tensor]:
    """The input (B, 144, E) with each group in turn as it is shown, (E,) or (B, 144, E)."""
    for members in groups.values():
        silenced = ecog.clone()
        silenced[:, :, list(members)] = shown[..., list(members)]
        yield silenced


def _decoded(
    decoder: nn.Module,
    synthesizer: FormantSynthesizer,
    batch: Mapping[str, Any],
    ecog: Tensor,
    noise: tuple[Tensor, ...],
) -> dict[str, Tensor]:
    """The parameters, the spectrogram in dB (B, T, F), and pcc (B, 1, 1)."""
    parameters = dict(decode(decoder, ecog))
    made = synthesizer.spectrogram(parameters, batch["noisesample"], *noise).clamp(max=1)
    pairs = zip(made.numpy(), batch["spectrogram"].numpy(), strict=True)
    pcc = torch.tensor([correlation(x, y) for x, y in pairs]).reshape(-1, 1, 1)
    level = made.squeeze(1) * (synthesizer.config.scale.span / 2)
    return parameters | {"spectrogram": level, "pcc": pcc}


def _weights(base: Mapping[str, Tensor], on_stage: Tensor) -> dict[str, Tensor]:
    """How much the frames of each component count, (B, 1, T); of pcc and spectrogram trials count alike."""
    heard = on_stage * on_db_above(base["loudness"])
    weights = dict.fromkeys(("pcc", "spectrogram"), torch.ones(len(heard), 1, 1))
    for name in PARTS:
        row = 1 if "noise" in name else 0
        shared = "formants" in name or name == "f0_hz"
        weights[name] = heard * base["amplitudes"][:, row : row + 1] if shared else heard
    return weights


def _changes(
    base: Mapping[str, Tensor], other: Mapping[str, Tensor], weights: Mapping[str, Tensor]
) -> dict[str, NDArray[np.float64]]:
    """Name → (B,): the change of a trial times its weight."""
    found = {"pcc": base["pcc"] - other["pcc"]}
    found["spectrogram"] = (base["spectrogram"] - other["spectrogram"]).abs().mean((1, 2), keepdim=True)
    for name in PARTS:
        one, two = base[name], other[name]
        if name == "loudness":
            one, two = (DB_RANGE[1] * on_db_above(power) for power in (one, two))
        found[name] = (one - two).abs().mean(1, keepdim=True)
    return {name: _total(change * weights[name]) for name, change in found.items()}


def _total(values: Tensor) -> NDArray[np.float64]:
    """(B, 1, T) → (B,)."""
    return np.asarray(values.double().sum((1, 2)).numpy())


def noise_level(occlusions: Sequence[Occlusion], name: str) -> float:
    """Level that a change must exceed: mean and two deviations over decoders trained on shuffled trials."""
    values = np.concatenate([occlusion.changes[name] for occlusion in occlusions])
    return float(values.mean() + 2 * values.std())
