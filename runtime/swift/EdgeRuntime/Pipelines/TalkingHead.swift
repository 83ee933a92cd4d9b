/// Audio → mel → windows → features: what a talking-head renderer (SyncTalk_2D) is driven by.
///
///     let head = try TalkingHead(net: CoreMLNet(bundle), bundle: bundle)
///     let result = try await head.process(audio.samples)
///     let context = try result.frameFeatures(12)  // (32, 16, 16)
public struct TalkingHead: Sendable {
    /// Rate of the audio, Hz.
    public static let sampleRate = 16000

    /// The mel that the net was trained on.
    public let frontEnd: MelFrontEnd
    /// Video frames per second.
    public let fps: Double
    private let net: BoundNet
    private let batchSize: Int

    /// Every stage of one recording; n video frames.
    public struct Result: Sendable {
        /// (80, T) in −4 … 4, 80 frames a second.
        public let mel: NDArray<Float>
        /// (n, 512), one row per video frame.
        public let features: NDArray<Float>
        /// (n + 2, 512), ends repeated.
        public let padded: NDArray<Float>

        /// Video frames with a window of their own.
        public var frameCount: Int { features.rows }

        /// What the renderer takes for a video frame, 0 … frameCount + 1: (32, 16, 16).
        ///
        /// - Throws: `EdgeError` of kind `input`: no such frame.
        public func frameFeatures(_ frame: Int) throws -> NDArray<Float> {
            try Windows.reshape(Windows.context(padded, frame: frame), mode: .ave)
        }
    }

    /// The pipeline of a bundle of the net `audio-encoder`.
    ///
    /// - Parameters:
    ///   - net: what executes its artifact.
    ///   - bundle: opened and checked.
    ///   - target: the artifact that `net` runs.
    ///   - precision: `fp32` or `fp16`.
    ///   - fps: video frames per second; the origin knows 25.
    ///   - batchSize: windows per run, fewer where the artifact takes fewer.
    /// - Throws: `EdgeError`: a bundle of another net or mel.
    public init(
        net: any Net, bundle: EdgeBundle, target: String = "coreml", precision: String = "fp32",
        fps: Double = 25,
        batchSize: Int = 64
    ) throws {
        let bound = try BoundNet(
            net, of: bundle, named: "audio-encoder", target: target, precision: precision)
        try self.init(
            net: bound, frontEnd: bundle.manifest.frontEnd ?? .talkingHead, fps: fps, batchSize: batchSize)
    }

    /// The pipeline of a net that takes (b, 1, 80, 16) and gives (b, 512).
    public init(net: BoundNet, frontEnd: MelConfig = .talkingHead, fps: Double = 25, batchSize: Int = 64)
        throws
    {
        guard frontEnd.sampleRate == Self.sampleRate, frontEnd.hopLength == Windows.melHop,
            frontEnd.bands == Windows.melBins
        else {
            throw EdgeError(
                .bundle, "front_end",
                got: "\(frontEnd.sampleRate) Hz, hop \(frontEnd.hopLength), \(frontEnd.bands) bands",
                expected: "16000 Hz, hop 200, 80 bands")
        }
        guard batchSize >= 1 else {
            throw EdgeError(.config, "batch_size", got: "\(batchSize)", expected: "at least 1")
        }
        _ = try Windows.frameCount(Windows.windowFrames, fps: fps)
        (self.net, self.fps, self.frontEnd) = (net, fps, try MelFrontEnd(frontEnd))
        let admitted = net.lengths(0)
        self.batchSize = admitted.only.last ?? min(batchSize, admitted.high ?? batchSize)
    }

    /// Features of a recording.
    ///
    /// - Parameter audio: (samples,) at 16 kHz, full scale ±1; at least 3000.
    /// - Throws: `EdgeError` of kind `input`: not finite, or too short for one window.
    public func process(_ audio: [Float]) async throws -> Result {
        guard audio.count >= Windows.minSamples else {
            throw EdgeError(
                .input, "audio", got: "\(audio.count) samples",
                expected: "at least \(Windows.minSamples) (one window of \(Windows.windowFrames) mel frames)",
                cause: audio.isEmpty ? "the recording is empty" : "the recording is too short")
        }
        return try await process(mel: try frontEnd(audio))
    }

    /// Features of a mel, (80, T).
    public func process(mel: NDArray<Float>) async throws -> Result {
        let count = try Windows.frameCount(mel.columns, fps: fps)
        var values: [Float] = []
        for start in stride(from: 0, to: count, by: batchSize) {
            let windows = try Windows.encoderWindows(
                mel, fps: fps, range: start..<min(start + batchSize, count))
            values += try await encode(windows).values
        }
        let features = try NDArray(shape: [count, Windows.Mode.ave.features], values: values)
        return Result(mel: mel, features: features, padded: try Windows.repeatEnds(features))
    }

    /// (b, 16, 80) → (b, 512); a batch that is shorter than the only size that the net takes is filled up.
    private func encode(_ windows: NDArray<Float>) async throws -> NDArray<Float> {
        let count = windows.rows
        let size = net.lengths(0).only.first { $0 >= count } ?? count
        var values = [Float](repeating: 0, count: size * Windows.melBins * Windows.windowFrames)
        for window in 0..<count {
            for frame in 0..<Windows.windowFrames {
                for band in 0..<Windows.melBins {  // (b, 16, 80) → (b, 1, 80, 16)
                    let place = (window * Windows.melBins + band) * Windows.windowFrames + frame
                    values[place] =
                        windows.values[(window * Windows.windowFrames + frame) * Windows.melBins + band]
                }
            }
        }
        let result = try await net(
            NDArray(checked: [size, 1, Windows.melBins, Windows.windowFrames], values))
        let columns = Windows.Mode.ave.features
        guard result.shape == [size, columns] else {
            throw EdgeError(
                .backend, "features", got: described(result.shape), expected: "(\(size), \(columns))")
        }
        return NDArray(checked: [count, columns], Array(result.values[..<(count * columns)]))
    }
}
