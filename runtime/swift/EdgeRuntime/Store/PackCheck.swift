import Foundation

/// A net that `PackCheck` runs: what executes the artifact of a bundle.
public struct PackNet: Sendable {
    /// What executes it.
    public let net: any Net
    /// Opened and checked.
    public let bundle: EdgeBundle
    /// The artifact that `net` runs: `coreml` or `onnx`.
    public let target: String
    /// `fp32` or `fp16`.
    public let precision: String

    /// A net of a bundle.
    public init(
        _ net: any Net, of bundle: EdgeBundle, target: String = "coreml", precision: String = "fp32"
    ) {
        (self.net, self.bundle, self.target, self.precision) = (net, bundle, target, precision)
    }
}

/// A reference pack, recomputed stage by stage and compared.
///
/// Each stage starts from the pack's own array before it, so the first stage that is off is the one at fault.
/// What only a net computes is taken from the pack (`RECORDED`) and checked for its shape, unless the net is given: then
/// it is run on the pack's inputs, and its answer compared like any other stage.
public struct PackCheck: Sendable {
    /// How a stage came out.
    public enum Status: String, Sendable {
        /// Recomputed, and within the tolerance.
        case pass = "PASS"
        /// Recomputed and not within it, or missing, or unreadable; the remark says why.
        case fail = "FAIL"
        /// A net's output, taken as it stands.
        case recorded = "RECORDED"
    }

    /// One array of the pack.
    public struct Stage: Sendable {
        /// Relative path of its file; of the frames of a video one line for all.
        public let file: String
        /// How it came out.
        public let status: Status
        /// Largest absolute difference, NaN where nothing was compared.
        public let maxAbs: Double
        /// Why it failed, and what else should be known.
        public let remark: String
    }

    /// The stages in the order of the signal.
    public private(set) var stages: [Stage] = []
    /// Largest absolute difference that passes.
    public let tolerance: Double
    private let folder: URL
    private let nets: [PackNet]

    /// Whether every stage that can be recomputed is within the tolerance.
    public var passed: Bool {
        stages.contains { $0.status == .pass } && !stages.contains { $0.status == .fail }
    }

    /// Recomputes a pack.
    ///
    /// - Parameters:
    ///   - folder: that `edge-export reference` wrote.
    ///   - tolerance: in the unit of each array.
    ///   - nets: those that are to be run, at most one of a kind.
    /// - Throws: `EdgeError` of kind `input`: no pack; of kind `config`: a tolerance below 0, a net that the pack has
    ///   no stage of; of kind `bundle`: a net of another front end or geometry.
    public init(_ folder: URL, tolerance: Double = 1e-3, nets: [PackNet] = []) async throws {
        guard tolerance >= 0, tolerance.isFinite else {
            throw EdgeError(
                .config, "tolerance", got: "\(tolerance)", expected: "a finite number of at least 0")
        }
        (self.folder, self.tolerance, self.nets) = (folder, tolerance, nets)
        let file = folder.appendingPathComponent("VALIDATION_INSTRUCTIONS.json")
        let instructions = try naming(file.path) {
            try JSON(
                parsing: try readFile(file, expected: "a reference pack; edge-export reference writes one"))
        }
        let title = instructions["title"]?.string ?? ""
        // told apart by their arrays: titles are for people
        let arrays = Set(filesBelow(folder).filter { $0.hasSuffix(".npy") && !$0.contains("/") })
        switch title.hasPrefix("Reference arrays for ") ? arrays : [] {
        case let names where names.contains("mel_spectrogram.npy"): try await talkingHead(instructions)
        case let names where names.contains("phase_start.npy"): try await melInversion()
        case let names where names.isSuperset(of: ["video.npy", "mel_standardised.npy"]):
            try await mriSpeech()
        case ["mel.npy", "wav.npy"]: try await vocoder()
        default:
            throw EdgeError(
                .input, file.path, got: "«\(title)» with \(listed(arrays))",
                expected: "a pack of talking-head, vocoder, mel-inversion or mri-speech")
        }
    }

    /// Compares what other code computed with the array of a pack.
    ///
    /// - Parameters:
    ///   - file: relative path of the array, as `mel_spectrogram.npy`.
    ///   - folder: of the pack.
    ///   - candidate: what is judged.
    ///   - tolerance: in the unit of the array.
    /// - Throws: `EdgeError` of kind `input`: the pack has no such file.
    public static func compare(
        _ file: String, of folder: URL, with candidate: NDArray<Float>, tolerance: Double = 1e-3
    ) throws -> Stage {
        let truth = try NpyArray(contentsOf: folder.appendingPathComponent(file)).float64()
        let result = try Comparison(reference: truth, candidate: candidate.float64, tolerance: tolerance)
        return Stage(
            file: file, status: result.passed ? .pass : .fail, maxAbs: result.maxAbs, remark: result.reason)
    }

    /// Stages as lines of text.
    public var table: String {
        let width = max(4, stages.map(\.file.count).max() ?? 0)
        return stages.map { stage in
            let name = stage.file.padding(toLength: width, withPad: " ", startingAt: 0)
            let size = stage.maxAbs.isNaN ? "        –" : String(format: "%9.2e", stage.maxAbs)
            let line = "\(name)  \(size)  \(stage.status.rawValue)"
            return stage.remark.isEmpty ? line : "\(line)  \(stage.remark)"
        }.joined(separator: "\n")
    }

    // MARK: stages

    private func load(_ name: String) throws -> NDArray<Double> {
        try NpyArray(contentsOf: folder.appendingPathComponent(name)).float64()
    }

    /// The given net of one of these names.
    private func net(_ names: String...) -> PackNet? {
        nets.first { names.contains($0.bundle.manifest.net) }
    }

    /// Refuses nets that no stage of this kind of pack runs.
    private func checkNets(_ known: String...) throws {
        for given in nets where !known.contains(given.bundle.manifest.net) {
            throw EdgeError(
                .config, given.bundle.url.path, got: "a bundle of the net \(given.bundle.manifest.net)",
                expected: "one of \(listed(known)), which this pack is of")
        }
    }

    private func exists(_ name: String) -> Bool {
        FileManager.default.fileExists(atPath: folder.appendingPathComponent(name).path)
    }

    /// Recomputes one array; `explain` looks for a known fault where it is off.
    private mutating func stage(
        _ file: String, explain: (NDArray<Double>) -> String = { _ in "" },
        _ compute: () async throws -> NDArray<Double>
    ) async {
        do {
            let truth = try load(file)
            let result = try Comparison(
                reference: truth, candidate: try await compute(), tolerance: tolerance)
            let cause = result.passed ? "" : explain(truth)
            let remark = [result.reason, cause].filter { !$0.isEmpty }.joined(separator: "; ")
            stages.append(
                Stage(
                    file: file, status: result.passed ? .pass : .fail, maxAbs: result.maxAbs, remark: remark))
        } catch {
            stages.append(Stage(file: file, status: .fail, maxAbs: .nan, remark: "\(error)"))
        }
    }

    private mutating func recorded(_ file: String, by source: String, shape: [Int]) {
        do {
            let array = try load(file)
            let fits = array.shape == shape && array.values.allSatisfy(\.isFinite)
            let remark =
                fits
                ? "by \(source)" : "shape \(described(array.shape)), expected \(described(shape)), finite"
            stages.append(Stage(file: file, status: fits ? .recorded : .fail, maxAbs: .nan, remark: remark))
        } catch {
            stages.append(Stage(file: file, status: .fail, maxAbs: .nan, remark: "\(error)"))
        }
    }

    private func metadata() throws -> JSON {
        let file = folder.appendingPathComponent("metadata.json")
        return try naming(file.path) {
            try JSON(parsing: try readFile(file, expected: "the pack's metadata"))
        }
    }

    private func entry<Value>(_ value: Value?, _ name: String) throws -> Value {
        guard let value else {
            throw EdgeError(.input, "metadata.json", got: "no \(name)", expected: "what edge-export wrote")
        }
        return value
    }

    private mutating func mel(_ file: String, _ config: MelConfig, sampleRate: Int) async {
        let (audio, limit) = (folder.appendingPathComponent("reference_audio.wav"), tolerance)
        await stage(file, explain: { explainMel($0, config, audio, limit) }) {
            try MelFrontEnd(config).float64(try Audio(contentsOf: audio, sampleRate: sampleRate).samples)
        }
    }

    private mutating func talkingHead(_ instructions: JSON) async throws {
        try checkNets("audio-encoder")
        let about = try metadata()
        let fps = try entry(about["fps"]?.double, "fps")
        let frontEnd =
            try instructions["provenance"]?["front_end"].map { try MelConfig(json: $0) } ?? .talkingHead
        let mode = try entry(about["mode"]?.string.flatMap(Windows.Mode.init(rawValue:)), "mode")
        await mel("mel_spectrogram.npy", frontEnd, sampleRate: TalkingHead.sampleRate)
        let folder = self.folder
        func load(_ name: String) throws -> NDArray<Double> {
            try NpyArray(contentsOf: folder.appendingPathComponent(name)).float64()
        }
        await stage("mel_windows.npy", explain: { explainWindows($0, folder, fps) }) {
            try Windows.encoderWindows(try load("mel_spectrogram.npy"), fps: fps)
        }
        let count = try Windows.frameCount(try load("mel_spectrogram.npy").columns, fps: fps)
        if let given = net("audio-encoder") {
            let head = try TalkingHead(
                net: given.net, bundle: given.bundle, target: given.target, precision: given.precision,
                fps: fps)
            await stage("audio_features_raw.npy") {
                try await head.process(mel: load("mel_spectrogram.npy").float32).features.float64
            }
        } else {
            recorded(
                "audio_features_raw.npy", by: "the net audio-encoder",
                shape: [count, Windows.Mode.ave.features])
        }
        await stage("audio_features_padded.npy") {
            try Windows.repeatEnds(try load("audio_features_raw.npy"))
        }
        guard let padded = try? load("audio_features_padded.npy") else { return }
        for kind in ["window", "reshaped"] {
            await frames(kind, count: count) { frame in
                let context = try Windows.context(padded, frame: frame)
                return kind == "window" ? context : try Self.shaped(context, mode)
            }
        }
    }

    /// A context in the mode's shape; packs of other modes than ave hold AVE values filled up with zeros.
    private static func shaped(_ context: NDArray<Double>, _ mode: Windows.Mode) throws -> NDArray<Double> {
        let missing = Windows.contextRows * mode.features - context.values.count
        guard missing >= 0 else { return try Windows.reshape(context, mode: mode) }
        return try NDArray(shape: mode.shape, values: context.values + [Double](repeating: 0, count: missing))
    }

    /// The arrays of all video frames as one line: the worst of them.
    private mutating func frames(
        _ kind: String, count: Int, _ compute: (Int) throws -> NDArray<Double>
    ) async {
        var inner = self
        inner.stages = []
        for frame in 0..<count {
            let file = String(format: "frames/frame_%05d_", frame) + "\(kind).npy"
            await inner.stage(file) { try compute(frame) }
        }
        let failed = inner.stages.filter { $0.status == .fail }
        stages += failed.prefix(5)
        if failed.isEmpty {
            let worst = inner.stages.map(\.maxAbs).max() ?? 0
            stages.append(
                Stage(
                    file: "frames/frame_*_\(kind).npy", status: .pass, maxAbs: worst, remark: "\(count) files"
                ))
        }
    }

    private mutating func vocoder() async throws {
        try checkNets("hifigan", "istft-vocoder")
        let about = try metadata()
        let frontEnd = try MelConfig(json: try entry(about["front_end"], "front_end"))
        if exists("reference_audio.wav") {
            await mel("mel.npy", frontEnd, sampleRate: frontEnd.sampleRate)
        }
        let hop = try entry(about["hop_length"]?.int, "hop_length")
        let folder = self.folder
        if let given = net("hifigan", "istft-vocoder") {
            let mel = try load("mel.npy").float32
            return try await sound("wav.npy", of: mel, by: given)
        }
        await stage("wav.npy") {
            let mel = try NpyArray(contentsOf: folder.appendingPathComponent("mel.npy")).float32()
            let wav = try NpyArray(contentsOf: folder.appendingPathComponent("wav.npy")).float32()
            let net = try RecordedNet(
                input: "mel", asked: mel.reshaped([1] + mel.shape), output: "audio",
                answered: wav.reshaped([1, 1] + wav.shape),
                tolerance: 0)
            let vocoder = try Vocoder(
                net: BoundNet(net, inputs: ["mel"], output: "audio"), frontEnd: frontEnd, hopLength: hop,
                context: Context(0), chunkFrames: max(mel.columns, 1))
            let samples = try await vocoder.synthesize(mel)
            return try NDArray(shape: [samples.count], values: samples.map(Double.init))
        }
        mark("wav.npy", "by the net hifigan")
    }

    /// Samples of a mel (bands, frames), by a vocoder that is run.
    private mutating func sound(_ file: String, of mel: NDArray<Float>, by given: PackNet) async throws {
        let vocoder = try Vocoder(
            net: given.net, bundle: given.bundle, target: given.target, precision: given.precision)
        await stage(file) {
            let samples = try await vocoder.synthesize(mel)
            return try NDArray(shape: [samples.count], values: samples.map(Double.init))
        }
    }

    /// Says of a stage that a recorded net gave it.
    private mutating func mark(_ file: String, _ remark: String) {
        guard let index = stages.firstIndex(where: { $0.file == file && $0.status == .pass }) else { return }
        stages[index] = Stage(file: file, status: .recorded, maxAbs: stages[index].maxAbs, remark: remark)
    }

    private mutating func melInversion() async throws {
        try checkNets("mel-inversion", "degli")
        let about = try metadata()
        let frontEnd = try MelConfig(json: try entry(about["front_end"], "front_end"))
        let phase = try entry(about["phase"]?.string, "phase")
        let algorithm = GriffinLim.Algorithm(rawValue: phase)
        let magnitudeNet = try net("mel-inversion").map {
            try MagnitudeNet(net: $0.net, bundle: $0.bundle, target: $0.target, precision: $0.precision)
        }
        let phaseNet = try net("degli").map {
            try PhaseNet(
                net: $0.net, bundle: $0.bundle, frontEnd: frontEnd, target: $0.target, precision: $0.precision
            )
        }
        let pipeline = try MelInversion(
            frontEnd: frontEnd, magnitudeNet: magnitudeNet, phaseNet: phaseNet, algorithm: algorithm ?? .fgla,
            updates: try entry(about["updates"]?.int, "updates"),
            momentum: try entry(about["momentum"]?.double, "momentum"))
        let length = try entry(about["samples"]?.int, "samples")
        let folder = self.folder
        func load(_ name: String) throws -> NDArray<Double> {
            try NpyArray(contentsOf: folder.appendingPathComponent(name)).float64()
        }
        if exists("reference_audio.wav") { await mel("mel.npy", frontEnd, sampleRate: frontEnd.sampleRate) }
        await stage("linear_mel.npy") { try pipeline.linearMel(try load("mel.npy")) }
        await stage("estimate.npy") { try pipeline.estimate(try load("linear_mel.npy")) }
        let mel = try load("mel.npy")
        let same = (try? load("magnitude.npy")) == (try? load("estimate.npy"))
        if magnitudeNet != nil {
            await stage("magnitude.npy") { try await pipeline.magnitude(of: mel) }
        } else if same {
            await stage("magnitude.npy") { try load("estimate.npy") }
        } else {
            recorded(
                "magnitude.npy", by: "the net mel-inversion", shape: [frontEnd.nFFT / 2 + 1, mel.columns])
        }
        await stage("target.npy") {
            pipeline.layout.layOut(pipeline.withoutPreEmphasis(try load("magnitude.npy")), length: length)
        }
        try await iterations(pipeline, algorithm != nil || phaseNet != nil, length, about)
    }

    private mutating func iterations(
        _ pipeline: MelInversion, _ isKnown: Bool, _ length: Int, _ about: JSON
    ) async throws {
        let files = filesBelow(folder).filter { $0.hasPrefix("conditioned_wav_") && $0.hasSuffix(".npy") }
        let folder = self.folder
        for file in files {
            guard let count = Int(file.dropLast(4).suffix(3)) else { continue }
            guard isKnown else {
                recorded(file, by: "the net \(about["phase"]?.string ?? "")", shape: [length])
                continue
            }
            await stage(file) {
                let target = try NpyArray(contentsOf: folder.appendingPathComponent("target.npy")).float64()
                let planes = try NpyArray(contentsOf: folder.appendingPathComponent("phase_start.npy"))
                    .float64()
                let half = planes.values.count / 2
                let start = try Spectrum(
                    re: NDArray(shape: target.shape, values: Array(planes.values[..<half])).transposed(),
                    im: NDArray(shape: target.shape, values: Array(planes.values[half...])).transposed())
                let samples = try await pipeline.reconstruct(
                    target, length: length, iterations: count, start: .spectrum(start))
                return try NDArray(shape: [samples.count], values: samples)
            }
        }
        guard let last = files.last else { return }
        let hasAudio = exists("reference_audio.wav")
        await stage("wav.npy") {
            let samples = try NpyArray(contentsOf: folder.appendingPathComponent(last)).float64().values
            let conditioning =
                try hasAudio
                ? Conditioning(
                    Audio(contentsOf: folder.appendingPathComponent("reference_audio.wav")).samples,
                    pipeline.frontEnd.config)
                : nil
            let restored = pipeline.restore(samples, conditioning)
            return try NDArray(shape: [restored.count], values: restored.map(Double.init))
        }
    }

    private mutating func mriSpeech() async throws {
        try checkNets("mri-acoustic", "hifigan", "istft-vocoder")
        let about = try metadata()
        let size = try entry(about["image_size"]?.int, "image_size")
        let bands = try entry(about["n_mels"]?.int, "n_mels")
        let hop = try entry(about["hop_length"]?.int, "hop_length")
        let frontEnd = try MelConfig(json: try entry(about["front_end"], "front_end"))
        let scaling = try entry(
            about["frame_scaling"]?.string.flatMap(MRISpeech.Scaling.init(rawValue:)), "frame_scaling")
        let mean = try entry(about["mel_mean"]?.array?.compactMap(\.double), "mel_mean")
        let deviation = try entry(about["mel_std"]?.array?.compactMap(\.double), "mel_std")
        let folder = self.folder
        let hasMask = exists("mask.npy")
        func load(_ name: String) throws -> NpyArray {
            try NpyArray(contentsOf: folder.appendingPathComponent(name))
        }
        await stage("frames.npy") {
            let video = try load("video.npy")
            return try MRISpeech.prepare(
                video.float32(), size: size, scaling: scaling, full: video.dtype == .uint8 ? 255 : 1,
                mask: hasMask ? load("mask.npy").float32() : nil
            ).float64
        }
        let count = try load("frames.npy").shape.first ?? 0
        if hasMask, let polygon = about["mask"]?.string.flatMap({ try? Polygon(parsing: $0) }) {
            await stage("mask.npy") {
                let side = try load("video.npy").shape.last ?? 0
                let alpha = about["alpha"]?.double ?? 0.1
                return try MRISpeech.maskWeights(polygon, side: side, size: size, alpha: alpha).float64
            }
        } else if hasMask {
            recorded("mask.npy", by: "a polygon of a file that is not in the pack", shape: [size, size])
        }
        let silent = BoundNet(SilentNet(), inputs: ["mel"], output: "audio")
        let vocoder = try Vocoder(net: silent, frontEnd: frontEnd, hopLength: hop, context: Context(0))
        let pipeline = try MRISpeech(
            net: silent, vocoder: vocoder, size: size, scaling: scaling, mean: mean, deviation: deviation)
        if let given = net("mri-acoustic") {
            let speech = try MRISpeech(
                acousticNet: given.net, acoustic: given.bundle, vocoder: vocoder, mode: Self.mode(about),
                target: given.target, precision: given.precision)
            await stage("mel_standardised.npy") {
                try await speech.standardised(load("frames.npy").float32()).float64
            }
        } else {
            recorded("mel_standardised.npy", by: "the net mri-acoustic", shape: [count, bands])
        }
        await stage("mel_db.npy") { try pipeline.scaled(load("mel_standardised.npy").float32()).0.float64 }
        await stage("mel_log.npy") { try pipeline.scaled(load("mel_standardised.npy").float32()).1.float64 }
        if let given = net("hifigan", "istft-vocoder") {
            try await sound("wav.npy", of: load("mel_log.npy").float32().transposed(), by: given)
        } else {
            recorded("wav.npy", by: "the net hifigan", shape: [count * hop])
        }
    }

    private static func mode(_ about: JSON) -> MRISpeech.Mode {
        guard about["mode"]?.string == "window", let length = about["window"]?.int,
            let step = about["step"]?.int
        else { return .full }
        return .window(length: length, step: step)
    }
}

/// Stands where a stage is computed that runs no net.
private struct SilentNet: Net {
    func run(_: [String: NDArray<Float>]) async throws -> [String: NDArray<Float>] { [:] }
}
