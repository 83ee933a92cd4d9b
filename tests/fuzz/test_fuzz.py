"""Whatever a file holds, it is read, or refused in one sentence that names it.

`make test` takes the first 300 cases, `make fuzz` 4,000 (EDGE_FUZZ_CASES). A failure names its case;
`python tests/fuzz/test_fuzz.py N` writes the file of case N into the current folder.
"""

from __future__ import annotations

import os
import resource
import sys
import warnings
from pathlib import Path

import pytest
from tests.fuzz import cases

from edge_runtime.errors import EdgeError, EdgeWarning

COUNT = int(os.environ.get("EDGE_FUZZ_CASES", "300"))
SHARE = 50  # cases of one test
MOST_MEMORY = 1 << 20  # KiB beyond what the imports took; a good reader needs a few MB
LONGEST_SENTENCE = 10_000


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> list[cases.Kind]:
    return cases.make_kinds(tmp_path_factory.mktemp("fuzz"))


@pytest.mark.parametrize("share", range(0, COUNT, SHARE))
def test_no_file_ends_in_a_traceback(share: int, kinds: list[cases.Kind], tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(share, min(share + SHARE, COUNT)):
        case = cases.make(number, kinds)
        path = tmp_path / f"case{number}{case.kind.suffix}"
        path.write_bytes(case.content)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", EdgeWarning)
                case.kind.read(path)
        except EdgeError as refusal:
            judge(str(refusal), case)
        except Exception as error:
            raise AssertionError(
                f"case {number}, {case.kind.name}: {type(error).__name__}: {error}"
            ) from error
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MEMORY
    left = [entry.name for entry in tmp_path.iterdir() if not entry.name.startswith("case")]
    assert left == [], "something was written beside the input"


def judge(sentence: str, case: cases.Case) -> None:
    """One line, of bearable length."""
    told = f"case {case.number}, {case.kind.name}: {sentence[:300]!r}"
    assert sentence.isprintable(), told
    assert len(sentence) < LONGEST_SENTENCE, told
    named = (f"case{case.number}", "--", "manifest.json", *(f"{word}:" for word in sentence.split(": ")[:1]))
    assert sentence.startswith(("/", *named)) or any(name in sentence for name in named), told


def test_cases_are_the_same_every_time(kinds: list[cases.Kind]) -> None:
    once, again = ([cases.make(number, kinds).content for number in range(60)] for _ in range(2))
    assert once == again
    assert len(set(once)) > 50


def test_good_files_are_read(kinds: list[cases.Kind], tmp_path: Path) -> None:
    for kind in kinds:
        path = tmp_path / f"good{kind.suffix}"
        path.write_bytes(kind.good)
        kind.read(path)


if __name__ == "__main__":
    folder = Path.cwd() / "fuzz"
    folder.mkdir(exist_ok=True)
    made = cases.make(int(sys.argv[1]), cases.make_kinds(folder))
    (folder / f"case{made.number}{made.kind.suffix}").write_bytes(made.content)
    print(folder / f"case{made.number}{made.kind.suffix}", made.kind.name)
