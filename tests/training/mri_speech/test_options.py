"""What `data mri` declares is what a preparation takes."""

from __future__ import annotations

from dataclasses import fields

from edge_training.mri_speech.options import PREPARATION
from edge_training.mri_speech.preparation import Preparation


def test_declared_options_are_the_entries_with_their_defaults() -> None:
    entries = {field.name: field.default for field in fields(Preparation) if field.init}
    assert {option.name: option.default for option in PREPARATION} == entries
    assert {"--sr", "--preemph", "--frame-scaling"} <= {option.flag for option in PREPARATION}
