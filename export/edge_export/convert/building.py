"""The PyTorch net of a bundle: from a checkpoint, from a seed, or with nothing to load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_export.catalog import Axes, Net, NetConfig, get_net
from edge_export.catalog.dynamic_axes import Buckets
from edge_export.convert.request import Origin, PathLike, Request
from edge_export.proof.gates.sounding import Described, check_fit
from edge_runtime.errors import CheckpointError, ConfigError, EdgeError
from edge_runtime.store.bundle import Manifest, Source

if TYPE_CHECKING:
    from torch import nn

SEED = "random seed "  # begins the format of a source of random weights


@dataclass(frozen=True)
class Built:
    """A net with its weights, in evaluation mode on the CPU."""

    module: nn.Module
    config: NetConfig
    source: Source
    carried: Mapping[str, Path] = field(default_factory=dict)  # files that go with it into the bundle


def build(request: Request) -> Built:
    """The net that was asked for.

    Raises:
        ConfigError: a configuration that the net, the frames that were asked for or the gate do not fit.
        CheckpointError: weights that are damaged, unsafe or of another net.
    """
    if request.origin.checkpoint is not None:
        return _from_checkpoint(request, request.net.locate(request.origin.checkpoint))
    settings, said = _config(request.net, request.origin)
    if request.origin.random is not None:
        return _from_seed(request, request.origin.random, settings, said)
    return _without_weights(request, settings, said)


def module_of(manifest: Manifest, checkpoint: PathLike | None = None) -> nn.Module:
    """The PyTorch net that a bundle was exported from, in evaluation mode.

    Args:
        manifest: of the bundle.
        checkpoint: its weights; needed unless they are random, or the net has none.

    Raises:
        CheckpointError: weights that are not those of the bundle; also random ones that this version of
            torch, or this package, draws otherwise.
    """
    net, source = get_net(manifest.net), manifest.source
    settings = net.config_from_json(manifest.config)
    with one_thread():
        if checkpoint is not None:
            return _checked_module(net, settings, source, Path(checkpoint))
        if not source.format.startswith(SEED):
            return net.build(settings).eval()
        from edge_export.examples.random_weights import weights_sha256

        module = _random(net, case_axes(net, manifest), int(source.format.removeprefix(SEED)), settings)
    if weights_sha256(module) != source.sha256:
        raise CheckpointError(
            source.format,
            got="other weights than when the bundle was exported",
            expected=f"weights with SHA-256 {source.sha256[:12]}…",
            cause="another version of torch or of edge-export draws others: export the net again",
        )
    return module


def case_axes(net: Net[Any], manifest: Manifest) -> Axes:
    """The axes that the bundle's reference cases were made with: buckets may have been asked for."""
    for artifact in manifest.artifacts:
        frames = artifact.axes.get("frames")
        if artifact.target == "coreml" and frames is not None and frames.only:
            return {**net.coreml_axes, "frames": Buckets(frames.only)}
    return net.coreml_axes


@contextmanager
def one_thread() -> Iterator[None]:
    """Runs torch on one thread: with several, the rounding of sums depends on their number."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _from_checkpoint(request: Request, path: Path) -> Built:
    from edge_training.weights.loading import config_of, finish, open_for

    net, origin = request.net, request.origin
    request.progress(f"reading {path.name}")
    checkpoint, entry = open_for(path, net.loadable, origin.weights)
    said = list(checkpoint.said)
    settings = config_of(entry, checkpoint, said, origin.config, preset=origin.preset, changes=origin.changes)
    settings = entry.settle(settings, checkpoint, said)
    _check_settings(request, settings)  # before the weights are read
    loaded = finish(entry, settings, checkpoint, said)
    source = Source(checkpoint.file, checkpoint.sha256, checkpoint.format, loaded.said)
    source = _merged(request, loaded.module, source)
    return Built(loaded.module, settings, source, net.carried(settings, path))


def _merged(request: Request, module: nn.Module, source: Source) -> Source:
    """The source with a LoRA merged into the module; its hash is then that of the weights as exported."""
    from edge_export.examples.random_weights import weights_sha256

    lora, merge = request.origin.lora, request.net.merge
    if lora is None or merge is None:
        return source
    request.progress(f"merging {Path(lora).name}")
    said = merge(module, lora)
    return replace(source, sha256=weights_sha256(module), said=(*source.said, said))


def _from_seed(request: Request, seed: int, settings: NetConfig, said: list[str]) -> Built:
    from edge_export.examples.random_weights import weights_sha256

    request.progress(f"random weights from seed {seed}")
    _check_settings(request, settings)
    module = _random(request.net, request.axes, seed, settings)
    return Built(module, settings, Source("random", weights_sha256(module), f"{SEED}{seed}", tuple(said)))


def _without_weights(request: Request, settings: NetConfig, said: list[str]) -> Built:
    from edge_export.examples.random_weights import weights_sha256

    module = request.net.build(settings).eval()
    return Built(module, settings, Source("none", weights_sha256(module), "no weights", tuple(said)))


def _random(net: Net[Any], axes: Axes, seed: int, settings: NetConfig) -> nn.Module:
    """The net with weights from a seed, scaled on the last reference case."""
    import torch

    from edge_export.examples.random_weights import random_module

    *_, case = net.cases(settings, axes).values()
    example = tuple(torch.from_numpy(case[tensor.name]) for tensor in net.inputs(settings))

    def start() -> nn.Module:
        module = net.build(settings)
        net.random_start(module)
        return module

    rms, mean = net.range_of_random(settings)
    return random_module(start, seed, example, rms=rms, mean=mean)


def _checked_module(net: Net[Any], settings: NetConfig, source: Source, path: Path) -> nn.Module:
    from edge_training.weights.loading import finish, open_for

    checkpoint, entry = open_for(path, net.loadable)
    if checkpoint.sha256 != source.sha256:
        raise CheckpointError(
            str(path),
            got=f"SHA-256 {checkpoint.sha256[:12]}…",
            expected=f"{source.sha256[:12]}… of {source.file}",
            cause="the bundle was made from another file",
        )
    return finish(entry, settings, checkpoint, []).module  # type: ignore[no-any-return]


def _config(net: Net[Any], origin: Origin) -> tuple[NetConfig, list[str]]:
    """The config of a net without a checkpoint, and what there is to say of it."""
    from edge_training.weights.configs import read_config

    said: list[str] = []
    config, changes = origin.config, origin.changes
    if config is not None:
        entries = config if isinstance(config, Mapping) else read_config(config)
        try:
            settings = net.loadable.read_entries(entries, said, changes=changes)
        except EdgeError as error:
            raise error if isinstance(config, Mapping) else error.within(str(config)) from error
    else:
        settings = net.preset(origin.preset or net.presets[0])
        settings = net.config_from_json({**settings.to_json(), **changes}) if changes else settings
    return net.settle(settings, None, said), said


def _check_settings(request: Request, config: NetConfig) -> None:
    """What the request and the net's configuration say of each other, before weights are read or drawn."""
    _check_context(request, config)
    if request.gate is not None:
        net = request.net
        described = Described(
            request.weights, net.name, config.to_json(), net.front_end(config), net.outputs(config)
        )
        check_fit(described, request.gate, request.beside)


def _check_context(request: Request, config: NetConfig) -> None:
    """ConfigError if the longest bucket is all context: no pipeline could use it."""
    frames, context = request.axes.get("frames"), request.net.geometry(config).context_frames
    if "coreml" in request.targets and isinstance(frames, Buckets):
        longest = frames.sizes[-1]
    elif request.frames:
        longest = request.frames[-1]
    else:
        return
    if context is not None and longest <= 2 * context:
        raise ConfigError(
            "frames",
            got=f"a longest bucket of {longest}",
            expected=f"at least {2 * context + 1}",
            cause=f"with {context} frames of context on each side nothing of a chunk would be left",
        )
