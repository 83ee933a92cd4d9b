"""The examples in docstrings give what they say: one test an example, all of them quick and without files."""

import doctest
import importlib

import numpy as np
import pytest

MODULES = (
    "edge_runtime.compare",
    "edge_runtime.errors",
    "edge_runtime.dsp.griffin_lim",
    "edge_runtime.dsp.magnitude",
    "edge_runtime.dsp.mel",
    "edge_runtime.dsp.overlap",
    "edge_runtime.dsp.quality",
    "edge_runtime.dsp.resampling",
    "edge_runtime.dsp.spectral",
    "edge_runtime.dsp.windows",
    "edge_runtime.store.dataclass_json",
    "edge_runtime.store.reading",
    "edge_runtime.store.ownership",
    "edge_runtime.media.video",
    "edge_runtime.media.masks",
    "edge_runtime.media.pictures",
    "edge_runtime.pipelines.mel_inversion.pipeline",
    "edge_runtime.pipelines.vocoder.pipeline",
    "edge_export.catalog",
    "edge_export.examples.speech",
    "edge_runtime.store.arrays",
    "edge_training.vocoder.bigvgan",
    "edge_training.vocoder.hifigan",
    "edge_training.weights.options",
)


def examples() -> list[doctest.DocTest]:
    """Docstrings that hold examples; what they may name beside the module's own names is numpy, as np."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = []
    for name in MODULES:
        found += finder.find(importlib.import_module(name), name, extraglobs={"np": np})
    return [test for test in found if test.examples]


EXAMPLES = examples()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_example(example: doctest.DocTest) -> None:
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.REPORT_ONLY_FIRST_FAILURE)
    failed, attempted = runner.run(example, out=report.append)
    assert attempted > 0
    assert failed == 0, "".join(report)


def test_there_are_at_least_twenty() -> None:
    assert len(EXAMPLES) >= 20
    assert {name for name in MODULES if not any(e.name.startswith(name) for e in EXAMPLES)} == set()
