"""verify --report: every row, evidence, a bug report's facts; nothing from elsewhere; hostile names."""

from __future__ import annotations

import base64
import io
import math
import re
import shutil
import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests import small_nets
from tests.commands import edge_export
from tests.export.report.pages import Page

from edge_export.proof import verify as parity
from edge_export.report import evidence, markup, page, sections, verification
from edge_runtime.compare import compare
from edge_runtime.errors import ConfigError, TargetError
from edge_runtime.store.bundle import open_bundle, write_reference

NAME = "a<script>alert(1)</script>&\"'"


@pytest.fixture(scope="module")
def made(
    small_hifigan: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Page, str, parity.Verification]:
    """The report of a bundle with a hostile name, one stored output of which is wrong."""
    folder = tmp_path_factory.mktemp("report")
    bundle = folder / NAME.replace("/", "_")
    shutil.copytree(small_hifigan, bundle)
    opened = open_bundle(bundle)
    inputs, outputs = opened.reference("frames-16")
    outputs["audio"][0, 0, 7] += 0.5
    shutil.rmtree(bundle / "reference" / "frames-16")
    hashes = write_reference(bundle, "frames-16", inputs | outputs)
    source = replace(opened.manifest.source, file="</script><img src=x onerror=alert(1)>")
    reference = opened.manifest.reference | {"frames-16": hashes}
    replace(opened.manifest, reference=reference, source=source).save(bundle)
    observer = verification.observer_of(bundle)
    result = parity.verify(bundle, backends=["onnxruntime", "mil"], observe=observer)
    verification.write_report(folder / "r.html", result, observer)
    text = (folder / "r.html").read_text(encoding="utf-8")
    return Page(text), text, result


def test_nothing_comes_from_elsewhere_and_everything_has_a_name(
    made: tuple[Page, str, parity.Verification],
) -> None:
    read, text, _ = made
    read.check()
    assert len(text.encode()) < page.LARGEST
    (policy,) = (a["content"] for a in read.all("meta") if a.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    for tag in ("script", "style"):
        assert page._hash(read.texts[tag]) in policy


def test_names_from_files_are_text(made: tuple[Page, str, parity.Verification]) -> None:
    read, text, _ = made
    assert "<script>alert" not in text
    assert "onerror=alert(1)>" not in text
    assert NAME.replace("/", "_") in read.texts["h1"]
    assert "</script><img src=x onerror=alert(1)>" in read.texts["dd"]


def test_every_row_is_there(made: tuple[Page, str, parity.Verification]) -> None:
    read, _, result = made
    head, *rows = read.tables[0]
    assert len(rows) == len(result.rows)
    column = {name: head.index(name) for name in ("artifact", "backend", "case", "max abs", "status")}
    for cells, row in zip(rows, result.rows, strict=True):
        shown = [cells[column[name]] for name in ("artifact", "backend", "case", "status")]
        assert shown == [row.artifact, row.where, row.case or "–", row.status]
        if row.comparison:
            assert cells[column["max abs"]] == f"{row.comparison.max_abs:.2e}"
    assert result.count("FAIL") == 5  # each artifact's row of the spoilt case
    assert "FAIL" in read.texts["header"]


def test_sections_say_what_the_bundle_is_and_how_near_float16_came(
    made: tuple[Page, str, parity.Verification],
) -> None:
    read, _, result = made
    largest = max(row.largest_magnitude or 0 for row in result.rows if row.precision == "fp16")
    (headroom,) = (table for table in read.tables if "times to 65504" in table[0])
    (_, cells) = headroom
    assert float(cells[4]) == pytest.approx(65504 / largest, rel=1e-2)
    (findings,) = (table for table in read.tables if "rule" in table[0])
    assert len(findings) > 1
    for told in ("receptive field", "context before, after", "SHA-256 of the weights"):
        assert told in read.texts["dt"]


def test_a_bug_report_says_where_and_how_to_see_it_again(made: tuple[Page, str, parity.Verification]) -> None:
    read, text, result = made
    told = read.texts["textarea"]
    assert len(read.all("textarea")) == len(
        {(r.artifact, r.where) for r in result.rows if r.status == "FAIL"}
    )
    assert "worst value: at (0, 0, 7)" in told
    assert "--backend onnxruntime" in told
    assert "--backend mil" in told
    assert str(Path.home()) not in text


def test_players_hold_the_difference_twenty_times_louder(
    made: tuple[Page, str, parity.Verification], small_hifigan: Path
) -> None:
    read, _, _ = made
    sounds: dict[str, list[np.ndarray]] = {}
    for audio in read.all("audio"):
        with wave.open(io.BytesIO(base64.b64decode((audio["src"] or "").split(",")[1]))) as file:
            assert file.getframerate() == small_nets.CONFIG.to_json()["sampling_rate"]
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32767
        sounds.setdefault(audio["aria-label"] or "", []).append(samples)
    assert set(sounds) == {"Reference", "Artifact", "Difference × 20"}
    truth = open_bundle(small_hifigan).reference("frames-16")[1]["audio"].reshape(-1)
    reference = next(sound for sound in sounds["Reference"] if len(sound) == len(truth))
    other = np.arange(len(truth)) != 7
    np.testing.assert_allclose(reference[other], truth[other], atol=1 / 32767)
    difference = next(sound for sound in sounds["Difference × 20"] if len(sound) == len(truth))
    assert difference[7] == -1.0  # 0.5 · 20, clipped
    assert np.abs(difference[other]).max() < 0.1


def test_a_report_is_written_whole_or_not_at_all(
    made: tuple[Page, str, parity.Verification], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "r.html"
    target.write_text("older")
    _, text, _ = made

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(TargetError, match="no space left"):
            page.write_page(target, markup.Markup(text))
    assert target.read_text() == "older"
    assert [place.name for place in tmp_path.iterdir()] == ["r.html"]


def test_what_was_not_asked_for_has_no_section(small_hifigan: Path) -> None:
    result, observer = parity.Verification(str(small_hifigan), ()), verification.observer_of(small_hifigan)
    assert "Drift by operation" not in verification.verification_page(result, observer, "none", ())
    assert "Not drawn: too large" in verification.verification_page(result, observer, "none", "too large")


def test_targets_are_refused_before_the_work(small_hifigan: Path, tmp_path: Path) -> None:
    said = edge_export("verify", small_hifigan, "--report", tmp_path / "report.pdf", status=2)
    assert re.search("--report.*a file named .html", said)
    said = edge_export("verify", small_hifigan, "--no-drift", status=2)
    assert "--no-drift: got no --report, expected --report FILE.html beside it" in said
    with pytest.raises(TargetError, match="inside of the input"):
        page.check_target(small_hifigan / "r.html", small_hifigan)
    with pytest.raises(ConfigError, match=r"a file named \.html"):
        page.check_target(Path("report"))


def test_where_nothing_failed_that_is_said(small_hifigan: Path) -> None:
    assert "Nothing failed." in sections.bug_report(open_bundle(small_hifigan), [])


def test_the_command_that_shows_it_again_does(small_hifigan: Path, tmp_path: Path) -> None:
    target = tmp_path / "r.html"
    given = ("--backend", "onnxruntime", "--tolerance", "1e-05")
    edge_export("verify", small_hifigan, *given, "--report", target, status=1)
    read = Page(target.read_text(encoding="utf-8"))
    read.check()
    told = read.texts["textarea"]
    assert "allowed: 1e-05, " in told
    (again,) = (line for line in told.splitlines() if line.startswith("again: "))
    assert again == f"again: edge-export verify {small_hifigan.name} {' '.join(given)}"


def test_what_fits_is_the_worst() -> None:
    large = evidence.Evidence(figures=(markup.Markup("x" * (evidence.BUDGET // 2)),))
    found = [(large, True, 90.0), (large, True, 60.0), (large, False, 70.0), (large, False, math.nan)]
    assert evidence.fitting(found) == [False, False, True, True]
    assert evidence.fitting(found, used=1) == [False, False, False, True]


def test_a_report_of_many_long_sounds_stays_below_five_megabytes(small_hifigan: Path) -> None:
    observer = verification.observer_of(small_hifigan)
    rng = np.random.default_rng(0)
    truth = rng.uniform(-1, 1, (1, 1, 100_000)).astype(np.float32)
    observer.subjects["long", "audio"] = evidence.Subject.of(truth, 48_000)
    rows = []
    for index in range(10):
        made = truth + rng.normal(0, 1e-3, truth.shape).astype(np.float32)
        c = compare(truth, made)
        row = parity.Row("hifigan", "model.onnx", f"b{index}", "fp32", "FAIL", "", "long", "audio", c)
        observer(row, truth, made)
        rows.append(row)
    text = verification.verification_page(parity.Verification("b", tuple(rows)), observer, "as asked")
    assert len(text.encode()) < page.LARGEST
    assert "players are left out" in text
    read = Page(text)
    read.check()
    assert len(read.tables[0]) == 11


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_values_that_are_not_finite_are_counted(wrong: float) -> None:
    subject = evidence.Subject.of(np.zeros((1, 4, 200), np.float32))
    made = np.zeros((1, 4, 200), np.float32)
    made[0, 1, 3] = wrong
    assert subject.against(made).facts == (("not finite", "1 of 800 values"),)
    assert subject.against(made[:, :2]).facts[0][1] == "(1, 2, 200) in place of (1, 4, 200)"


@pytest.mark.parametrize(
    "truth",
    [np.float32(3), np.zeros((0,)), np.ones(7), np.arange(3), np.ones((2, 3, 4)) + 1j, np.zeros((5, 900))],
)
def test_arrays_of_any_shape_have_a_page(truth: np.ndarray) -> None:
    subject = evidence.Subject.of(truth, None)
    shown = markup.join(subject.own.markup(), subject.against(np.asarray(truth) * 1).markup())
    Page(shown)
    assert not re.search(r"\bnan\b", shown)
