"""The net is found wherever it lies; of several sets the one taken is said, or the choice is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.small_weights import State, discriminators, save, tiny

from edge_runtime.errors import CheckpointError
from edge_training.weights.containers import open_weights
from edge_training.weights.reading import Checkpoint, open_checkpoint
from edge_training.weights.selection import select
from edge_training.weights.weight_norm import as_stored, origin_state_dict

GENERATOR = tiny().fold().state_dict()
AVERAGED = {key: tensor + 1 for key, tensor in GENERATOR.items()}
JUDGES = discriminators()


def stored(box: Any) -> Any:
    """Dicts of tensors as a file holds them."""
    if isinstance(box, dict):
        return {key: stored(value) for key, value in box.items()}
    if isinstance(box, list):
        return [stored(value) for value in box]
    return as_stored(box) if isinstance(box, torch.Tensor) else box


def prefixed(prefix: str, state: State) -> State:
    return {prefix + key: tensor for key, tensor in state.items()}


def opened(tmp_path: Path, saved: object, **options: Any) -> Checkpoint:
    return open_checkpoint(save(tmp_path / "weights", saved), "hifigan", **options)


def is_(checkpoint: Checkpoint, state: State) -> bool:
    return checkpoint.stored.keys() == state.keys() and torch.equal(
        checkpoint.read("conv_pre.bias"), state["conv_pre.bias"]
    )


# ---- places -----------------------------------------------------------------------------------------------

NAMES = st.sampled_from(
    [
        "module",
        "_orig_mod",
        "model",
        "net",
        "generator",
        "state_dict",
        "model_g",
        "vocoder",
        "teacher",
        "g_a",
        "x y",
    ]
)


@pytest.mark.parametrize(
    ("part", "wrapped"),
    [
        ("resblocks.0.", "resblocks.0._orig_mod."),
        ("conv_pre.", "conv_pre._fsdp_wrapped_module._checkpoint_wrapped_module."),
        ("ups.", "ups.module."),
    ],
)
def test_wrappers_inside_of_the_net(tmp_path: Path, part: str, wrapped: str) -> None:
    """Of compiled blocks, sharded layers, lists on several devices."""
    state = {f"generator.{key.replace(part, wrapped)}": tensor for key, tensor in GENERATOR.items()}
    checkpoint = opened(tmp_path, {"state_dict": state})
    assert is_(checkpoint, GENERATOR)
    assert "wrappers inside taken off" in checkpoint.format


def test_optimisers_alone_are_named(tmp_path: Path) -> None:
    moments = {0: {"exp_avg": torch.zeros(3)}}
    optimiser = {"state": moments, "param_groups": [{"lr": 1e-4, "params": [0]}]}
    for saved in (optimiser, {"optim_g": optimiser, "steps": 3}):
        with pytest.raises(CheckpointError, match="the states of optimisers alone"):
            opened(tmp_path, saved)


@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_numpy_are_weights_too(tmp_path: Path, order: Any) -> None:
    arrays = {key: tensor.numpy().astype(">f8", order=order) for key, tensor in GENERATOR.items()}
    checkpoint = opened(tmp_path, {"generator": arrays})
    assert checkpoint.state.keys() == GENERATOR.keys()
    assert all(torch.equal(checkpoint.state[key], tensor) for key, tensor in GENERATOR.items())


@settings(max_examples=40, deadline=None)
@given(levels=st.lists(NAMES, max_size=3), prefixes=st.lists(NAMES, max_size=3), judged=st.booleans())
def test_any_wrappers_in_any_order(levels: list[str], prefixes: list[str], judged: bool) -> None:
    state = prefixed("".join(f"{name}." for name in prefixes), GENERATOR)
    if judged:
        state |= JUDGES
    saved: Any = stored(state)
    for level in levels:
        saved = {level: saved, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": as_stored(torch.ones(3))}}}}
    selection = select(saved, "hifigan")
    assert selection.stored.keys() == GENERATOR.keys()
    assert [note for note in selection.notes if note.startswith("level")] == [
        f"level {n}" for n in levels[::-1]
    ]
    assert [note for note in selection.notes if note.startswith("prefix")] == [
        f"prefix {n}." for n in prefixes
    ]


BESIDE: dict[str, Any] = {
    "buffers": prefixed("generator.", GENERATOR)
    | {"mel.spectrogram.window": torch.ones(4), "mel.fb": torch.ones(3, 2)},
    "discriminator": prefixed("generator.", GENERATOR) | prefixed("discriminator.", JUDGES),
    "coqui": prefixed("model_g.", GENERATOR) | prefixed("model_d.", JUDGES),
    "acoustic model": prefixed("vocoder.", GENERATOR) | {"encoder.layers.0.weight": torch.ones(2, 2)},
    "list": [{"weight": torch.ones(2, 2)}, GENERATOR],
}


@pytest.mark.parametrize("what", BESIDE)
def test_the_generator_is_found_beside_others(what: str) -> None:
    assert select({"nets": stored(BESIDE[what])}, "hifigan").stored.keys() == GENERATOR.keys()


def test_discriminators_alone_are_named_for_what_they_are(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, {"state_dict": JUDGES})
    assert any(key.startswith("mpd.discriminators") for key in checkpoint.stored)


# ---- averaged and live ------------------------------------------------------------------------------------

LIVE_AND_AVERAGED: dict[str, dict[str, Any]] = {
    "levels": {"generator": GENERATOR, "generator_ema": AVERAGED},
    "model and ema": {"model": GENERATOR, "ema": AVERAGED},
    "prefixes": {"state_dict": prefixed("net.", GENERATOR) | prefixed("net_ema.", AVERAGED)},
    "ema_model": {"online_model": GENERATOR, "ema_model": AVERAGED},
    "torch's": {"model": GENERATOR, "mean": {**prefixed("module.", AVERAGED), "n_averaged": torch.tensor(9)}},
}


@pytest.mark.parametrize("what", LIVE_AND_AVERAGED)
def test_live_weights_are_taken_and_averaged_ones_offered(tmp_path: Path, what: str) -> None:
    saved = LIVE_AND_AVERAGED[what]
    checkpoint = opened(tmp_path, saved)
    assert is_(checkpoint, GENERATOR)
    assert "live weights of" in checkpoint.said[-1]
    assert checkpoint.said[-1].endswith(": --weights ema")
    assert is_(opened(tmp_path, saved, weights="live"), GENERATOR)
    averaged = opened(tmp_path, saved, weights="ema")
    assert is_(averaged, AVERAGED)
    assert averaged.said[-1].endswith(": --weights live")


def test_averaged_weights_are_taken_where_the_file_says_so(tmp_path: Path) -> None:
    lightning = {"state_dict": AVERAGED, "current_model_state": GENERATOR, "averaging_state": {}}
    checkpoint = opened(tmp_path, lightning)
    assert is_(checkpoint, AVERAGED)
    assert "averaged (EMA) weights of state_dict taken (Lightning's averaging" in checkpoint.said[-1]
    assert is_(opened(tmp_path, lightning, weights="live"), GENERATOR)
    told = {"model": GENERATOR, "ema": AVERAGED, "hyper_parameters": {"use_ema_for_inference": True}}
    assert is_(opened(tmp_path, told), AVERAGED)
    told["hyper_parameters"] = {"use_ema_for_inference": False}
    assert is_(opened(tmp_path, told), GENERATOR)


def test_averaged_weights_alone_are_said(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path, {"ema": AVERAGED})
    assert is_(checkpoint, AVERAGED)
    assert checkpoint.said == ("averaged (EMA) weights of ema taken; the file holds no others",)
    with pytest.raises(CheckpointError, match="--weights: got live, and no such set"):
        opened(tmp_path, {"ema": AVERAGED}, weights="live")


def test_averages_without_names_are_said(tmp_path: Path) -> None:
    saved = {"model": GENERATOR, "ema": {"decay": 0.999, "shadow_params": list(AVERAGED.values())}}
    checkpoint = opened(tmp_path, saved)
    assert is_(checkpoint, GENERATOR)
    assert "have no layers' names and were not taken" in checkpoint.said[-1]


def test_two_sets_that_nothing_tells_apart_are_a_question(tmp_path: Path) -> None:
    saved = {"state_dict": prefixed("a_to_b.", GENERATOR) | prefixed("b_to_a.", AVERAGED)}
    with pytest.raises(CheckpointError, match=r"2 sets .*--weights state_dict.a_to_b or state_dict.b_to_a"):
        opened(tmp_path, saved)
    assert is_(opened(tmp_path, saved, weights="b_to_a"), AVERAGED)
    assert is_(opened(tmp_path, saved, weights="state_dict.a_to_b"), GENERATOR)
    with pytest.raises(CheckpointError, match="got weights 'c'"):
        opened(tmp_path, saved, weights="c")


# ---- bounds -----------------------------------------------------------------------------------------------


def test_deep_and_long_names_are_passed_by() -> None:
    box: Any = {"w": as_stored(torch.ones(1))}
    for _ in range(100):
        box = {"n": box}
    chosen = select(
        {"model": stored(GENERATOR), "deep": box, "x" * 10_000: as_stored(torch.ones(1))}, "hifigan"
    )
    assert chosen.stored.keys() == GENERATOR.keys()


def test_shared_containers_take_no_exponential_time() -> None:
    box: Any = [as_stored(torch.ones(1))]
    for _ in range(30):
        box = [box, box]
    assert select({"model": stored(GENERATOR), "boxes": box}, "hifigan").stored.keys() == GENERATOR.keys()


def test_objects_beside_the_weights_are_said(tmp_path: Path) -> None:
    import argparse

    checkpoint = opened(
        tmp_path, {"generator": origin_state_dict(tiny()), "args": argparse.Namespace(lr=1.0)}
    )
    assert checkpoint.said == ("objects beside the weights left unread: argparse.Namespace",)
    saved = open_weights(save(tmp_path / "w", {"args": argparse.Namespace(lr=1.0)})).saved
    with pytest.raises(CheckpointError, match="no weights at all"):
        select(saved)
