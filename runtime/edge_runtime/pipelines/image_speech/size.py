"""Which sizes of the picture the nets take together, and the whole rule for one that they do not.

The height is fixed by the mel. The width must suit both UNets, which halve latents several times, and the
VAE, which is given fewer columns where `--cutoff-latent` drops some; packages take one size. Halves of a UNet
were exported together, and the first speaks for both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from edge_runtime.errors import BundleError, ConfigError
from edge_runtime.pipelines.bundle_net import BundleNet
from edge_runtime.pipelines.image_speech.nets import FACTOR, Unet, VaeDecoder
from edge_runtime.pipelines.image_speech.plan import CUT, FEWEST_COLUMNS, Plan
from edge_runtime.store.bundle import Lengths

_HEIGHT, _WIDTH = 2, 3  # axes of latents


def check_size(unets: Sequence[Unet], vae: VaeDecoder, plan: Plan) -> None:
    """Refuse a size of the picture that the nets do not take.

    Raises:
        ConfigError: a width that is not admitted, with the rule and what is nearest; a cut that the VAE does
            not take.
        BundleError: nets for pictures of another height, or without a common width.
    """
    for net in (*(unet.net for unet in unets), vae.net):
        if not _takes(net.lengths(_HEIGHT), plan.height // FACTOR):
            raise BundleError(
                f"{net.bundle.path}: height",
                got=_told(_pixels(net.lengths(_HEIGHT))),
                expected=f"{plan.height}, a row for each band of the mel",
                cause=f"export it with --set height={plan.height}",
            )
    given = [unet.net.lengths(_WIDTH) for unet in unets]
    if not plan.cutoff_latent:
        given.append(vae.net.lengths(_WIDTH))
    admitted = common(given)
    if admitted is None:
        raise BundleError(
            "bundles of image-speech",
            got=" and ".join(f"{_told(_pixels(each))} pixels" for each in given),
            expected="a common width of UNets and VAE",
            cause="export them together: edge-export export image-speech",
        )
    _check_width(_pixels(admitted), plan, unets[0].net)
    kept = (plan.width - CUT) // FACTOR
    if plan.cutoff_latent and not _takes(vae.net.lengths(_WIDTH), kept):
        raise ConfigError(
            "--cutoff-latent",
            got=f"{kept} columns of latents for {vae.net.bundle.path}",
            expected=_told(vae.net.lengths(_WIDTH)),
            cause="--crop-image drops them after decoding",
        )


def _check_width(admitted: Lengths, plan: Plan, net: BundleNet) -> None:
    """Against the lengths of both UNets, in pixels."""
    fewest = FEWEST_COLUMNS + plan.width - plan.columns
    least = max(admitted.low, _up(fewest, admitted.step))
    if _takes(admitted, plan.width) and plan.width >= least:
        return
    if admitted.only:
        rule = " or ".join(str(size) for size in admitted.only if size >= least) or f"at least {least}"
        cause = f"{net.bundle.path} was exported for {_told(admitted)}; --set width=… exports for another"
    else:
        rule = _told(Lengths(least, admitted.high, step=admitted.step))
        below, above = plan.width // admitted.step * admitted.step, _up(plan.width, admitted.step)
        near = [size for size in (below, above) if size >= least and _takes(admitted, size)] or [least]
        cause = f"nearest: {' and '.join(str(size) for size in near)}"
    dropped = f", {CUT} of which are dropped" if plan.width != plan.columns else ""
    raise ConfigError("--width", got=str(plan.width), expected=f"{rule}{dropped}", cause=cause)


def common(given: Sequence[Lengths]) -> Lengths | None:
    """The lengths that all of several artifacts take; None if there are none.

    >>> common([Lengths(2, step=2), Lengths(3, 9)])
    Lengths(low=4, high=8, only=(), step=2)
    >>> common([Lengths(8, 8, (8,)), Lengths(2, step=2)])
    Lengths(low=8, high=8, only=(8,), step=1)
    """
    step = math.lcm(*(each.step for each in given))
    low = _up(max(each.low for each in given), step)
    highs = [each.high for each in given if each.high is not None]
    high = min(highs) // step * step if highs else None
    if high is not None and high < low:
        return None
    listed = [set(each.only) for each in given if each.only]
    if not listed:
        return Lengths(low, high, step=step)
    fitting = sorted(size for size in set.intersection(*listed) if all(_takes(each, size) for each in given))
    return Lengths(fitting[0], fitting[-1], tuple(fitting)) if fitting else None


def _takes(lengths: Lengths, size: int) -> bool:
    if lengths.only:
        return size in lengths.only
    return lengths.low <= size <= (lengths.high or size) and size % lengths.step == 0


def _pixels(latents: Lengths) -> Lengths:
    high = None if latents.high is None else FACTOR * latents.high
    only = tuple(FACTOR * size for size in latents.only)
    return Lengths(FACTOR * latents.low, high, only, 1 if only else FACTOR * latents.step)


def _told(lengths: Lengths) -> str:
    if lengths.only:
        return " or ".join(str(size) for size in lengths.only)
    ends = f"{lengths.low} or more" if lengths.high is None else f"{lengths.low} to {lengths.high}"
    return f"a multiple of {lengths.step}, {ends}" if lengths.step > 1 else ends


def _up(size: int, step: int) -> int:
    return -(-size // step) * step
