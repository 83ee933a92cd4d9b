import EdgeRuntime

/// A voice through mel and vocoder while somebody speaks: what a vocoder's own quality sounds like.
public actor LiveVocoder {
    private var mel: StreamingMel
    private var speech: StreamingVocoder

    /// A stream of audio at the vocoder's rate.
    ///
    /// - Parameters:
    ///   - vocoder: whose net is run.
    ///   - chunk: frames of the mel that are made audio of at a time.
    /// - Throws: `EdgeError` of kind `config`: a front end that needs the whole recording, or no room for the chunk.
    public init(_ vocoder: Vocoder, chunk: Int = 4) throws {
        mel = try StreamingMel(vocoder.frontEnd)
        speech = try vocoder.stream(chunk: chunk)
    }

    /// The samples that these complete, maybe none: (k,) in −1 … 1.
    ///
    /// - Throws: `EdgeError` of kind `input`: samples that are not finite; what executes the net fails.
    public func push(_ samples: [Float]) async throws -> [Float] {
        let frames = try mel.push(samples)
        return frames.columns == 0 ? [] : try await push(frames)
    }

    /// The rest; what is pushed next begins a new recording.
    public func finish() async throws -> [Float] {
        let frames = try mel.finish()
        var samples = frames.columns == 0 ? [] : try await push(frames)
        var stream = speech
        samples += try await stream.finish()
        speech = stream
        return samples
    }

    private func push(_ frames: NDArray<Float>) async throws -> [Float] {
        var stream = speech
        let samples = try await stream.push(frames)
        speech = stream
        return samples
    }
}
