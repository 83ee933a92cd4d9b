"""What a page needs to run an ONNX file of the bundle itself: the arrays of one case, and where to put files.

The reader chooses onnxruntime-web's two files and the artifact from the disk (`runner.js`): five megabytes
hold neither, and the page loads nothing.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_export.proof.gates.sounding import sample_rate_of
from edge_export.report.markup import Markup, element, join
from edge_runtime.store.bundle import Bundle

MOST = 300_000  # bytes of the arrays in a page
TYPES = ("float32", "int32", "int64", "bool")  # that the script makes tensors of
SOUND = "full scale"  # how units of sound begin
LIBRARY, BINARY = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"


def runner(bundle: Bundle) -> Markup:
    """The section; nothing where no ONNX file, or no case, is for it."""
    artifacts = [
        {
            "name": item.path,
            "sha256": item.sha256,
            "max_abs": bundle.manifest.tolerance[item.precision].max_abs,
            "min_snr_db": bundle.manifest.tolerance[item.precision].min_snr_db,
        }
        for item in bundle.manifest.artifacts
        if item.target == "onnx" and item.io == "fp32" and len(item.paths) == 1
    ]
    case = _case(bundle)
    if not artifacts or case is None:
        return Markup("")
    inputs, outputs = bundle.reference(case)
    known = {
        "name": case,
        "artifacts": artifacts,
        "inputs": [_packed(name, array) for name, array in inputs.items()],
        "outputs": [_packed(name, array) for name, array in outputs.items()],
        "rate": sample_rate_of(bundle.manifest),
        "sounds": [tensor.name for tensor in bundle.manifest.outputs if tensor.unit.startswith(SOUND)],
    }
    told = element(
        "p",
        "Choose three files of your disk: ",
        element("code", LIBRARY),
        " and ",
        element("code", BINARY),
        " of onnxruntime-web (npm install onnxruntime-web; they lie in its dist), and an .onnx file of this "
        "bundle. The page reads them and runs the file in a worker without network.",
    )
    field = join(
        element("label", "Files ", for_="run-files"),
        element("input", id="run-files", type="file", multiple=True, accept=".mjs,.js,.wasm,.onnx"),
        " ",
        element("button", "Run", type="button", class_="copy"),
        " ",
        element("output", "", for_="run-files", aria_live="polite"),
    )
    place = element("div", element("p", field), id="run-here", data_case=json.dumps(known), hidden=True)
    return join(told, place, element("div", "", id="ran"))


def _case(bundle: Bundle) -> str | None:
    """The largest case that fits."""
    sizes = {}
    for case in bundle.cases:
        arrays = [array for side in bundle.reference(case) for array in side.values()]
        if all(array.dtype.name in TYPES for array in arrays):
            sizes[case] = sum(array.nbytes for array in arrays)
    fitting = [case for case in sizes if sizes[case] <= MOST]
    return max(fitting, key=lambda case: sizes[case], default=None)


def _packed(name: str, array: NDArray[Any]) -> dict[str, Any]:
    """As the script reads it: little-endian bytes in base64."""
    plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    text = base64.b64encode(plain.tobytes()).decode("ascii")
    return {"name": name, "type": array.dtype.name, "shape": list(array.shape), "base64": text}
