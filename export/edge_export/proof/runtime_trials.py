"""Runs one ONNX file on one runtime and saves its outputs: a program of its own, for any Python.

    python runtime_trials.py RUNTIME MODEL.onnx INPUTS.npz OUTPUTS.npz

It needs numpy and the runtime's own package, nothing of edge-export, so that runtimes whose packages
contradict ours can be tried from a virtual environment of their own (`edge_export.runtimes`). It prints the
version of what ran; whatever goes wrong is an exception. Outputs are saved as float32, by name.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, Any]


def run_onnxruntime(model: Path, inputs: Arrays, outputs: list[str]) -> Arrays:
    """onnxruntime on the processor."""
    onnxruntime: Any = import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    halves = {each.name for each in session.get_inputs() if each.type == "tensor(float16)"}
    given = {name: array.astype(np.float16) if name in halves else array for name, array in inputs.items()}
    return dict(zip(outputs, session.run(outputs, given), strict=True))


def run_openvino(model: Path, inputs: Arrays, outputs: list[str]) -> Arrays:
    """OpenVINO on the processor, held to float32."""
    openvino: Any = import_module("openvino")
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(str(model)), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = compiled(inputs)
    return {name: results[port] for name, port in zip(outputs, compiled.outputs, strict=True)}


def run_mnn(model: Path, inputs: Arrays, outputs: list[str]) -> Arrays:
    """MNN, converted by its own tool."""
    return run_mnn_module(mnn_module(model, list(inputs), outputs), inputs, outputs)


# the package's own `MNN.tools.mnnconvert` installs a library with pip and sends the machine's identifier home
_MNN_CONVERT = "import sys, _tools; _tools.mnnconvert(sys.argv)"


def mnn_module(model: Path, inputs: list[str], outputs: list[str]) -> Any:
    """An ONNX file as MNN's module, which takes the inputs in this order."""
    nn = import_module("MNN.nn")
    with tempfile.TemporaryDirectory() as folder:
        converted = Path(folder, "model.mnn")
        files = ["--modelFile", str(model), "--MNNModel", str(converted)]
        _call([sys.executable, "-c", _MNN_CONVERT, "-f", "ONNX", "--bizCode", "trial", *files])
        if not converted.exists():
            raise RuntimeError("its converter wrote no file")
        return nn.load_module_from_file(str(converted), inputs, outputs)


def run_mnn_module(module: Any, inputs: Arrays, outputs: list[str]) -> Arrays:
    """Outputs of a module by name; its inputs and outputs are never half."""
    expr = import_module("MNN.expr")
    given = []
    for array in inputs.values():
        plain = np.ascontiguousarray(array, np.float32 if array.dtype == np.float16 else array.dtype)
        given.append(expr.const(plain, list(plain.shape), expr.NCHW, _mnn_type(expr, plain.dtype)))
    results = module.forward(given)
    results = results if isinstance(results, list) else [results]
    # what `read` gives ends with its variable, so these live until they are copied
    plain_results = [expr.convert(each, expr.NCHW) for each in results]
    return {name: np.array(each.read()) for name, each in zip(outputs, plain_results, strict=True)}


def _mnn_type(expr: Any, dtype: Any) -> Any:
    return {"float32": expr.float, "int32": expr.int, "int64": expr.int}[str(dtype)]


def run_ncnn(model: Path, inputs: Arrays, outputs: list[str]) -> Arrays:
    """ncnn, converted by pnnx for the shapes of these inputs, without their batch axis, which is 1."""
    ncnn: Any = import_module("ncnn")
    kinds = {"float32": "f32", "float16": "f16", "int32": "i32", "int64": "i64"}
    shapes = ",".join(
        f"{json.dumps(list(array.shape))}{kinds[str(array.dtype)]}".replace(" ", "")
        for array in inputs.values()
    )
    spec = importlib.util.find_spec("pnnx")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("No module named 'pnnx'")
    program = next(
        path
        for path in Path(spec.origin).parent.rglob("pnnx*")
        if os.access(path, os.X_OK) and path.is_file()
    )
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder, "model.onnx")
        there.write_bytes(model.read_bytes())
        _call([str(program), str(there), f"inputshape={shapes}", "fp16=0"])
        param, weights = Path(folder, "model.ncnn.param"), Path(folder, "model.ncnn.bin")
        if not param.exists():
            raise RuntimeError("its converter wrote no file")
        net = ncnn.Net()
        net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
        if net.load_param(str(param)) or net.load_model(str(weights)):
            raise RuntimeError(f"ncnn does not load it: {_missing_layers(param)}")
        extractor = net.create_extractor()
        for index, array in enumerate(inputs.values()):
            single = np.ascontiguousarray(array[0], np.float32)
            extractor.input(f"in{index}", ncnn.Mat(single).clone())
        found = {}
        for index, name in enumerate(outputs):
            state, value = extractor.extract(f"out{index}")
            if state:
                raise RuntimeError(f"ncnn computes no {name}")
            found[name] = np.array(value)[None]
        return found


def _missing_layers(param: Path) -> str:
    kinds = sorted({line.split()[0] for line in param.read_text().splitlines()[2:] if line.strip()})
    left = [kind for kind in kinds if "." in kind or kind.startswith("pnnx") or "::" in kind]
    return f"no layers for {', '.join(left)}" if left else "its layers are " + ", ".join(kinds)


def run_tract(model: Path, inputs: Arrays, outputs: list[str]) -> Arrays:
    """tract, for any shapes: numbers for its symbols would contradict those that the file states inside."""
    tract: Any = import_module("tract")
    runnable = tract.onnx().load(str(model)).into_model().into_runnable()
    results = runnable.run(list(inputs.values()))
    return {name: value.to_numpy() for name, value in zip(outputs, results, strict=True)}


def run_litert(model: Path, inputs: Arrays, outputs: list[str]) -> Arrays:
    """LiteRT, converted by onnx2tf for the shapes of these inputs; their second axis becomes the last."""
    interpreter_class = import_module("ai_edge_litert.interpreter").Interpreter
    with tempfile.TemporaryDirectory() as folder:
        fixed = Path(folder, "model.onnx")
        _fix_shapes(model, inputs, fixed)
        _call([sys.executable, "-m", "onnx2tf", "-i", str(fixed), "-o", folder, "-n"])
        (converted,) = Path(folder).glob("*_float32.tflite")
        interpreter = interpreter_class(str(converted))
        interpreter.allocate_tensors()
        for detail in interpreter.get_input_details():
            name = next(each for each in inputs if each in detail["name"])
            array = inputs[name]
            turned = array if tuple(detail["shape"]) == array.shape else np.moveaxis(array, 1, -1)
            interpreter.set_tensor(detail["index"], np.ascontiguousarray(turned))
        interpreter.invoke()
        details = interpreter.get_output_details()
        return {
            name: interpreter.get_tensor(detail["index"])
            for name, detail in zip(outputs, details, strict=True)
        }


def _fix_shapes(model: Path, inputs: Arrays, fixed: Path) -> None:
    """The file with these shapes in place of named axes, which onnx2tf confuses with one another."""
    onnx: Any = import_module("onnx")
    loaded = onnx.load(str(model))
    graph = loaded.graph
    del graph.value_info[:]
    for value in graph.input:
        dimensions = value.type.tensor_type.shape.dim
        for dimension, length in zip(dimensions, inputs[value.name].shape, strict=True):
            dimension.Clear()
            dimension.dim_value = length
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    onnx.save(onnx.shape_inference.infer_shapes(loaded, data_prop=True), str(fixed))


_WEB = """
const ort = require(process.argv[2]);
const fs = require('fs');
(async () => {
  const asked = JSON.parse(fs.readFileSync(process.argv[3], 'utf8'));
  ort.env.logLevel = 'fatal';
  ort.env.wasm.numThreads = 1;
  const options = {executionProviders: ['wasm'], logSeverityLevel: 4};
  const session = await ort.InferenceSession.create(fs.readFileSync(asked.model), options);
  const feeds = {};
  const kinds = {
    float32: Float32Array, float16: Uint16Array, int32: Int32Array, int64: BigInt64Array, bool: Uint8Array,
  };
  for (const [name, given] of Object.entries(asked.inputs)) {
    const bytes = fs.readFileSync(given.file);
    const end = bytes.byteOffset + bytes.length;
    const array = new kinds[given.dtype](bytes.buffer.slice(bytes.byteOffset, end));
    feeds[name] = new ort.Tensor(given.dtype, array, given.shape);
  }
  const results = await session.run(feeds);
  const told = {};
  for (const [name, tensor] of Object.entries(results)) {
    const {buffer, byteOffset, byteLength} = tensor.data;
    fs.writeFileSync(`${asked.folder}/${name}.bin`, Buffer.from(buffer, byteOffset, byteLength));
    told[name] = {dtype: tensor.type, shape: tensor.dims};
  }
  console.log(JSON.stringify({version: ort.env.versions.web ?? ort.env.versions.common, outputs: told}));
})().catch(error => { console.error(String(error && error.message || error)); process.exit(1); });
"""


def run_web(model: Path, inputs: Arrays, outputs: list[str] | None) -> Arrays:
    """onnxruntime-web's WASM backend under node; EDGE_ORT_WEB names its folder where node finds none."""
    where = os.environ.get("EDGE_ORT_WEB", "onnxruntime-web")
    with tempfile.TemporaryDirectory() as folder:
        asked: dict[str, Any] = {"model": str(model.resolve()), "folder": folder, "inputs": {}}
        for name, array in inputs.items():
            file = Path(folder, f"{name}.in")
            file.write_bytes(np.ascontiguousarray(array).tobytes())
            asked["inputs"][name] = {"file": str(file), "dtype": str(array.dtype), "shape": list(array.shape)}
        Path(folder, "asked.json").write_text(json.dumps(asked))
        Path(folder, "web.cjs").write_text(_WEB)
        said = _call(["node", str(Path(folder, "web.cjs")), where, str(Path(folder, "asked.json"))])
        told = json.loads(said.strip().splitlines()[-1])
        VERSIONS["web"] = f"onnxruntime-web {told['version']}, WASM, node"
        return {
            name: np.fromfile(Path(folder, f"{name}.bin"), told["outputs"][name]["dtype"]).reshape(
                told["outputs"][name]["shape"]
            )
            for name in outputs or told["outputs"]
        }


RUNS: Mapping[str, tuple[Callable[[Path, Arrays, list[str]], Arrays], tuple[str, ...]]] = {
    "onnxruntime": (run_onnxruntime, ("onnxruntime", "onnxruntime-gpu")),
    "web": (run_web, ()),
    "openvino": (run_openvino, ("openvino",)),
    "mnn": (run_mnn, ("MNN",)),
    "ncnn": (run_ncnn, ("ncnn", "pnnx")),
    "tract": (run_tract, ("tract",)),
    "litert": (run_litert, ("ai-edge-litert", "onnx2tf")),
}
RAN = "ran: "  # before the line of the version
VERSIONS: dict[str, str] = {}  # runtime → what it says of itself


def _call(command: list[str]) -> str:
    """The program's stdout; RuntimeError with its last telling line where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        telling = [line for line in lines if "rror" in line or "nsupported" in line or "not support" in line]
        raise RuntimeError((telling or lines or ["no message"])[-1][:300])
    return done.stdout


def _version(runtime: str) -> str:
    if runtime in VERSIONS:
        return VERSIONS[runtime]
    told = []
    for package in RUNS[runtime][1]:
        try:
            told.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(told)


def main(runtime: str, model: str, inputs: str, outputs: str) -> None:
    """See the module's docstring; the inputs' file holds the outputs' names too, as ``__outputs__``."""
    with np.load(inputs) as stored:
        given = {name: stored[name] for name in stored.files if name != "__outputs__"}
        names = [str(name) for name in stored["__outputs__"]]
    results = RUNS[runtime][0](Path(model), given, names)
    named: Any = {name: np.asarray(array, np.float32) for name, array in results.items()}
    np.savez(outputs, **named)
    print(f"\n{RAN}{_version(runtime)}", flush=True)  # runtimes print lines of their own, some at their end


if __name__ == "__main__":
    main(*sys.argv[1:])
