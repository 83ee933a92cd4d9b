"""A report in Chromium: sorts, filters, plays, opens folds, loads nothing. Skipped without a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from tests.export.report import browser

from edge_export.proof import verify as parity
from edge_export.report import verification
from edge_runtime.store.bundle import open_bundle

CELLS = "Array.from(document.querySelectorAll('#table tbody tr:not([hidden])'), r => r.cells[{}].textContent)"
PRESS = "Array.from(document.querySelectorAll('#table th button')).find(b => b.textContent === '{}').click()"
PLAY = """(async () => {{
  const audio = document.querySelectorAll('audio')[{}];
  const ended = new Promise(done => audio.addEventListener('ended', done));
  await audio.play();
  await ended;
  return [audio.currentTime, audio.duration];
}})()"""


@pytest.fixture(scope="module")
def tab(small_hifigan: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[browser.Tab, str]]:
    place = browser.found()
    if place is None:
        pytest.skip("no Chromium here")
    folder = tmp_path_factory.mktemp("browser")
    observer = verification.observer_of(small_hifigan)
    result = parity.verify(small_hifigan, backends=["onnxruntime"], tolerance=1e-5, observe=observer)
    verification.write_report(folder / "r.html", result, observer, drifting=False)
    with browser.tab(place, folder / "profile") as opened:
        yield opened, (folder / "r.html").as_uri()


def test_a_report_sorts_filters_and_plays(tab: tuple[browser.Tab, str]) -> None:
    page, address = tab
    page.open(address)
    assert page.run("document.querySelectorAll('th button').length") > 10
    snr = CELLS.format(6)
    for order in ("ascending", "descending"):
        page.run(PRESS.format("SNR dB"))
        values = [float(value) for value in page.run(snr)[:-1]]
        assert page.run(snr)[-1] == "–"  # the row on the geometry has no figure
        assert values == sorted(values, reverse=order == "descending")
        assert page.run("document.querySelector('[aria-sort]').getAttribute('aria-sort')") == order
    page.run("{ const f = document.getElementById('table-filter'); f.value = 'fp16 frames-24';"
             " f.dispatchEvent(new Event('input')); }")  # fmt: skip
    assert page.run(CELLS.format(0)) == ["model.fp16.onnx"]
    assert page.run("document.querySelector('output').value") == "1 of 7 rows"
    at, seconds = page.run(PLAY.format(0))
    assert at == pytest.approx(seconds)
    assert seconds > 0.01
    assert page.run("Array.from(document.images).every(i => i.complete && i.naturalWidth > 0)")
    assert page.run("performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:'))") == []


def test_addresses_ask_for_a_view(tab: tuple[browser.Tab, str]) -> None:
    page, address = tab
    page.open(f"{address}#sort=max+abs&order=descending&filter=plain")
    values = page.run(CELLS.format(5))
    assert len(values) == 4
    assert values == sorted(values, key=float, reverse=True)
    assert not page.run("document.getElementById('evidence-1').open")
    page.run(
        "new Promise(done => { addEventListener('hashchange', () => done()); location.hash = 'evidence-1'; })"
    )
    assert page.run("document.getElementById('evidence-1').open")


LIBRARY = """const env = { wasm: {}, versions: { web: "0.1" } }, here = import.meta.url;
class Tensor { constructor(type, data, dims) { Object.assign(this, { type, data, dims }); } }
class Session {
  static async create(model, options) {
    if (!(env.wasm.wasmBinary.byteLength === 3 && model.length && options)) throw new Error("not given");
    return new Session();
  }
  async run(feeds) {
    const open = await fetch("https://localhost/").then(() => true, () => false);
    if (open) throw new Error("the network is open");
    const data = new Float32Array(HOP * feeds.mel.dims[2]);
    return { audio: new Tensor("float32", data, [1, 1, data.length]) };
  }
}
export{Session as InferenceSession,Tensor,env as env};
"""


def test_a_file_of_the_bundle_runs_in_the_page(
    tab: tuple[browser.Tab, str], small_hifigan: Path, tmp_path: Path
) -> None:
    """A library of onnxruntime-web's form answers silence, and asks for the network."""
    page, address = tab
    library, binary = tmp_path / "ort.wasm.bundle.min.mjs", tmp_path / "ort-wasm-simd-threaded.wasm"
    hop = str(open_bundle(small_hifigan).manifest.geometry.hop_length)
    library.write_text(LIBRARY.replace("HOP", hop))
    binary.write_bytes(b"bin")
    page.open(address)
    ended = """new Promise(done => {
      const here = document.getElementById('run-here'), button = here.querySelector('button');
      new MutationObserver(() => button.disabled || done(here.querySelector('output').value))
        .observe(button, { attributes: true });
      button.click();
    })"""
    assert page.run(ended) == "not run: ort.wasm.bundle.min.mjs is not among the chosen files"
    page.choose("#run-files", library, binary, small_hifigan / "model.fp16.onnx")
    assert re.fullmatch(r"onnxruntime-web 0\.1, \d+ ms, one thread; the bundle's own file", page.run(ended))
    told = page.run("document.querySelector('#ran tbody').innerText").split()
    _, outputs = open_bundle(small_hifigan).reference("frames-24")
    assert told[0] == "audio"
    assert float(told[1]) == pytest.approx(np.abs(outputs["audio"]).max(), rel=0.01)
    assert told[2:] == ["0.0", "FAIL"]  # silence is as far from speech as speech is loud
    assert page.run("document.querySelector('#ran audio').src").startswith("data:audio/wav;base64,")
    other = tmp_path / "other.onnx"
    other.write_bytes(b"x")
    page.choose("#run-files", library, binary, other)
    assert page.run(ended).startswith("not run: other.onnx is not of this bundle: model.onnx, ")


def test_text_can_be_read_on_its_ground() -> None:
    """Contrast of at least 4.5, 3 for lines, as WCAG 2.2 AA asks, light and dark."""
    style = files("edge_export.report").joinpath("style.css").read_text(encoding="utf-8")
    schemes = [
        dict(re.findall(r"--(\w+): (#\w+)", scheme)) for scheme in re.findall(r":root \{[^}]*\}", style)
    ]
    assert len(schemes) == 2
    for colours in schemes:
        for ground in ("paper", "soft"):
            for name in ("ink", "link", "good", "bad", "dim"):
                assert _contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
        assert _contrast(colours["line"], colours["paper"]) >= 3


def _contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    digits = colour.removeprefix("#")
    whole = digits if len(digits) == 6 else "".join(2 * digit for digit in digits)
    parts = [int(whole[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
