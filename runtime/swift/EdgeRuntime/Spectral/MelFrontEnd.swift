import Foundation

/// Mel spectrogram of a signal; the numbers of the Python runtime, in double precision throughout.
///
///     1. condition    standardise (whole signal), scale to a peak (whole signal), pre-emphasis
///     2. STFT         padding, periodic Hann
///     3. spectrum     magnitude, or power, or dB below the signal's maximum on 0 … 1
///     4. bank         triangles on the Slaney or HTK scale; or none
///     5. logarithm    logGain · log(max(value, floor)) - reference; or at most topDB below the maximum
///     6. scale        scaleFrom is mapped onto scaleTo, optionally clipped there
///
/// Results in single precision are the double ones rounded once, which keeps them within 1e-7 of their size
/// of the truth; the Python runtime's own float32 results differ by up to 2e-5 dB or 2e-6 of a logarithm.
public final class MelFrontEnd: Sendable {
    /// All numbers of the front end.
    public let config: MelConfig
    let stft: Stft
    let bank: FilterBank?
    let compression: Compression

    /// A front end.
    ///
    /// - Throws: `EdgeError` of kind `config`: numbers that contradict each other.
    public convenience init(_ config: MelConfig) throws {
        try self.init(config, window: hann(max(config.winLength, 0)))
    }

    /// A front end with another window of the configured length: to recognise what a port did wrong.
    init(_ config: MelConfig, window: [Double]) throws {
        try config.validate()
        self.config = config
        stft = Stft(try config.stft(), window: window)
        bank = config.nMels == nil ? nil : try FilterBank(config)
        let (slope, offset) = Self.affine(config)
        let clips = config.clip && config.topDB == nil
        compression = Compression(
            takesLogarithm: config.log != .none, floor: config.floor, slope: slope, offset: offset,
            lowest: clips ? config.scaleTo.low : -.infinity, highest: clips ? config.scaleTo.high : .infinity)
    }

    /// Mel of a recording.
    ///
    /// - Parameter audio: (samples,) at the configuration's rate, full scale at ±1.
    /// - Returns: (nMels, frames), low band first.
    /// - Throws: `EdgeError` of kind `input`: not finite, or too short for one frame.
    public func callAsFunction(_ audio: [Float]) throws -> NDArray<Float> { try float64(audio).float32 }

    /// The same in double precision.
    public func float64(_ audio: [Float]) throws -> NDArray<Double> { try transform(audio) }

    /// The same of samples in double precision.
    public func float64(_ audio: [Double]) throws -> NDArray<Double> { try transform(audio) }

    private func transform<Sample: BinaryFloatingPoint>(_ audio: [Sample]) throws -> NDArray<Double> {
        try checkSignal(audio, minSamples: stft.config.minSamples)
        let isPlain = !config.standardize && config.peak == nil
        let conditioning = isPlain ? Conditioning.none : Conditioning(of: audio, config)
        let pad = stft.config.pad
        var padded = [Double](unsafeUninitializedCapacity: audio.count + 2 * pad) { room, count in
            for i in 0..<pad { (room[i], room[pad + audio.count + i]) = (0, 0) }
            conditioning.apply(audio, preEmphasis: config.preEmphasis, to: room, at: pad)
            count = audio.count + 2 * pad
        }
        stft.mirror(&padded, audio.count)
        let frames = stft.config.frames(audio.count)
        let lanes = MelLanes(self)
        let largest = config.spectrumRangeDB == nil ? 0 : lanes.largest(padded, frames: frames)
        var result = NDArray<Double>(repeating: 0, shape: [config.bands, frames])
        for first in stride(from: 0, to: frames, by: 4) {
            lanes.transform(padded, first: first, frames: frames, largest: largest)
            lanes.store(into: &result.values, first: first, frames: frames)
        }
        finish(&result.values)
        return result
    }

    /// Stages 5 and 6 alone: what the bank gave, (nMels, frames) → the mel.
    public func compress(_ linear: NDArray<Double>) -> NDArray<Double> {
        var result = linear.map(compress)
        finish(&result.values)
        return result
    }

    /// Logarithm, gain, reference and final scale of one value.
    func compress(_ value: Double) -> Double { compression(value) }

    /// What needs the maximum over the whole signal.
    private func finish(_ values: inout [Double]) {
        guard let topDB = config.topDB, let largest = values.max() else { return }
        let lowest = largest - topDB * compression.slope / Self.logSlope(config)
        for i in values.indices {
            values[i] = max(values[i], lowest)
            if config.clip { values[i] = min(max(values[i], config.scaleTo.low), config.scaleTo.high) }
        }
    }

    /// Factor that turns the natural logarithm into the configured one.
    private static func logSlope(_ config: MelConfig) -> Double {
        switch config.log {
        case .none: 1
        case .ln: config.logGain
        case .log10: config.logGain / Foundation.log(10.0)
        }
    }

    /// Slope and offset that gain, reference and final scale amount to, after the natural logarithm.
    private static func affine(_ config: MelConfig) -> (Double, Double) {
        let (slope, offset) = (logSlope(config), -config.reference)
        guard let from = config.scaleFrom else { return (slope, offset) }
        let stretch = (config.scaleTo.high - config.scaleTo.low) / (from.high - from.low)
        return (slope * stretch, (offset - from.low) * stretch + config.scaleTo.low)
    }
}

/// Stages 5 and 6 of one value: `clip(slope · ln(max(value, floor)) + offset)`.
struct Compression: Sendable {
    let takesLogarithm: Bool
    let floor, slope, offset: Double
    let lowest, highest: Double

    @inline(__always)
    func callAsFunction(_ value: Double) -> Double {
        let linear = takesLogarithm ? log(value > floor ? value : floor) : value
        let scaled = linear * slope + offset
        return scaled < lowest ? lowest : scaled > highest ? highest : scaled
    }
}

/// Four frames of a mel on their way: buffers of one caller.
final class MelLanes {
    private let frontEnd: MelFrontEnd
    private let lanes: StftLanes
    private let bands: UnsafeMutableBufferPointer<Lane>

    init(_ frontEnd: MelFrontEnd) {
        self.frontEnd = frontEnd
        lanes = StftLanes(frontEnd.stft)
        bands = .allocate(capacity: frontEnd.config.bands)
        bands.initialize(repeating: .zero)
    }

    deinit { bands.deallocate() }

    /// Stages 2 to 4 of four frames.
    func transform(_ padded: [Double], first: Int, frames: Int, largest: Double) {
        magnitude(padded, first: first, frames: frames)
        let spectrum = lanes.re
        if let range = frontEnd.config.spectrumRangeDB { normalise(spectrum, largest: largest, range: range) }
        if let bank = frontEnd.bank {
            FilterBank.apply(bank.sparse, spectrum, bands)
        } else {
            for k in 0..<bands.count { bands[k] = spectrum[k] }
        }
    }

    /// Stages 5 and 6, into a result of (bands, frames).
    func store(into result: inout [Double], first: Int, frames: Int) {
        let (count, compression) = (min(4, frames - first), frontEnd.compression)
        result.withUnsafeMutableBufferPointer { result in
            for band in 0..<bands.count {
                let (lane, place) = (bands[band], band * frames + first)
                if count == 4 {
                    result[place] = compression(lane[0])
                    result[place + 1] = compression(lane[1])
                    result[place + 2] = compression(lane[2])
                    result[place + 3] = compression(lane[3])
                } else {
                    for i in 0..<count { result[place + i] = compression(lane[i]) }
                }
            }
        }
    }

    /// Largest magnitude over the whole signal: the first of two passes.
    func largest(_ padded: [Double], frames: Int) -> Double {
        var largest = Lane.zero
        for first in stride(from: 0, to: frames, by: 4) {
            magnitude(padded, first: first, frames: frames)
            for k in 0..<lanes.re.count { largest = pointwiseMax(largest, lanes.re[k]) }
        }
        return largest.max()
    }

    /// Magnitude or power of four frames, in `lanes.re`.
    private func magnitude(_ padded: [Double], first: Int, frames: Int) {
        lanes.forward(padded, first: first, frames: frames)
        let (re, im, epsilon) = (lanes.re, lanes.im, Lane(repeating: frontEnd.config.epsilon))
        if frontEnd.config.power == 2 {
            for k in 0..<re.count { re[k] = re[k] * re[k] + im[k] * im[k] }
        } else {
            for k in 0..<re.count { re[k] = (re[k] * re[k] + im[k] * im[k] + epsilon).squareRoot() }
        }
    }

    /// `20 log10(S / max S + 1e-12)`, clipped to [-range, 0], mapped onto [0, 1]. Silence is 0.
    private func normalise(_ spectrum: UnsafeMutableBufferPointer<Lane>, largest: Double, range: Double) {
        let factor = 20 / log(10.0) / range
        for k in 0..<spectrum.count {
            for lane in 0..<4 {
                let relative = (largest == 0 ? spectrum[k][lane] : spectrum[k][lane] / largest) + 1e-12
                spectrum[k][lane] = min(max(log(relative) * factor, -1), 0) + 1
            }
        }
    }
}

/// What a front end does to a recording before its transform: `(x - mean) · gain`.
public struct Conditioning: Sendable, Equatable {
    /// Subtracted from each sample.
    public let mean: Double
    /// Factor of each sample.
    public let gain: Double
    /// Standard deviation of the result.
    public let deviation: Double

    /// What leaves a recording as it is.
    static let none = Conditioning(mean: 0, gain: 1, deviation: 0)

    private init(mean: Double, gain: Double, deviation: Double) {
        (self.mean, self.gain, self.deviation) = (mean, gain, deviation)
    }

    /// Of a recording, (samples,).
    public init(_ audio: [Float], _ config: MelConfig) { self.init(of: audio, config) }

    init<Sample: BinaryFloatingPoint>(of audio: [Sample], _ config: MelConfig) {
        let count = Double(max(audio.count, 1))
        let average = audio.reduce(0.0) { $0 + Double($1) } / count
        let squares = audio.reduce(0.0) { $0 + (Double($1) - average) * (Double($1) - average) }
        let spread = (squares / count).squareRoot()
        var (mean, gain) = (0.0, 1.0)
        if config.standardize { (mean, gain) = (average, 1 / (spread + 1e-12)) }
        if let peak = config.peak {
            let largest = audio.reduce(0.0) { max($0, abs(Double($1) - mean)) }
            gain = largest == 0 ? gain : peak / largest
        }
        (self.mean, self.gain, deviation) = (mean, gain, spread * gain)
    }

    /// Writes the conditioned and pre-emphasised signal from a place of a buffer on.
    func apply<Sample: BinaryFloatingPoint>(
        _ audio: [Sample], preEmphasis: Double, to room: UnsafeMutableBufferPointer<Double>, at place: Int
    ) {
        var before = 0.0
        audio.withUnsafeBufferPointer { audio in
            for i in 0..<audio.count {
                let value = (Double(audio[i]) - mean) * gain
                room[place + i] = value - preEmphasis * before
                before = value
            }
        }
    }
}
