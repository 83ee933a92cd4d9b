import Foundation

/// Mel → magnitude → audio: at once without any model, better with a net for either step.
///
///     mel (nMels, frames)
///       │ pseudo-inverse and multiplicative updates, or the net `mel-inversion`
///     magnitude (bins, frames)      of the signal as the front end conditioned it
///       │ pre-emphasis divided out, frames laid as the phase step counts them
///     target (bins, frames + a few)
///       │ Griffin-Lim and its relatives, or blocks of the net `degli`
///     samples (n,)                  cut to the recording, at its level
public struct MelInversion: Sendable {
    /// The front end that made the mel.
    public let frontEnd: MelFrontEnd
    /// Iterations of the phase step.
    public let iterations: Int
    /// Multiplicative updates of the estimate.
    public let updates: Int
    /// How the frames of the front end become frames of the phase step.
    public let layout: FrameLayout
    private let estimator: MagnitudeEstimator
    private let magnitudeNet: MagnitudeNet?
    private let phaseNet: PhaseNet?
    private let griffinLim: GriffinLim

    /// Every stage of one recording.
    public struct Result: Sendable {
        /// (nMels, frames), in the unit of the front end.
        public let mel: NDArray<Double>
        /// (bins, frames): pseudo-inverse and updates.
        public let estimate: NDArray<Double>
        /// (bins, frames): the net's, or the estimate.
        public let magnitude: NDArray<Double>
        /// (bins, frames + a few): as the phase step takes it.
        public let target: NDArray<Double>
        /// (n,), full scale ±1.
        public let samples: [Float]
        /// false: the mel does not hold the level, the peak is 0.95.
        public let levelKnown: Bool
    }

    /// The pipeline.
    ///
    /// - Parameters:
    ///   - frontEnd: of the mel; that of the magnitude net where there is one.
    ///   - magnitudeNet: for the magnitude; nil for pseudo-inverse and updates.
    ///   - phaseNet: for the phase; nil for Griffin and Lim's family.
    ///   - algorithm: of that family.
    ///   - iterations: of the phase step; by default 64, or 10 blocks of the phase net.
    ///   - updates: of the estimate, 0 for the pseudo-inverse alone.
    ///   - momentum: of fgla and agla.
    /// - Throws: `EdgeError` of kind `config`: a front end that cannot be inverted, numbers below 0.
    public init(
        frontEnd: MelConfig = .melInversion, magnitudeNet: MagnitudeNet? = nil, phaseNet: PhaseNet? = nil,
        algorithm: GriffinLim.Algorithm = .fgla, iterations: Int? = nil, updates: Int = 50,
        momentum: Double = 0.99
    ) throws {
        let iterations = iterations ?? (phaseNet == nil ? 64 : 10)
        for (name, count) in [("iterations", iterations), ("updates", updates)] where count < 0 {
            throw EdgeError(.config, name, got: "\(count)", expected: "a whole number, at least 0")
        }
        self.frontEnd = try MelFrontEnd(frontEnd)
        estimator = try MagnitudeEstimator(frontEnd)
        let framing = try frontEnd.stft()
        layout = try FrameLayout(frontEnd: framing, phase: phaseNet?.stft.config)
        griffinLim = try GriffinLim(
            framing.padding == .none ? framing.padded(.centerZero) : framing, algorithm: algorithm,
            momentum: momentum)
        (self.magnitudeNet, self.phaseNet) = (magnitudeNet, phaseNet)
        (self.iterations, self.updates) = (iterations, updates)
    }

    /// Audio → mel → audio, as long and as loud as what was given.
    ///
    /// - Throws: `EdgeError` of kind `input`: not finite, or too short for one frame.
    public func process(_ audio: [Float]) async throws -> Result {
        try await invert(try frontEnd.float64(audio), of: audio)
    }

    /// Audio of a mel.
    ///
    /// - Parameters:
    ///   - mel: (nMels, frames), as the front end gives it.
    ///   - audio: the recording, whose length and level the result then has.
    /// - Throws: `EdgeError` of kind `input`: another shape, or values that no such mel has.
    public func invert(_ mel: NDArray<Double>, of audio: [Float]? = nil) async throws -> Result {
        let config = frontEnd.config
        let estimate = try estimator.magnitude(linearMel(mel), updates: updates)
        let magnitude = magnitudeNet == nil ? estimate : try await self.magnitude(of: mel)
        let length = try audio?.count ?? layout.naturalLength(mel.columns)
        let target = layout.layOut(withoutPreEmphasis(magnitude), length: length)
        let samples = try await reconstruct(target, length: length)
        let levelKnown = audio != nil || !(config.standardize || config.spectrumRangeDB != nil)
        let conditioning = audio.map { Conditioning($0, config) }
        return Result(
            mel: mel, estimate: estimate, magnitude: magnitude, target: target,
            samples: restore(samples, conditioning), levelKnown: levelKnown)
    }

    /// Magnitude (bins, frames) of a mel: the net's, or the estimate.
    func magnitude(of mel: NDArray<Double>) async throws -> NDArray<Double> {
        guard let magnitudeNet else { return try estimator.magnitude(linearMel(mel), updates: updates) }
        return try await magnitudeNet.magnitude(mel.float32, silence: Float(silence)).float64
    }

    /// The mel before scale and logarithm; what stands at their floor is silence, not that value.
    public func linearMel(_ mel: NDArray<Double>) throws -> NDArray<Double> {
        var linear = try estimator.linearMel(mel)
        for i in linear.values.indices where mel.values[i] <= silence { linear.values[i] = 0 }
        return linear
    }

    /// Magnitude (bins, frames) of a linear mel, without a net.
    public func estimate(_ linear: NDArray<Double>) throws -> NDArray<Double> {
        try estimator.magnitude(linear, updates: updates)
    }

    /// (bins, frames) of the signal before `x[n] − a · x[n−1]`: divided by the filter's response.
    public func withoutPreEmphasis(_ magnitude: NDArray<Double>) -> NDArray<Double> {
        let (a, nFFT) = (frontEnd.config.preEmphasis, frontEnd.config.nFFT)
        if a == 0 { return magnitude }
        var result = magnitude
        for bin in 0..<magnitude.rows {
            let angle = 2 * Double.pi * Double(bin) / Double(nFFT)
            let response = ((1 - a * cos(angle)) * (1 - a * cos(angle)) + a * a * sin(angle) * sin(angle))
                .squareRoot()
            for frame in 0..<magnitude.columns { result[bin, frame] /= max(response, 1e-3) }
        }
        return result
    }

    /// The phase step: magnitude (bins, frames) in its layout → (length,) samples as conditioned.
    ///
    /// - Parameters:
    ///   - target: of `FrameLayout.layOut`.
    ///   - length: samples of the recording.
    ///   - iterations: nil for the pipeline's own number.
    ///   - start: the phase to begin from.
    public func reconstruct(
        _ target: NDArray<Double>, length: Int, iterations: Int? = nil, start: GriffinLim.Start = .zero
    ) async throws -> [Double] {
        let (count, total) = (iterations ?? self.iterations, layout.offset + length)
        let samples =
            if let phaseNet {
                try await phaseNet.reconstruct(target, blocks: count, length: total, start: start)
            } else {
                try griffinLim(target, iterations: count, start: start, length: total)
            }
        return Array(samples[layout.offset...])
    }

    /// Mean and level of the recording; where it is unknown, and the mel does not hold the level, a peak of
    /// 0.95.
    public func restore(_ samples: [Double], _ conditioning: Conditioning?) -> [Float] {
        let config = frontEnd.config
        var values = samples
        if config.spectrumRangeDB != nil {
            let mean = values.reduce(0, +) / Double(max(values.count, 1))
            let spread = (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(max(values.count, 1)))
                .squareRoot()
            if spread > 0 { values = values.map { $0 * ((conditioning?.deviation ?? 1) / spread) } }
        }
        if let conditioning {
            values = values.map { $0 / conditioning.gain + conditioning.mean }
        } else if config.standardize || config.spectrumRangeDB != nil {
            let largest = values.reduce(0) { max($0, abs($1)) }
            if largest > 0 { values = values.map { $0 * (0.95 / largest) } }
        }
        return values.map { Float($0) }
    }

    /// Largest value of a band in silence: a logarithm's floor, as near as single precision comes to it.
    private var silence: Double {
        let value = Double(Float(frontEnd.compress(NDArray(repeating: 0, shape: [1, 1])).values[0]))
        return frontEnd.config.log == .none ? value : value + 1e-5
    }
}

/// How the frames of a front end become frames of the phase step.
///
/// Griffin-Lim takes the front end's own padding, but for "none". It, and a phase net of another padding, get
/// frames that are centred elsewhere: frames are mirrored beyond both ends until the recording is covered.
public struct FrameLayout: Sendable {
    /// Framing of the phase step.
    public let phase: StftConfig
    /// Frames mirrored before the first.
    public let before: Int
    /// Samples before the recording.
    public let offset: Int
    private let frontEnd: StftConfig

    /// A layout; `phase` is nil for Griffin-Lim.
    public init(frontEnd: StftConfig, phase: StftConfig?) throws {
        self.frontEnd = frontEnd
        self.phase = try phase ?? (frontEnd.padding == .none ? frontEnd.padded(.centerZero) : frontEnd)
        let ahead = (frontEnd.nFFT / 2 - frontEnd.pad) - (self.phase.nFFT / 2 - self.phase.pad)
        before = max(0, Int((Double(ahead) / Double(frontEnd.hopLength)).rounded(.up)))
        offset = before * frontEnd.hopLength - ahead
    }

    /// Samples that so many frames cover.
    ///
    /// - Throws: `EdgeError` of kind `input` if none.
    public func naturalLength(_ frames: Int) throws -> Int {
        let covered = frontEnd.nFFT + (frames - 1) * frontEnd.hopLength - 2 * frontEnd.pad
        guard covered >= 1 else {
            throw EdgeError(
                .input, "mel", got: "\(frames) frame", expected: "at least 2, which enclose samples")
        }
        return covered
    }

    /// (bins, frames) → the same, frames mirrored at both ends until `length` samples are covered.
    public func layOut(_ magnitude: NDArray<Double>, length: Int) -> NDArray<Double> {
        let (frames, hop) = (magnitude.columns, frontEnd.hopLength)
        let covering = Double(offset + length + 2 * phase.pad - phase.nFFT) / Double(hop)
        let needed = max(1 + Int(covering.rounded(.down)), 1 + (phase.minSamples + hop - 1) / hop)
        let after = max(0, needed - frames - before)
        let places = (-before..<frames + after).map { place -> Int in
            let turn = ((place % (2 * frames)) + 2 * frames) % (2 * frames)
            return turn < frames ? turn : 2 * frames - 1 - turn
        }
        let values = (0..<magnitude.rows).flatMap { bin in places.map { magnitude[bin, $0] } }
        return NDArray(checked: [magnitude.rows, places.count], values)
    }
}
