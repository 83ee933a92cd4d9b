import EdgeRuntime

/// Talking-head features while somebody speaks: pieces of a recording in, one row per video frame out.
///
/// The mel is that of the whole recording, frame by frame; windows, and so features, are those of
/// `TalkingHead.process` but for the last two video frames, whose windows the end of a recording clamps.
public actor LiveFeatures {
    private let net: BoundNet
    private let fps: Double
    private var stream: StreamingMel
    private var mel: [[Float]] = []  // columns from number `first` on
    private var first = 0
    private var next = 0  // video frame

    /// A stream of features.
    ///
    /// - Parameters:
    ///   - net: the net `audio-encoder`: (1, 1, 80, 16) → (1, 512).
    ///   - fps: video frames per second.
    /// - Throws: `EdgeError` of kind `config`: a front end that needs the whole recording.
    public init(net: BoundNet, frontEnd: MelConfig = .talkingHead, fps: Double = 25) throws {
        (self.net, self.fps) = (net, fps)
        stream = try StreamingMel(frontEnd)
    }

    /// Rows of 512 features of the video frames that these samples complete.
    ///
    /// - Parameter samples: of 16 kHz, full scale ±1, any number.
    /// - Throws: `EdgeError` of kind `input`: samples that are not finite; what executes the net fails.
    public func push(_ samples: [Float]) async throws -> [[Float]] {
        let frames = try stream.push(samples)
        for column in 0..<frames.columns { mel.append((0..<frames.rows).map { frames[$0, column] }) }
        var rows: [[Float]] = []
        while true {
            let start = Int(80 * (Double(next) / fps))
            guard start + Windows.windowFrames <= first + mel.count else { break }
            rows.append(try await net(window(start)).values)
            next += 1
        }
        let unused = min(max(0, Int(80 * (Double(next) / fps)) - first), mel.count)
        mel.removeFirst(unused)
        first += unused
        return rows
    }

    /// (1, 1, 80, 16) of the mel frames from `start` on.
    private func window(_ start: Int) throws -> NDArray<Float> {
        let columns = mel[start - first..<start - first + Windows.windowFrames]
        let values = (0..<Windows.melBins).flatMap { band in columns.map { $0[band] } }
        return try NDArray(shape: [1, 1, Windows.melBins, Windows.windowFrames], values: values)
    }
}
