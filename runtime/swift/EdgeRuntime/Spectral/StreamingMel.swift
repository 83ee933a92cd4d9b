import Foundation

/// A mel of a recording that comes in pieces: whatever the pieces, the frames of `MelFrontEnd` to the last
/// bit.
public struct StreamingMel {
    /// The front end.
    public let frontEnd: MelFrontEnd
    private var raw = 0.0  // the last sample, for pre-emphasis
    private var received = 0
    private var done = 0  // frames that were given
    private var held: [Double] = []  // of the padded signal; before it begins, the samples alone
    private var base = 0  // place of the first of them in the padded signal
    private var begun = false
    private let lanes: MelLanes

    /// A stream.
    ///
    /// - Throws: `EdgeError` of kind `config`: numbers that contradict each other, or a stage that needs the
    ///   whole recording (standardize, peak, spectrum_range_db, top_db).
    public init(_ config: MelConfig) throws {
        let whole = [
            ("standardize", config.standardize), ("peak", config.peak != nil),
            ("spectrum_range_db", config.spectrumRangeDB != nil), ("top_db", config.topDB != nil),
        ]
        for (name, isOn) in whole where isOn {
            throw EdgeError(
                .config, name, got: "a stage that needs the whole recording",
                expected: "none of them in a stream")
        }
        frontEnd = try MelFrontEnd(config)
        lanes = MelLanes(frontEnd)
    }

    /// Seconds from a sample to the frame that is centred on it, if samples come at once.
    public var latency: Double {
        Double(frontEnd.config.nFFT - frontEnd.config.nFFT / 2) / Double(frontEnd.config.sampleRate)
    }

    /// The frames that these samples complete, (bands, k), k of any size.
    ///
    /// - Throws: `EdgeError` of kind `input`: a sample that is not finite or far beyond full scale.
    public mutating func push(_ samples: [Float]) throws -> NDArray<Float> {
        try checkSignal(samples, minSamples: 0)
        for sample in samples {
            held.append(Double(sample) - frontEnd.config.preEmphasis * raw)
            raw = Double(sample)
        }
        received += samples.count
        let config = frontEnd.stft.config
        if !begun {
            guard received >= (config.padding.mirrors ? config.pad + 1 : 1) else { return emit() }
            let before =
                config.padding.mirrors
                ? (0..<config.pad).map { held[config.pad - $0] } : [Double](repeating: 0, count: config.pad)
            (held, begun) = (before + held, true)
        }
        return emit()
    }

    /// The frames that the end of the recording completes; what is pushed next begins a new recording.
    ///
    /// - Throws: `EdgeError` of kind `input`: the recording is too short for one frame.
    public mutating func finish() throws -> NDArray<Float> {
        let config = frontEnd.stft.config
        defer { (raw, received, done, held, base, begun) = (0, 0, 0, [], 0, false) }
        let length = [Float](repeating: 0, count: min(received, config.minSamples))
        try checkSignal(length, minSamples: config.minSamples)
        let last = config.pad + received - 1 - base
        for i in 0..<config.pad { held.append(config.padding.mirrors ? held[last - 1 - i] : 0) }
        return emit()
    }

    /// All frames that the samples held complete.
    private mutating func emit() -> NDArray<Float> {
        let (config, bands) = (frontEnd.stft.config, frontEnd.config.bands)
        let start = done * config.hopLength - base
        let available = begun ? held.count - start : 0
        let count = available < config.nFFT ? 0 : 1 + (available - config.nFFT) / config.hopLength
        var result = NDArray<Double>(repeating: 0, shape: [bands, count])
        let padded = count == 0 ? [] : Array(held[start...])
        for first in stride(from: 0, to: count, by: 4) {
            lanes.transform(padded, first: first, frames: count, largest: 0)
            lanes.store(into: &result.values, first: first, frames: count)
        }
        done += count
        // the mirror at the end needs the last samples
        let unused = max(0, min(done * config.hopLength - base, held.count - config.pad - 1))
        if begun {
            held.removeFirst(unused)
            base += unused
        }
        return result.float32
    }
}
