"""What one compared pair of arrays shows: where it differs, spectra, pictures, players.

Evidence is made while arrays are at hand, and small: pictures of at most 128 x 256, two seconds of sound. All
of it may still be more than a report holds; the best rows then keep facts alone, and the page says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_export.report import spectra
from edge_export.report.charts import Line, line_chart
from edge_export.report.markup import Markup, data_uri, element, join
from edge_export.report.page import pairs

SECONDS = 2.0  # of a sound that are played
BUDGET = 4_200_000  # bytes of all evidence in a page


@dataclass(frozen=True)
class Evidence:
    """Facts in words, and figures: charts, pictures and players."""

    facts: tuple[tuple[str, str], ...] = ()
    figures: tuple[Markup, ...] = ()

    @property
    def bytes(self) -> int:
        """Of the figures in a page."""
        return sum(len(figure) for figure in self.figures)

    def markup(self, *, whole: bool = True) -> Markup:
        """Facts, and the figures where there is room for them."""
        left_out = "Charts, pictures and players are left out: the report would be too large."
        shown = element("div", *self.figures, class_="figures") if whole else element("p", left_out)
        return join(pairs(self.facts), shown if self.figures else "")


@dataclass(frozen=True)
class Subject:
    """What is compared, one for all its candidates: the reference, and how it is shown."""

    truth: NDArray[np.float64]
    rate: int | None = None  # Hz, where the last axis is sound
    own: Evidence = field(default_factory=Evidence)  # the reference alone

    @classmethod
    def of(cls, truth: NDArray[np.generic], rate: int | None = None) -> Subject:
        """The reference array, with its own pictures and player."""
        values = _real(truth)
        shape = (("shape", f"{tuple(truth.shape)} {truth.dtype}"),)
        if not values.size or not np.isfinite(values).all():
            return cls(values, rate, Evidence(shape))
        facts = (*shape, ("range", f"{values.min():.4g} to {values.max():.4g}"))
        if rate is None or values.shape[-1] < spectra.SHORTEST:
            plane = _thinned(_plane(values))
            picture = spectra.level_png(plane, float(plane.min()), float(plane.max()))
            named = _picture(picture, "Reference", "smallest value dark, largest light")
            return cls(values, None, Evidence(facts, (named,)))
        sound = _first(values)
        power = spectra.power(sound)
        picture = spectra.spectrogram_png(power, float(power.max()), spectra.QUIET)
        figures = (
            _player("Reference", sound[: int(SECONDS * rate)], rate),
            _picture(picture, "Reference", f"{spectra.QUIET:g} to 0 dB of its peak"),
        )
        return cls(values, rate, Evidence((*facts, ("sample rate", f"{rate} Hz")), figures))

    def against(self, made: NDArray[np.generic]) -> Evidence:
        """Where a candidate differs."""
        judged = _real(made)
        if judged.shape != self.truth.shape:
            shapes = f"{tuple(judged.shape)} in place of {tuple(self.truth.shape)}"
            return Evidence((("shape", shapes),))
        wrong = ~np.isfinite(judged)
        if wrong.any() or not judged.size or not np.isfinite(self.truth).all():
            return Evidence((("not finite", f"{int(wrong.sum())} of {wrong.size} values"),))
        difference = judged - self.truth
        facts = tuple(_worst(self.truth, judged, difference))
        if self.rate is None:
            return Evidence(facts, tuple(_profiles(self.truth, difference)))
        return Evidence(facts, tuple(_heard(_first(self.truth), _first(judged), self.rate)))


def fitting(found: Iterable[tuple[Evidence, bool, float]], used: int = 0) -> list[bool]:
    """Which evidence fits into a page: failures first, then by SNR, the worst first.

    Args:
        found: evidence, whether it passed, its SNR in dB.
        used: bytes that are spent already.
    """
    listed = list(found)
    order = sorted(range(len(listed)), key=lambda i: (listed[i][1], _ordered(listed[i][2])))
    fits = [False] * len(listed)
    for i in order:
        if used + listed[i][0].bytes <= BUDGET:
            used += listed[i][0].bytes
            fits[i] = True
    return fits


def _ordered(snr_db: float) -> float:
    return -math.inf if math.isnan(snr_db) else snr_db


def _real(array: NDArray[np.generic]) -> NDArray[np.float64]:
    """Real numbers; complex ones as two rows, and at least one axis."""
    values = np.atleast_1d(np.asarray(array))
    if values.dtype.kind == "c":
        values = np.stack([values.real, values.imag])
    return values.astype(np.float64)


def _first(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first item of a batch of sounds."""
    first: NDArray[np.float64] = values.reshape(-1, values.shape[-1])[0]
    return first


def _plane(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(rows, columns) of the first item of a batch."""
    squeezed = values.reshape([axis for axis in values.shape if axis > 1] or [1])
    if squeezed.ndim == 1:
        return squeezed[None]
    first: NDArray[np.float64] = squeezed.reshape(-1, *squeezed.shape[-2:])[0]
    return first


def _thinned(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most as many rows and columns as a picture has, the largest value of each group."""
    for axis, most in ((0, spectra.BANDS), (1, spectra.FRAMES)):
        if plane.shape[axis] > most:
            parts = np.array_split(plane, most, axis=axis)
            plane = np.stack([part.max(axis=axis) for part in parts], axis)
    return plane


def _worst(
    truth: NDArray[np.float64], judged: NDArray[np.float64], difference: NDArray[np.float64]
) -> Iterable[tuple[str, str]]:
    at = np.unravel_index(int(np.abs(difference).argmax()), difference.shape)
    place = tuple(int(i) for i in at)
    yield "worst value", f"at {place}: reference {truth[at]:.9g}, artifact {judged[at]:.9g}"
    yield "difference", f"{difference[at]:.3g} there; mean {difference.mean():.3g}"
    beyond = int((np.abs(difference) > np.abs(difference).max() / 10).sum())
    yield "spread", f"{beyond} of {difference.size} values differ by more than a tenth of the worst"


def _profiles(truth: NDArray[np.float64], difference: NDArray[np.float64]) -> Iterable[Markup]:
    """A picture of the difference, and its largest value along both axes."""
    peak = float(np.abs(truth).max())
    squared = np.square(difference)
    plane = _plane(squared)
    if plane.shape[0] > 1:
        picture = spectra.level_png(_thinned(spectra.decibels(plane, peak**2)), spectra.SILENCE, 0.0)
        yield _picture(picture, "Difference", f"{spectra.SILENCE:g} to 0 dB of the reference's peak")
    for axis, name in ((0, "row"), (1, "column")):
        if plane.shape[axis] > 1:
            largest = spectra.decibels(plane.max(axis=1 - axis), peak**2)
            yield line_chart(
                f"Largest difference by {name}",
                f"{name}, axis of {plane.shape[axis]}",
                "dB of the reference's peak",
                [Line("difference", largest)],
                span=(0, plane.shape[axis] - 1),
                floor=spectra.SILENCE,
            )


def _heard(truth: NDArray[np.float64], made: NDArray[np.float64], rate: int) -> Iterable[Markup]:
    """Players, the error's spectrum, and spectrograms."""
    difference, count = made - truth, int(SECONDS * rate)
    louder = difference[:count] * spectra.LOUDER
    yield _player("Artifact", made[:count], rate)
    yield _player(f"Difference × {spectra.LOUDER:g}", louder, rate)
    powers = [spectra.power(signal) for signal in (truth, made, difference)]
    means = [power.mean(axis=1) for power in powers]
    loudest = float(means[0].max())
    names = ("reference", "artifact", "difference")
    yield line_chart(
        "Mean spectrum",
        "Hz",
        "dB of the reference's loudest bin",
        [Line(name, spectra.decibels(mean, loudest)) for name, mean in zip(names, means, strict=True)],
        span=(0, rate / 2),
        floor=spectra.SILENCE,
    )
    peak = float(powers[0].max())
    shown: Sequence[tuple[str, NDArray[np.float64], float]] = (
        ("Artifact", powers[1], spectra.QUIET),
        ("Difference", powers[2], spectra.SILENCE),
    )
    for name, values, lowest in shown:
        picture = spectra.spectrogram_png(values, peak, lowest)
        yield _picture(picture, name, f"{lowest:g} to 0 dB of the reference's peak")


def _picture(content: bytes, name: str, scale: str) -> Markup:
    image = element("img", src=data_uri("image/png", content), alt=f"{name}: {scale}; low rows at the bottom")
    return element("figure", image, element("figcaption", f"{name}, {scale}"))


def _player(name: str, samples: NDArray[np.float64], rate: int) -> Markup:
    clipped = int((np.abs(samples) > 1).sum())
    told = f"{name}, {len(samples) / rate:.2f} s" + (f"; {clipped} samples clipped" if clipped else "")
    source = data_uri("audio/wav", spectra.wav_bytes(samples, rate))
    audio = element("audio", src=source, controls=True, preload="metadata", aria_label=name)
    return element("figure", audio, element("figcaption", told))
