import Foundation

/// Mel → audio with a net `hifigan` or `istft-vocoder`, in chunks that give what one run over everything gives.
///
/// Each chunk is fed with the context that the manifest's geometry states, whose output is dropped.
public struct Vocoder: Sendable {
    /// How audio becomes the net's mel.
    public let frontEnd: MelConfig
    /// Samples a frame.
    public let hopLength: Int
    /// Frames of its neighbours that a chunk needs.
    public let context: Context
    private let net: BoundNet
    private let plan: ChunkPlan

    /// Of the audio that comes out, Hz.
    public var sampleRate: Int { frontEnd.sampleRate }

    /// Bands of the mel.
    public var bands: Int { frontEnd.bands }

    /// The pipeline of a bundle of the net `hifigan` or `istft-vocoder`.
    ///
    /// - Parameters:
    ///   - net: what executes its artifact.
    ///   - bundle: opened and checked.
    ///   - target: the artifact that `net` runs.
    ///   - precision: `fp32` or `fp16`.
    ///   - chunkFrames: most frames per run, where the artifact takes any number; memory grows with it.
    /// - Throws: `EdgeError`: a bundle of another net, or without geometry or front end.
    public init(
        net: any Net, bundle: EdgeBundle, target: String = "coreml", precision: String = "fp32",
        chunkFrames: Int = 512
    ) throws {
        let name = bundle.manifest.net == "istft-vocoder" ? "istft-vocoder" : "hifigan"
        let bound = try BoundNet(net, of: bundle, named: name, target: target, precision: precision)
        let geometry = bundle.manifest.geometry
        guard let hop = geometry.hopLength, let context = geometry.sides else {
            throw EdgeError(
                .bundle, "\(bundle.url.path): geometry", got: "no hop_length or no context_frames",
                expected: "both")
        }
        guard let frontEnd = bundle.manifest.frontEnd else {
            throw EdgeError(
                .bundle, bundle.url.path, got: "no front_end", expected: "the mel of the net's training")
        }
        try self.init(
            net: bound, frontEnd: frontEnd, hopLength: hop, context: context, chunkFrames: chunkFrames)
    }

    /// The pipeline of a net that takes (1, bands, frames) and gives (1, 1, frames · hopLength).
    public init(
        net: BoundNet, frontEnd: MelConfig, hopLength: Int, context: Context, chunkFrames: Int = 512
    ) throws {
        try frontEnd.validate()
        (self.net, self.frontEnd, self.hopLength) = (net, frontEnd, hopLength)
        self.context = context
        plan = try ChunkPlan(admitted: net.lengths(2), context: context, chunkFrames: chunkFrames)
    }

    /// (samples,) at `sampleRate` → the net's mel, (bands, frames).
    public func mel(_ audio: [Float]) throws -> NDArray<Float> { try MelFrontEnd(frontEnd)(audio) }

    /// Audio of a mel.
    ///
    /// - Parameter mel: (bands, frames), the natural logarithm of magnitudes as `mel` gives them.
    /// - Returns: (frames · hopLength,) in −1 … 1.
    /// - Throws: `EdgeError` of kind `input`: another shape, values that are not finite, or in a range that
    ///   no such logarithm has.
    public func synthesize(_ mel: NDArray<Float>) async throws -> [Float] {
        try check(mel)
        var samples: [Float] = []
        for chunk in try plan.chunks(mel.columns) { samples += try await run(mel, chunk, first: 0) }
        return samples
    }

    /// A stream of its own: frames in, samples out; see `StreamingVocoder`.
    ///
    /// - Throws: `EdgeError` of kind `config`: a chunk that the artifact's lengths leave no room for.
    public func stream(chunk: Int = 4) throws -> StreamingVocoder { try StreamingVocoder(self, chunk: chunk) }

    /// Lengths that the artifact takes.
    var admitted: Manifest.Lengths { plan.admitted }

    /// The samples that a chunk keeps; `first` is the number of the mel's first frame.
    func run(_ mel: NDArray<Float>, _ chunk: Chunk, first: Int) async throws -> ArraySlice<Float> {
        let length = chunk.stop - chunk.start
        let frames = mel.slice(chunk.start - first..<chunk.stop - first, fill: silence)
        let audio = try await net(NDArray(checked: [1, bands, length], frames.values))
        guard audio.values.count == length * hopLength else {
            throw EdgeError(
                .bundle, "geometry", got: "\(audio.values.count) samples for \(length) frames",
                expected: "\(length * hopLength) (hop \(hopLength))",
                cause: "the hop_length in the manifest is not that of the net")
        }
        return audio.values[chunk.inside.lowerBound * hopLength..<chunk.inside.upperBound * hopLength]
    }

    private var silence: Float { frontEnd.log == .ln ? Float(log(frontEnd.floor)) : 0 }

    func check(_ mel: NDArray<Float>) throws {
        guard mel.shape.count == 2, mel.rows == bands, mel.columns > 0 else {
            throw EdgeError(
                .input, "mel", got: "shape \(described(mel.shape))",
                expected: "(\(bands), frames), at least one frame",
                cause: mel.shape.count == 2 && mel.columns == bands ? "transposed: pass mel.T" : "")
        }
        guard mel.values.allSatisfy(\.isFinite) else {
            throw EdgeError(.input, "mel", got: "NaN or infinity", expected: "finite values")
        }
        let (lowest, highest) = (Double(mel.values.min() ?? 0), Double(mel.values.max() ?? 0))
        guard frontEnd.log != .ln || (lowest >= -30 && highest <= 12) else {
            throw EdgeError(
                .input, "mel", got: "values from \(short(lowest, 4)) to \(short(highest, 4))",
                expected: "natural logarithms of magnitudes, about -11.5 to 2",
                cause: lowest >= 0
                    ? "these look like magnitudes: take the logarithm"
                    : "these look like decibels: divide dB of a magnitude by 8.686")
        }
    }
}

/// A vocoder net on a live mel: joined, what `Vocoder.synthesize` gives of the joined mel.
///
/// The net is run again and again over the same number of frames: a chunk, and its context on both sides. How frames
/// are cut into pushes changes nothing. Artifacts that take a few lengths alone run in the shortest that leaves
/// something between its two contexts; the chunk is then what it leaves.
public struct StreamingVocoder: Sendable {
    /// Frames whose audio is made in one run.
    public let chunk: Int
    private let vocoder: Vocoder
    private let only: [Int]  // lengths that the artifact takes; empty where it takes any
    private let longest: Int
    private var kept: NDArray<Float>  // frames that runs to come may need
    private var first = 0  // number of the first frame kept
    private var done = 0  // frames whose audio was given

    /// A stream.
    ///
    /// - Parameters:
    ///   - vocoder: whose net is run.
    ///   - chunk: frames; more cost less work for a second of audio, and wait longer.
    /// - Throws: `EdgeError` of kind `config`: a chunk below 1, or that the artifact's lengths leave no room for.
    public init(_ vocoder: Vocoder, chunk: Int = 4) throws {
        guard chunk >= 1 else {
            throw EdgeError(
                .config, "chunk", got: "\(chunk)", expected: "a whole number of frames, at least 1")
        }
        let (admitted, context) = (vocoder.admitted, vocoder.context)
        self.vocoder = vocoder
        kept = NDArray(repeating: 0, shape: [vocoder.bands, 0])
        if let most = admitted.only.last {
            guard let fitting = admitted.only.first(where: { $0 > context.around }) else {
                _ = try planChunks(frames: most + 1, context: context, sizes: admitted.only)  // refuses them
                throw EdgeError(.config, "chunk", got: "\(most) frames", expected: "more than the context")
            }
            (longest, self.chunk) = (fitting, fitting - context.around)
            only = admitted.only.filter { $0 <= fitting }
            return
        }
        (longest, self.chunk, only) = (context.around + chunk, chunk, [])
        if let high = admitted.high, longest > high {
            throw EdgeError(
                .config, "chunk", got: "\(chunk) frames, with their context \(longest)",
                expected: "at most \(high - context.around): the artifact takes \(high) at once")
        }
    }

    /// Samples that the audio lags behind the mel: the context after a frame, times the hop.
    public var latency: Int { vocoder.context.after * vocoder.hopLength }

    /// The samples that these frames complete, maybe none.
    ///
    /// - Parameter mel: (bands, k), k of any size.
    /// - Throws: `EdgeError` of kind `input`, as `Vocoder.synthesize`; the stream stays as it was.
    public mutating func push(_ mel: NDArray<Float>) async throws -> [Float] {
        try vocoder.check(mel)
        kept = joined(kept, mel)
        var samples: [Float] = []
        while let run = nextRun {
            samples += try await audio(run)
            forget()
        }
        return samples
    }

    /// The rest of the samples; what is pushed next begins a new stream.
    public mutating func finish() async throws -> [Float] {
        let known = first + kept.columns
        var samples: [Float] = []
        if known > done {
            let runs =
                only.isEmpty
                ? [Chunk(start: max(0, done - vocoder.context.before), stop: known, first: done, last: known)]
                : try planChunks(frames: known, context: vocoder.context, sizes: only)
            for run in runs where run.last > done { samples += try await audio(run) }
        }
        kept = NDArray(repeating: 0, shape: [vocoder.bands, 0])
        (first, done) = (0, 0)
        return samples
    }

    /// The next run that the known frames allow, whatever comes after them.
    private var nextRun: Chunk? {
        let (known, context) = (first + kept.columns, vocoder.context)
        let start = max(0, done - context.before)
        if only.isEmpty {
            let stop = done + chunk + context.after
            return known >= stop ? Chunk(start: start, stop: stop, first: done, last: done + chunk) : nil
        }
        let stop = start + longest
        return known > stop ? Chunk(start: start, stop: stop, first: done, last: stop - context.after) : nil
    }

    private mutating func audio(_ run: Chunk) async throws -> ArraySlice<Float> {
        let samples = try await vocoder.run(kept, run, first: first)
        let skipped = (max(run.first, done) - run.first) * vocoder.hopLength
        done = run.last
        return samples.dropFirst(skipped)
    }

    /// Drops frames that no run needs any more: a last run of a fixed length reaches further back.
    private mutating func forget() {
        let reach = vocoder.context.before + (only.isEmpty ? 0 : longest)
        let unused = max(0, done - reach - first)
        kept = kept.slice(unused..<kept.columns, fill: 0)
        first += unused
    }
}

/// (n, a) and (n, b) → (n, a + b).
private func joined(_ left: NDArray<Float>, _ right: NDArray<Float>) -> NDArray<Float> {
    var values: [Float] = []
    for row in 0..<right.rows {
        values += left.values[row * left.columns..<(row + 1) * left.columns]
        values += right.values[row * right.columns..<(row + 1) * right.columns]
    }
    return NDArray(checked: [right.rows, left.columns + right.columns], values)
}
