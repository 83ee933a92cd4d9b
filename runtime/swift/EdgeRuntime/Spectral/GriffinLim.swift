import Foundation

/// Griffin and Lim's family: a signal whose spectrogram has the given magnitude, without a model.
///
/// With P_A giving each bin the wanted magnitude, P_C = STFT(iSTFT(·)) and c_0 of the initial phase:
///
///     gla     c ← P_C(P_A(c))                                                       Griffin and Lim, 1984
///     fgla    t_n = P_C(P_A(c));  c = t_n + α (t_n − t_{n−1})        Perraudin, Balazs, Søndergaard, 2013
///     agla    t_n = (1 − γ) d + γ P_C(P_A(c));  c = t_n + α (t_n − t_{n−1});  d = t_n + β (t_n − t_{n−1})
///                                                                          Nenov, Nguyen, Balazs, Boţ, 2023
///     admm    x = P_A(z − u);  v = x + u;  z = (ρ v + P_C(v)) / (1 + ρ);  u ← u + x − z
///                                                                               Masuyama, Yatabe, Oikawa, 2019
///
/// The result is iSTFT(P_A(c)), the signal that librosa gives. Everything but P_A is linear, so momentum is
/// taken between signals; ADMM holds one spectrum more. `RealtimeGriffinLim` is FGLA for streams.
public struct GriffinLim: Sendable {
    /// A member of the family.
    public enum Algorithm: String, Sendable, CaseIterable {
        /// Griffin and Lim's own.
        case gla
        /// With momentum.
        case fgla
        /// The accelerated one, β = 1.1 and γ = 1.25.
        case agla
        /// Alternating directions, ρ = 0.2; has no momentum.
        case admm
    }

    /// Initial phase.
    public enum Start: Sendable {
        /// Zero.
        case zero
        /// That of a spectrum of the same frames and bins.
        case spectrum(Spectrum)
    }

    /// Framing of the magnitude.
    public let config: StftConfig
    /// The member.
    public var algorithm: Algorithm
    /// α of fgla and agla; 0 makes fgla the same as gla. The others have none.
    public var momentum: Double
    private let stft: Stft

    /// A reconstruction.
    ///
    /// - Throws: `EdgeError` of kind `config`: a hop so long that the windows leave gaps, a momentum outside
    ///   0 … 2.
    public init(_ config: StftConfig, algorithm: Algorithm = .fgla, momentum: Double = 0.99) throws {
        let stft = Stft(config)
        try checkOverlap(stft)
        try checkMomentum(momentum)
        (self.config, self.algorithm, self.momentum, self.stft) = (config, algorithm, momentum, stft)
    }

    /// Signal of a magnitude.
    ///
    /// - Parameters:
    ///   - magnitude: linear, (bins, frames).
    ///   - iterations: 0 returns the inverse transform with the initial phase.
    ///   - start: initial phase.
    ///   - length: samples wanted; by default all that the frames cover, less the padding.
    /// - Throws: `EdgeError` of kind `input`: a magnitude of another size, negative, or not finite.
    public func callAsFunction(
        _ magnitude: NDArray<Double>, iterations: Int = 32, start: Start = .zero, length: Int? = nil
    ) throws -> [Double] {
        try check(magnitude, iterations, start)
        let projection = try Projection(magnitude, stft, length)
        let signal =
            algorithm == .admm
            ? projection.admm(start, iterations) : accelerated(projection, start, iterations)
        return projection.crop(signal)
    }

    /// All but ADMM.
    private func accelerated(_ projection: Projection, _ start: Start, _ iterations: Int) -> [Double] {
        var signal = projection.start(start)
        let alpha = algorithm == .gla ? 0 : momentum
        var (ahead, t, d) = (signal, signal, signal)
        for _ in 0..<iterations {
            let previous = signal
            signal = projection.apply(ahead)
            if algorithm == .agla {
                let older = t
                t = Self.extrapolated(d, signal, -1.25)  // t = d + γ (signal − d)
                ahead = Self.extrapolated(t, older, alpha)
                d = Self.extrapolated(t, older, 1.1)
            } else {
                ahead = alpha == 0 ? signal : Self.extrapolated(signal, previous, alpha)
            }
        }
        return signal
    }

    /// `signal + momentum (signal − previous)`.
    static func extrapolated(_ signal: [Double], _ previous: [Double], _ momentum: Double) -> [Double] {
        var result = signal
        for i in result.indices { result[i] += momentum * (signal[i] - previous[i]) }
        return result
    }

    private func check(_ magnitude: NDArray<Double>, _ iterations: Int, _ start: Start) throws {
        try checkIterations(iterations)
        try checkMagnitude(magnitude, config)
        if case .spectrum(let spectrum) = start, spectrum.re.shape != magnitude.shape.reversed() {
            throw EdgeError(
                .input, "init", got: "a spectrum of (frames, bins) \(described(spectrum.re.shape))",
                expected: "the phase of each bin, \(described(magnitude.shape.reversed()))")
        }
    }
}

/// Refuses a hop so long that the windows leave gaps.
func checkOverlap(_ stft: Stft) throws {
    guard stft.coversEverySample else {
        throw EdgeError(
            .config, "hop_length",
            got: "\(stft.config.hopLength) samples with a window of \(stft.config.winLength)",
            expected: "less than the window, \(stft.config.winLength / 4) for a good result",
            cause: "the windows leave gaps: nonzero overlap-add (NOLA), Σ w²[n − m·hop] > 0 for all n, "
                + "does not hold")
    }
}

func checkMomentum(_ momentum: Double) throws {
    guard momentum >= 0, momentum < 2 else {
        throw EdgeError(
            .config, "momentum", got: "\(momentum)", expected: "at least 0 and less than 2",
            cause: "0.99 is usual")
    }
}

func checkIterations(_ iterations: Int) throws {
    guard iterations >= 0 else {
        throw EdgeError(
            .config, "n_iter", got: "\(iterations)", expected: "a whole number of iterations, at least 0")
    }
}

/// Refuses what is no magnitude of this framing.
func checkMagnitude(_ magnitude: NDArray<Double>, _ config: StftConfig) throws {
    guard magnitude.shape.count == 2, magnitude.rows == config.bins, magnitude.columns > 0 else {
        let transposed = magnitude.shape.count == 2 && magnitude.columns == config.bins
        throw EdgeError(
            .input, "magnitude", got: "shape \(described(magnitude.shape))",
            expected: "(\(config.bins), frames), at least one frame",
            cause: transposed
                ? "is it transposed?" : "n_fft is \(config.nFFT); a mel goes through estimate_magnitude first"
        )
    }
    let (lowest, highest) = (magnitude.values.min() ?? 0, magnitude.values.max() ?? 0)
    guard magnitude.values.allSatisfy(\.isFinite) else {
        throw EdgeError(
            .input, "magnitude", got: "values that are NaN or infinite", expected: "finite values")
    }
    guard lowest >= 0 else {
        throw EdgeError(
            .input, "magnitude", got: "negative values, \(short(lowest, 4)) … \(short(highest, 4))",
            expected: "linear values, at least 0",
            cause: "this looks like a logarithm or decibels: undo it first")
    }
}

/// P_A: magnitude · spectrum / |spectrum| in place, 0 for 0.
@inline(__always)
func impose(_ magnitude: Lane, _ re: inout Lane, _ im: inout Lane) {
    let modulus = pointwiseMax((re * re + im * im).squareRoot(), Lane(repeating: 1e-150))
    let factor = magnitude / modulus
    (re, im) = (re * factor, im * factor)
}

/// P_A between two transforms, on padded signals.
private final class Projection {
    private let stft: Stft
    private let lanes: StftLanes
    private let frames: Int
    private let magnitude: [Lane]  // (groups of four frames, bins)
    private var weight: [Double]
    private let inside: Range<Int>  // of the padded signal: what is free to change
    private let length: Int
    private static let rho = 0.2  // of the paper: 0.1; 0.2 comes nearer on speech after 16 … 100 iterations

    init(_ magnitude: NDArray<Double>, _ stft: Stft, _ length: Int?) throws {
        let (config, frames) = (stft.config, magnitude.columns)
        (self.stft, self.frames, lanes) = (stft, frames, StftLanes(stft))
        self.magnitude = stride(from: 0, to: frames, by: 4).flatMap { first in
            (0..<config.bins).map { bin in
                var lane = Lane.zero
                for i in 0..<min(4, frames - first) { lane[i] = magnitude[bin, first + i] }
                return lane
            }
        }
        let covered = max(0, config.nFFT + (frames - 1) * config.hopLength - 2 * config.pad)
        let free = length.flatMap { config.frames($0) == frames ? $0 : nil } ?? covered
        weight = config.padding == .none ? stft.boundedWeight(frames) : stft.inverseWeight(frames)
        inside = config.pad..<config.pad + min(free, max(0, weight.count - config.pad))
        for i in weight.indices where !inside.contains(i) { weight[i] = 0 }
        self.length = length ?? free
        if config.padding.mirrors && config.pad >= free {
            throw EdgeError(
                .input, "magnitude", got: "\(frames) frames, \(free) samples",
                expected: "more than \(config.pad) samples",
                cause: "padding \(config.padding.rawValue) mirrors so many")
        }
    }

    /// The padded signal of the magnitude with an initial phase.
    func start(_ start: GriffinLim.Start) -> [Double] {
        var signal = stft.silence(frames)
        for first in stride(from: 0, to: frames, by: 4) {
            begin(start, first)
            lanes.add(to: &signal, first: first, frames: frames)
        }
        return settled(signal)
    }

    /// Four frames of the magnitude with an initial phase, into the lanes.
    private func begin(_ start: GriffinLim.Start, _ first: Int) {
        if case .spectrum(let spectrum) = start { lanes.load(spectrum, first: first) }
        let bins = stft.config.bins
        for bin in 0..<bins {
            let wanted = magnitude[first / 4 * bins + bin]
            if case .zero = start {
                (lanes.re[bin], lanes.im[bin]) = (wanted, .zero)
            } else {
                impose(wanted, &lanes.re[bin], &lanes.im[bin])
            }
        }
    }

    /// The signal after so many iterations of ADMM, with v alone as state: δ = z − v = (P_C(v) − v) / (1 + ρ) gives
    /// u = −δ and z − u = v + 2δ. It is iSTFT(v), which is iSTFT(x) too: that of δ is zero.
    func admm(_ start: GriffinLim.Start, _ iterations: Int) -> [Double] {
        var signal = stft.silence(frames)
        var (re, im) = (magnitude, magnitude)  // v
        let bins = stft.config.bins
        for first in stride(from: 0, to: frames, by: 4) {
            begin(start, first)
            for bin in 0..<bins {
                (re[first / 4 * bins + bin], im[first / 4 * bins + bin]) = (lanes.re[bin], lanes.im[bin])
            }
            lanes.add(to: &signal, first: first, frames: frames)
        }
        signal = settled(signal)
        for _ in 0..<iterations {
            var result = stft.silence(frames)
            for first in stride(from: 0, to: frames, by: 4) {
                lanes.forward(signal, first: first, frames: frames)
                for bin in 0..<bins {
                    let place = first / 4 * bins + bin
                    let deltaRe = (lanes.re[bin] - re[place]) * (1 / (1 + Self.rho))
                    let deltaIm = (lanes.im[bin] - im[place]) * (1 / (1 + Self.rho))
                    var (vRe, vIm) = (re[place] + deltaRe + deltaRe, im[place] + deltaIm + deltaIm)
                    impose(magnitude[place], &vRe, &vIm)
                    (re[place], im[place]) = (vRe - deltaRe, vIm - deltaIm)
                    (lanes.re[bin], lanes.im[bin]) = (re[place], im[place])
                }
                lanes.add(to: &result, first: first, frames: frames)
            }
            signal = settled(result)
        }
        return signal
    }

    /// iSTFT(P_A(STFT(signal))).
    func apply(_ signal: [Double]) -> [Double] {
        var result = stft.silence(frames)
        let bins = stft.config.bins
        for first in stride(from: 0, to: frames, by: 4) {
            lanes.forward(signal, first: first, frames: frames)
            magnitude.withUnsafeBufferPointer { magnitude in
                for bin in 0..<bins {
                    impose(magnitude[first / 4 * bins + bin], &lanes.re[bin], &lanes.im[bin])
                }
            }
            lanes.add(to: &result, first: first, frames: frames)
        }
        return settled(result)
    }

    /// Divides by the sum of squared windows and makes the padding anew.
    private func settled(_ signal: [Double]) -> [Double] {
        var signal = signal
        for i in signal.indices { signal[i] *= weight[i] }
        guard stft.config.padding.mirrors else { return signal }
        let (start, end) = (inside.lowerBound, inside.upperBound)
        for i in 0..<start { signal[start - 1 - i] = signal[start + 1 + i] }
        for i in 0..<min(stft.config.pad, signal.count - end) { signal[end + i] = signal[end - 2 - i] }
        return signal
    }

    /// The samples wanted of a padded signal.
    func crop(_ signal: [Double]) -> [Double] {
        let known = signal[inside].prefix(length)
        return known + [Double](repeating: 0, count: length - known.count)
    }
}
