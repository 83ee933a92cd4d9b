import Foundation

/// A spectrum, time-major: frame after frame, bins 0 … nFFT / 2 of each.
public struct Spectrum: Sendable, Equatable {
    /// Real parts, (frames, bins).
    public var re: NDArray<Double>
    /// Imaginary parts, (frames, bins).
    public var im: NDArray<Double>

    /// A spectrum of two equal shapes (frames, bins).
    ///
    /// - Throws: `EdgeError` of kind `input` where the shapes differ or are no matrices.
    public init(re: NDArray<Double>, im: NDArray<Double>) throws {
        guard re.shape == im.shape, re.shape.count == 2 else {
            throw EdgeError(
                .input, "spectrum", got: "\(described(re.shape)) and \(described(im.shape))",
                expected: "two parts of (frames, bins)")
        }
        (self.re, self.im) = (re, im)
    }

    init(frames: Int, bins: Int) {
        re = NDArray(repeating: 0, shape: [frames, bins])
        im = re
    }

    /// Magnitude, (bins, frames).
    public var magnitude: NDArray<Double> {
        let size = zip(re.values, im.values).map { ($0 * $0 + $1 * $1).squareRoot() }
        return NDArray(checked: re.shape, size).transposed()
    }
}

/// The short-time Fourier transform and its least-squares inverse (Griffin and Lim, 1984), in double
/// precision.
///
/// The forward transform is not scaled. The inverse is `Σ w[n - mh] irfft(X_m)[n - mh] / Σ w²[n - mh]`.
/// Four frames go through the FFT at a time; the result of a frame does not depend on its neighbours.
public final class Stft: Sendable {
    /// Framing and padding.
    public let config: StftConfig
    let window: [Double]
    let windowStart: Int
    package let fft: RealFFT

    /// Where less than this is the sum of squared windows, overlap-add knows nothing of a sample.
    private static let smallestWeight = 1e-10

    /// The transform of a framing.
    public convenience init(_ config: StftConfig) { self.init(config, window: hann(config.winLength)) }

    /// The transform with another window of the configured length: to recognise what a port did wrong.
    init(_ config: StftConfig, window: [Double]) {
        self.config = config
        self.window = window
        windowStart = (config.nFFT - config.winLength) / 2
        fft = RealFFT(length: config.nFFT)
    }

    /// Spectrum of a signal.
    ///
    /// - Throws: `EdgeError` of kind `input`: not finite, or too short for one frame.
    public func forward(_ samples: [Double]) throws -> Spectrum {
        try checkSignal(samples, minSamples: config.minSamples)
        let frames = config.frames(samples.count)
        var spectrum = Spectrum(frames: frames, bins: config.bins)
        let lanes = StftLanes(self)
        let (padded, bins) = (pad(samples), config.bins)
        for first in stride(from: 0, to: frames, by: 4) {
            lanes.forward(padded, first: first, frames: frames)
            for lane in 0..<min(4, frames - first) {
                for k in 0..<bins {
                    spectrum.re.values[(first + lane) * bins + k] = lanes.re[k][lane]
                    spectrum.im.values[(first + lane) * bins + k] = lanes.im[k][lane]
                }
            }
        }
        return spectrum
    }

    /// Signal of a spectrum.
    ///
    /// - Parameters:
    ///   - spectrum: of at least one frame of `config.bins` bins.
    ///   - length: samples wanted; by default all that the frames cover, less the padding. What lies beyond
    ///     the last frame is zero, as is a sample that no window weighs.
    /// - Throws: `EdgeError` of kind `input`: no frame, or another number of bins.
    public func inverse(_ spectrum: Spectrum, length: Int? = nil) throws -> [Double] {
        let frames = spectrum.re.rows
        guard spectrum.re.columns == config.bins, frames > 0 else {
            throw EdgeError(
                .input, "spectrum", got: "frames × bins of \(frames) × \(spectrum.re.columns)",
                expected: "at least one frame of \(config.bins) bins", cause: "n_fft is \(config.nFFT)")
        }
        var padded = silence(frames)
        let lanes = StftLanes(self)
        for first in stride(from: 0, to: frames, by: 4) {
            lanes.load(spectrum, first: first)
            lanes.add(to: &padded, first: first, frames: frames)
        }
        for (i, weight) in inverseWeight(frames).enumerated() { padded[i] *= weight }
        let natural = max(0, config.nFFT + (frames - 1) * config.hopLength - 2 * config.pad)
        return (0..<(length ?? natural)).map { i in
            config.pad + i < padded.count ? padded[config.pad + i] : 0
        }
    }

    /// Zeros for the padded signal of so many frames.
    func silence(_ frames: Int) -> [Double] {
        let pieces = (config.nFFT + config.hopLength - 1) / config.hopLength
        return [Double](repeating: 0, count: (frames + pieces - 1) * config.hopLength)
    }

    /// `1 / Σ w²` of the padded signal's samples, 0 where no window reaches.
    func inverseWeight(_ frames: Int) -> [Double] {
        var weight = silence(frames)
        for frame in 0..<frames {
            let start = frame * config.hopLength + windowStart
            for i in 0..<window.count { weight[start + i] += window[i] * window[i] }
        }
        return weight.map { $0 > Self.smallestWeight ? 1 / $0 : 0 }
    }

    /// The same, but for samples that the edge of one window alone covers: there at least a tenth of the full
    /// weight is assumed, so that the ends fade. Least squares would divide by next to nothing what no signal has.
    func boundedWeight(_ frames: Int) -> [Double] {
        let hop = config.hopLength
        let overlap = (config.nFFT + hop - 1) / hop  // frames that share a sample
        let full = inverseWeight(2 * overlap)[((overlap - 1) * hop)..<(overlap * hop)]
        return inverseWeight(frames).enumerated().map { min($1, full[full.startIndex + $0 % hop] / 0.1) }
    }

    /// Whether `Σ w²` is nowhere zero between two frames (nonzero overlap-add).
    public var coversEverySample: Bool {
        var weight = [Double](repeating: 0, count: config.hopLength)
        for i in 0..<window.count { weight[(windowStart + i) % config.hopLength] += window[i] * window[i] }
        return weight.allSatisfy { $0 > Self.smallestWeight }
    }

    /// The signal with what stands before and after it.
    func pad(_ samples: [Double]) -> [Double] {
        let (pad, count) = (config.pad, samples.count)
        guard pad > 0 else { return samples }
        var padded = [Double](repeating: 0, count: count + 2 * pad)
        padded.replaceSubrange(pad..<pad + count, with: samples)
        mirror(&padded, count)
        return padded
    }

    /// Fills what stands before and after so many samples of a padded signal.
    func mirror(_ padded: inout [Double], _ count: Int) {
        guard config.padding.mirrors else { return }
        let pad = config.pad
        for i in 0..<pad {
            padded[pad - 1 - i] = padded[pad + 1 + i]
            padded[pad + count + i] = padded[pad + count - 2 - i]
        }
    }
}

/// Four frames on their way through one transform: buffers of one caller.
package final class StftLanes {
    package let re, im: UnsafeMutableBufferPointer<Lane>
    private let samples: UnsafeMutableBufferPointer<Lane>
    private let stft: Stft
    private let workspace: FFTWorkspace

    package init(_ stft: Stft) {
        func room(_ count: Int) -> UnsafeMutableBufferPointer<Lane> {
            let buffer = UnsafeMutableBufferPointer<Lane>.allocate(capacity: count)
            buffer.initialize(repeating: .zero)
            return buffer
        }
        self.stft = stft
        workspace = stft.fft.workspace()
        (re, im, samples) = (room(stft.config.bins), room(stft.config.bins), room(stft.config.nFFT))
    }

    deinit {
        for buffer in [re, im, samples] { buffer.deallocate() }
    }

    /// `re`, `im` ← the frames `first` … `first + 3` of a padded signal; those beyond the last repeat it.
    func forward(_ padded: [Double], first: Int, frames: Int) {
        let (hop, start) = (stft.config.hopLength, stft.windowStart)
        let places = (0..<4).map { min(first + $0, frames - 1) * hop + start }
        let (a, b, c, d) = (places[0], places[1], places[2], places[3])
        if start % 2 == 0 && stft.window.count % 2 == 0 && samples.count % 2 == 0 {
            padded.withUnsafeBufferPointer { gather($0, a, b, c, d) }
            stft.fft.forwardOfInput(re, im, workspace)
            return
        }
        padded.withUnsafeBufferPointer { x in
            stft.window.withUnsafeBufferPointer { window in
                for i in 0..<start { samples[i] = .zero }
                for i in start + window.count..<samples.count { samples[i] = .zero }
                for i in 0..<window.count {
                    samples[start + i] = Lane(x[a + i], x[b + i], x[c + i], x[d + i]) * window[i]
                }
            }
        }
        stft.fft.forward(samples, re, im, workspace)
    }

    /// Windowed samples of four frames, straight to where the transform begins.
    private func gather(_ x: UnsafeBufferPointer<Double>, _ a: Int, _ b: Int, _ c: Int, _ d: Int) {
        let (even, odd) = stft.fft.input(workspace)
        let (before, count) = (stft.windowStart / 2, stft.window.count / 2)
        stft.window.withUnsafeBufferPointer { window in
            for i in 0..<before { (even[i], odd[i]) = (.zero, .zero) }
            for i in before + count..<samples.count / 2 { (even[i], odd[i]) = (.zero, .zero) }
            for i in 0..<count {
                let n = 2 * i
                even[before + i] = Lane(x[a + n], x[b + n], x[c + n], x[d + n]) * window[n]
                odd[before + i] = Lane(x[a + n + 1], x[b + n + 1], x[c + n + 1], x[d + n + 1]) * window[n + 1]
            }
        }
    }

    /// `re`, `im` ← four frames of a spectrum; those beyond the last are zero.
    func load(_ spectrum: Spectrum, first: Int) {
        let (bins, frames) = (re.count, spectrum.re.rows)
        for lane in 0..<4 {
            let inside = first + lane < frames
            for k in 0..<bins {
                re[k][lane] = inside ? spectrum.re.values[(first + lane) * bins + k] : 0
                im[k][lane] = inside ? spectrum.im.values[(first + lane) * bins + k] : 0
            }
        }
    }

    /// Adds the windowed inverse transforms of `re`, `im` to a padded signal, those of existing frames alone.
    func add(to padded: inout [Double], first: Int, frames: Int) {
        let (hop, start) = (stft.config.hopLength, stft.windowStart)
        stft.fft.inverse(re, im, samples, workspace)
        let count = min(4, frames - first)
        padded.withUnsafeMutableBufferPointer { x in
            stft.window.withUnsafeBufferPointer { window in
                for lane in 0..<count {
                    let place = (first + lane) * hop + start
                    for i in 0..<window.count { x[place + i] += samples[start + i][lane] * window[i] }
                }
            }
        }
    }
}
