// Runs an ONNX file of the bundle in this page, with the onnxruntime-web that the reader has on the disk.
// The page's policy lets nothing be loaded: the chosen files are read, the library becomes a worker of its own
// (which inherits the policy, and so has no network either), and the arrays that lie in the page go in.

const HARNESS = `
self.onmessage = async ({ data }) => {
  try {
    Object.assign(ort.env.wasm, { numThreads: 1, proxy: false, wasmBinary: data.wasm });
    const session = await ort.InferenceSession.create(new Uint8Array(data.model), { executionProviders: ["wasm"] });
    const feeds = {};
    for (const { name, type, shape, values } of data.inputs) feeds[name] = new ort.Tensor(type, values, shape);
    const begun = performance.now(), results = await session.run(feeds), ms = performance.now() - begun;
    const version = (ort.env.versions || {}).web || "of an unknown version", outputs = {};
    for (const name of Object.keys(results)) outputs[name] = { shape: results[name].dims, values: results[name].data };
    self.postMessage({ ms, version, outputs });
  } catch (error) {
    self.postMessage({ trouble: String((error && error.message) || error) });
  }
};`;
const ARRAYS = { float32: Float32Array, int32: Int32Array, int64: BigInt64Array, bool: Uint8Array };

// A module's text as a script whose exports are the object ort: browsers make no module workers for pages that
// are files. Where it asks for its own address it gets one that is nowhere: all it needs is given to it.
function bound(module) {
  const source = module.replaceAll("import.meta.url", JSON.stringify("https://onnxruntime-web.invalid/ort.mjs"));
  const last = source.lastIndexOf("export{"), pairs = [];
  if (last < 0) return source; // not a module: it defines ort itself
  const end = source.indexOf("}", last);
  for (const each of source.slice(last + 7, end).split(",")) {
    const [local, shown] = each.trim().split(/\s+as\s+/);
    pairs.push(`${JSON.stringify(shown || local)}: ${local}`);
  }
  return `${source.slice(0, last)};const ort = {${pairs.join(", ")}};${source.slice(end + 1)}`;
}

function decoded({ name, type, shape, base64 }) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return { name, type, shape, values: new ARRAYS[type](bytes.buffer) };
}

function inWorker(library, message) {
  const address = URL.createObjectURL(new Blob(['"use strict";\n', bound(library), "\n", HARNESS], { type: "text/javascript" }));
  return new Promise((keep, fail) => {
    const worker = new Worker(address);
    const end = (settle, value) => { worker.terminate(); URL.revokeObjectURL(address); settle(value); };
    worker.onmessage = ({ data }) => end(data.trouble ? fail : keep, data.trouble ? new Error(data.trouble) : data);
    worker.onerror = (event) => end(fail, new Error(event.message || "the library does not load as a worker"));
    worker.postMessage(message);
  });
}

async function hexOf(bytes) {
  if (!self.crypto || !crypto.subtle) return "";
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function figures(truth, made) {
  let largest = 0, signal = 0, error = 0;
  for (let i = 0; i < truth.length; i++) {
    const value = Number(truth[i]), difference = Number(made[i]) - value;
    if (!Number.isFinite(difference)) return { largest: Infinity, snr: -Infinity };
    largest = Math.max(largest, Math.abs(difference));
    signal += value * value;
    error += difference * difference;
  }
  return { largest, snr: error ? 10 * Math.log10(signal / error) : Infinity };
}

// RIFF, 16 bits, one channel, as a data: address
function soundOf(values, rate) {
  const bytes = new DataView(new ArrayBuffer(44 + 2 * values.length));
  const write = (at, text) => { for (let i = 0; i < text.length; i++) bytes.setUint8(at + i, text.charCodeAt(i)); };
  write(0, "RIFF"); bytes.setUint32(4, 36 + 2 * values.length, true); write(8, "WAVEfmt ");
  bytes.setUint32(16, 16, true); bytes.setUint16(20, 1, true); bytes.setUint16(22, 1, true);
  bytes.setUint32(24, rate, true); bytes.setUint32(28, 2 * rate, true); bytes.setUint16(32, 2, true);
  bytes.setUint16(34, 16, true); write(36, "data"); bytes.setUint32(40, 2 * values.length, true);
  values.forEach((value, i) => bytes.setInt16(44 + 2 * i, 32767 * Math.max(-1, Math.min(1, value)), true));
  let text = "";
  for (let i = 0; i < bytes.byteLength; i++) text += String.fromCharCode(bytes.getUint8(i));
  return `data:audio/wav;base64,${btoa(text)}`;
}

function added(parent, tag, text, attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  parent.append(made);
  return made;
}

function show(place, known, artifact, outputs) {
  const table = added(place, "table", ""), rate = known.rate;
  added(table, "caption", `${artifact.name} in this browser, case ${known.name}`);
  const head = added(added(table, "thead", ""), "tr", "");
  for (const heading of ["output", "max abs", "SNR dB", "status"]) added(head, "th", heading, { scope: "col" });
  const body = added(table, "tbody", "");
  for (const truth of known.outputs.map(decoded)) {
    const made = outputs[truth.name], row = added(body, "tr", "");
    added(row, "th", truth.name, { scope: "row" });
    const fits = made && made.values.length === truth.values.length;
    const { largest, snr } = fits ? figures(truth.values, made.values) : { largest: Infinity, snr: -Infinity };
    added(row, "td", largest.toExponential(2), { class: "number" });
    added(row, "td", snr.toFixed(1), { class: "number" });
    const word = largest <= artifact.max_abs && snr >= artifact.min_snr_db ? "PASS" : "FAIL";
    added(added(row, "td", ""), "strong", word, { class: `status ${word.toLowerCase()}` });
    if (fits && known.sounds.includes(truth.name)) {
      const figure = added(place, "figure", "");
      added(figure, "audio", "", { controls: "", src: soundOf(made.values, rate), "aria-label": "Artifact in this browser" });
      added(figure, "figcaption", `${truth.name} as this browser computed it`);
    }
  }
}

async function runHere(known, files, place, say) {
  const named = (suffix) => files.find((file) => file.name.toLowerCase().endsWith(suffix));
  const library = named(".mjs") || named(".js"), binary = named(".wasm"), model = named(".onnx");
  const missing = [[library, "ort.wasm.bundle.min.mjs"], [binary, "ort-wasm-simd-threaded.wasm"], [model, "an .onnx file"]];
  for (const [file, name] of missing) if (!file) throw new Error(`${name} is not among the chosen files`);
  say("reading");
  const [text, wasm, bytes] = await Promise.all([library.text(), binary.arrayBuffer(), model.arrayBuffer()]);
  const digest = await hexOf(bytes);
  const same = known.artifacts.find((each) => each.sha256 === digest);
  const artifact = same || known.artifacts.find((each) => each.name === model.name);
  if (!artifact) throw new Error(`${model.name} is not of this bundle: ${known.artifacts.map((each) => each.name).join(", ")}`);
  say("running");
  const made = await inWorker(text, { wasm, model: bytes, inputs: known.inputs.map(decoded) });
  place.replaceChildren();
  show(place, known, artifact, made.outputs);
  const checked = same ? "the bundle's own file" : digest ? "another file than the bundle's" : "its hash was not checked";
  say(`onnxruntime-web ${made.version}, ${made.ms.toFixed(0)} ms, one thread; ${checked}`);
}

function prepareRunner() {
  const place = document.getElementById("run-here"), known = JSON.parse(place.dataset.case);
  const field = place.querySelector("input"), button = place.querySelector("button"), told = place.querySelector("output");
  place.hidden = false;
  button.addEventListener("click", async () => {
    button.disabled = true;
    const say = (text) => { told.value = text; };
    try {
      await runHere(known, Array.from(field.files), document.getElementById("ran"), say);
    } catch (error) {
      say(`not run: ${error.message}`);
    }
    button.disabled = false;
  });
}

prepareRunner();
