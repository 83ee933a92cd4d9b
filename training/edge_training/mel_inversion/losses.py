"""Targets and losses of mel inversion and Deep Griffin-Lim; losses are computed per item, then averaged.

Mel inversion, t the true magnitude and h the estimate, (B, bins, T):

    distortion   10 log10 (‖h − t‖² / ‖t − mean t‖²): negative SI-SSDR, except that scale and offset count,
                 because a net that keeps the level must get them right
    log_error    mean |ln h − ln t|

Deep Griffin-Lim (Masuyama and others 2020), for a true spectrum X* (B, 2, bins, T) to which noise was added:

    spectrum     mean |X − X*|², the block's output itself
    projected    mean |P_A(X) − X*|: only the phase of the output counts, as in mel-speech-reconstruction

The loss of an item does not depend on the rest of its batch, and every loss has a gradient.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge_runtime.dsp.mel import MelConfig, filter_bank
from edge_training.mel_inversion.degli import with_magnitude
from edge_training.mel_inversion.pinv_conv_skip import FLOOR, Domain
from edge_training.spectral.mels import TorchMel

SpectrumLoss = Literal["spectrum", "projected"]

COLOUR_POINTS = 12  # of a random equaliser, evenly spaced over the bins
PERFECT = 1e-6  # of the energy: a distortion below −60 dB is not reduced any further
LOUDEST = 10.0  # times an item's largest magnitude: louder estimates count as this loud
SILENCE = 1e-6  # smallest mean square of a magnitude that distortion is measured against


class InversionTargets(nn.Module):
    """Samples (B, N) → (mel (B, n_mels, T), magnitude (B, bins, T)): the net's input and the target.

    Domain "log": the mel is `config`'s, the magnitude that of the transform, at least 1e-5. Domain "db", that
    of mel-speech-reconstruction: each item's magnitude is divided by its own maximum and at least
    `spectrum_range_db` below it.

    Args:
        colour: standard deviation of a random equaliser's gains, in ln, to imitate other microphones and
            rooms. Drawn from torch's global generator for each item.
    """

    def __init__(self, config: MelConfig, domain: Domain) -> None:
        super().__init__()
        self.config, self.domain = config, domain
        plain = replace(config, standardize=False, spectrum_range_db=None, log="ln")
        self.transform = TorchMel(plain)
        self.register_buffer("bank", torch.from_numpy(filter_bank(config)).float(), persistent=False)

    @torch.no_grad()
    def forward(self, samples: Tensor, colour: float = 0.0) -> tuple[Tensor, Tensor]:
        """Samples (B, N) → mel (B, n_mels, T) and magnitude (B, bins, T)."""
        with torch.autocast(samples.device.type, enabled=False):
            samples = samples.float()
            if self.domain == "db":
                samples = samples - samples.mean(-1, keepdim=True)
            magnitude = self.transform.spectrum(samples)
            if colour:
                magnitude = magnitude * random_gains(magnitude, colour)
            if self.domain == "log":
                mel = torch.log((self.get_buffer("bank") @ magnitude).clamp(min=self.config.floor))
                return mel, magnitude.clamp(min=FLOOR)
            largest = magnitude.amax((-2, -1), keepdim=True).clamp(min=FLOOR)
            magnitude = (magnitude / largest).clamp(min=10 ** (-self._range_db / 20))
            normalized = 20 * magnitude.log10() / self._range_db + 1
            return self.get_buffer("bank") @ normalized, magnitude

    def log_magnitude(self, output: Tensor) -> Tensor:
        """A net's output (B, bins, T) in this domain → ln of the magnitude that `forward` gives."""
        if self.domain == "log":
            return output
        return (output - 1) * (self._range_db * math.log(10) / 20)

    @property
    def _range_db(self) -> float:
        return self.config.spectrum_range_db or 0.0


def random_gains(magnitude: Tensor, deviation: float) -> Tensor:
    """Factors (B, bins, 1) along a smooth random curve over frequency; standard `deviation` in ln."""
    points = deviation * torch.randn(len(magnitude), 1, COLOUR_POINTS, device=magnitude.device)
    curve = F.interpolate(points, size=magnitude.shape[1], mode="linear", align_corners=True)
    return curve.transpose(1, 2).exp()


def distortion(truth: Tensor, log_estimate: Tensor) -> Tensor:
    """dB, scalar, the lower the better: magnitude and ln of the estimate, both (B, bins, T)."""
    axes = (-2, -1)
    # the output of an untrained net may be beyond the exponential's range
    ceiling = (LOUDEST * truth.amax(axes, keepdim=True)).log()
    error = (torch.minimum(log_estimate, ceiling).exp() - truth).square().mean(axes)
    energy = (truth - truth.mean(axes, keepdim=True)).square().mean(axes)
    return (10 * torch.log10(error / energy.clamp(min=SILENCE) + PERFECT)).mean()


def log_error(truth: Tensor, log_estimate: Tensor) -> Tensor:
    """Mean |Δ ln|, scalar: magnitude and ln of the estimate, both (B, bins, T)."""
    return F.l1_loss(log_estimate, truth.log())


# ---- Deep Griffin-Lim -------------------------------------------------------------------------------------


def noisy(spectrum: Tensor, low_db: float, high_db: float) -> Tensor:
    """A spectrum (B, 2, bins, T) plus white complex noise, each item at a random SNR, low … high dB."""
    level = torch.empty(len(spectrum), 1, 1, 1, device=spectrum.device).uniform_(low_db, high_db)
    noise = torch.randn_like(spectrum)
    ratio = _norm(spectrum) / _norm(noise).clamp(min=1e-12)
    return spectrum + noise * ratio * 10 ** (-level / 20)


def _norm(spectrum: Tensor) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(spectrum, dim=(1, 2, 3), keepdim=True)
    return norm


def spectrum_loss(truth: Tensor, output: Tensor, magnitude: Tensor, kind: SpectrumLoss) -> Tensor:
    """Scalar loss of a block's output (B, 2, bins, T), see above; `magnitude` (B, bins, T) is A."""
    if kind == "spectrum":
        return (output - truth).square().sum(1).mean()
    difference = with_magnitude(output, magnitude) - truth
    # a root has no gradient at 0, where a bin is already right
    return (difference.square().sum(1) + 1e-12).sqrt().mean()
