"""Options, inputs and roles as a pipeline declares them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_runtime.errors import ConfigError
from edge_runtime.pipelines.declaration import EXECUTION, Declaration, Input, Option, Role

TWO_TEXTS = Declaration(
    "image-speech",
    "Two prompts.",
    (Role("bundle", ("unet",)),),
    (Option("max_frames", int, "Frames used", 3, unit="frames"),),
    (Input("picture", "What is seen.", str), Input("sound", "What is heard.", str), Input("start", "Noise.")),
)


def test_an_option_describes_itself() -> None:
    option = Option("max_frames", int, "Frames used", 3, unit="frames")
    assert option.flag == "--max-frames"
    assert option.describe() == "Frames used; in frames; 3 if not given."
    assert Option("linear", bool, "A linear mel", False).describe() == "A linear mel."
    assert Option("mode", str, "Way", choices=("a", "b", "c")).describe() == "Way; one of a, b, c."


def test_choices_are_checked() -> None:
    option = Option("frame_mode", str, "Way", choices=("full", "window"))
    option.check("full")
    option.check(None)
    with pytest.raises(ConfigError, match="--frame-mode: got 'half', expected full or window"):
        option.check("half")


def test_values_are_parsed() -> None:
    assert Option("scaler", Path, "File").parse("a.json") == Path("a.json")
    assert Option("rate", float, "Rate").parse("2") == 2.0
    with pytest.raises(ConfigError, match=r"--frames: got '2\.5', expected a whole number"):
        Option("frames", int, "Frames").parse("2.5")


def test_a_frame_rate_may_be_a_fraction() -> None:
    option = Option("fps", float, "Rate", 25.0, frame_rate=True)
    assert option.parse("30000/1001") == 30000 / 1001
    with pytest.raises(ConfigError, match=r"--fps: got '3/0', expected frames a second: a number, or a frac"):
        option.parse("3/0")


def test_options_are_found_by_name() -> None:
    assert TWO_TEXTS.option("max_frames") is TWO_TEXTS.options[0]
    assert TWO_TEXTS.option("device") in EXECUTION
    assert TWO_TEXTS.option("fps") is None


def test_inputs_are_named() -> None:
    given = {"start": "noise.npy", "sound": "bells", "picture": "a castle"}
    expected = {"picture": "a castle", "sound": "bells", "start": Path("noise.npy")}
    assert TWO_TEXTS.name_inputs(given) == expected
    one = Declaration("vocoder", "One file.", ())
    assert one.name_inputs("a.wav") == one.name_inputs({"source": "a.wav"}) == {"source": Path("a.wav")}
    assert [each.metavar for each in (*one.inputs, TWO_TEXTS.inputs[0])] == ["INPUT", "PICTURE"]


def test_inputs_that_do_not_fit_are_refused() -> None:
    wanted = "expected .*picture, sound, start"
    with pytest.raises(ConfigError, match=f"inputs of image-speech: got 'a castle', {wanted}"):
        TWO_TEXTS.name_inputs("a castle")
    with pytest.raises(ConfigError, match=f"inputs of image-speech: got picture, {wanted}"):
        TWO_TEXTS.name_inputs({"picture": "a castle"})
    with pytest.raises(ConfigError, match="got none"):
        TWO_TEXTS.name_inputs({})


def test_inputs_given_as_options() -> None:
    prompts = Input("image_prompt", "What is seen.", str, flag=True, many=True)
    noise = Input("start_noise", "A file.", flag=True, required=False)
    declared = Declaration("image-speech", "Prompts.", (), (), (prompts, noise))
    assert (prompts.option, noise.option) == ("--image-prompt", "--start-noise")
    given = {"image_prompt": ["a", "b"], "start_noise": "n.npy"}
    assert declared.name_inputs(given) == {"image_prompt": ("a", "b"), "start_noise": Path("n.npy")}
    assert declared.name_inputs({"image_prompt": "a"}) == {"image_prompt": ("a",), "start_noise": None}
    nothings: tuple[object, ...] = ({}, None, {"image_prompt": []})
    for nothing in nothings:
        with pytest.raises(ConfigError, match="--image-prompt: got none, expected at least one"):
            declared.name_inputs(nothing)
    with pytest.raises(
        ConfigError, match="inputs of image-speech: got sound, expected image_prompt, start_no"
    ):
        declared.name_inputs({"sound": "a"})
    with pytest.raises(ConfigError, match="input x: got no flag, expected one that is given as an option"):
        Input("x", "Several.", str, many=True)


def test_a_pipeline_may_have_no_input() -> None:
    declared = Declaration("noise", "Nothing to noise.", (), (), ())
    assert declared.name_inputs(None) == declared.name_inputs({}) == {}
    with pytest.raises(ConfigError, match=r"inputs of noise: got 'a\.wav', expected a mapping of none"):
        declared.name_inputs("a.wav")
