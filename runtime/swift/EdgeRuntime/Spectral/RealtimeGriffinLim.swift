import Foundation

/// Frames in, samples out: RTISI-LA (Zhu, Beauregard, Wyse, 2007) with momentum, in double precision.
///
/// The phases of the newest `lookAhead + 1` frames may still change; those of earlier frames are final. A new frame
/// takes its first phase from the samples estimated so far, then all frames that may change go through so many
/// iterations of FGLA, and the oldest of them becomes final: its first `hopLength` samples are returned. The samples
/// are the same to the last bit however the frames are divided between calls of `push`.
///
///     var stream = try RealtimeGriffinLim(StftConfig(nFFT: 1024, hopLength: 256, padding: .centerZero))
///     let samples = try stream.push(magnitude)  // (513, frames)
public struct RealtimeGriffinLim: Sendable {
    /// Framing of the magnitude; zeros of the padding stay zero, mirrored samples are estimated like any other.
    public let config: StftConfig
    /// Frames to wait for before one is final.
    public let lookAhead: Int
    private let iterations: Int
    private let momentum: Double
    private let stft: Stft
    private let overlap: Int  // frames that share a sample
    private let complete: [[Double]]  // inverse weight of the hops of a stream's first `overlap` frames
    private let weights: [[Double]]  // of samples under the free frames, by how many frames came

    private var seen = 0  // frames
    private var free = 0  // frames that are not committed yet
    // samples from the first free frame on: what the committed frames add, and the estimates
    private var committed, signal, previous, ahead: [Double]
    private var magnitude: NDArray<Double>  // (lookAhead + 1, bins)
    private var spectra: Spectrum

    /// A stream.
    ///
    /// - Parameters:
    ///   - config: framing of the magnitude.
    ///   - lookAhead: frames; by default all that overlap a frame.
    ///   - iterations: after each frame.
    ///   - momentum: α of FGLA.
    /// - Throws: `EdgeError` of kind `config`: a hop so long that the windows leave gaps, numbers out of range.
    public init(
        _ config: StftConfig, lookAhead: Int? = nil, iterations: Int = 16, momentum: Double = 0.99
    ) throws {
        let stft = Stft(try config.padded(.none))
        try checkOverlap(stft)
        try checkIterations(iterations)
        try checkMomentum(momentum)
        let lookAhead = lookAhead ?? (config.winLength - 1) / config.hopLength
        let (hop, overlap) = (config.hopLength, (config.nFFT + config.hopLength - 1) / config.hopLength)
        guard 0...Self.mostFrames ~= lookAhead, (lookAhead + overlap) * (lookAhead + overlap) * hop <= 1 << 25
        else {
            throw EdgeError(
                .config, "look_ahead", got: "\(lookAhead)", expected: "a whole number of frames, at least 0",
                cause: lookAhead < 0 ? "" : "so many frames are no stream")
        }
        (self.config, self.lookAhead, self.iterations) = (config, lookAhead, iterations)
        (self.momentum, self.stft, self.overlap) = (momentum, stft, overlap)
        let whole =
            config.padding == .none ? stft.boundedWeight(2 * overlap) : stft.inverseWeight(2 * overlap)
        complete = (0..<overlap).map { Array(whole[$0 * hop..<($0 + 1) * hop]) }
        weights = (1...lookAhead + overlap).map { Self.weight($0, config, stft, lookAhead) }
        (committed, signal, previous) = ([], [], [])
        ahead = []
        magnitude = NDArray(repeating: 0, shape: [lookAhead + 1, config.bins])
        spectra = Spectrum(frames: lookAhead + 1, bins: config.bins)
        reset()
    }

    private static let mostFrames = 1 << 12

    /// Delay in samples between recording a sample and returning it, if frames arrive without delay.
    ///
    /// It is that of the first sample of a hop, the longest: playback without gaps needs this much.
    public var latency: Int {
        (config.nFFT - config.winLength) / 2 + config.winLength + lookAhead * config.hopLength
    }

    /// Forgets the stream.
    public mutating func reset() {
        (seen, free) = (0, 0)
        committed = stft.silence(lookAhead + 1)
        (signal, previous, ahead) = (committed, committed, committed)
    }

    /// Takes frames (bins, count), any number; gives the samples (n,) that are final with them.
    ///
    /// Each frame gives `hopLength` samples; the first `lookAhead` frames of a stream give none.
    ///
    /// - Throws: `EdgeError` of kind `input`: another number of bins, negative values, or values that are not finite.
    public mutating func push(_ frames: NDArray<Double>) throws -> [Double] {
        if frames.shape == [config.bins, 0] { return [] }
        try checkMagnitude(frames, config)
        var samples: [Double] = []
        for frame in 0..<frames.columns {
            samples += push(frame: (0..<config.bins).map { frames[$0, frame] })
        }
        return samples
    }

    /// The remaining samples (n,); what is pushed next begins a new stream.
    public mutating func flush() -> [Double] {
        guard seen > 0 else { return [] }
        let count = min(seen, lookAhead + overlap)
        let whole = config.padding == .none ? stft.boundedWeight(count) : stft.inverseWeight(count)
        let hop = config.hopLength
        iterate(Array(whole.suffix((free + overlap - 1) * hop)))
        let done = seen - free
        var samples: [Double] = []
        for _ in 0..<free { samples += commit() }
        let tail = whole.suffix((overlap - 1) * hop)
        samples += zip(committed, tail).map { $0 * $1 }
        // what the frames cover, less the padding at both ends and what has come out already
        let end = config.nFFT + (seen - 1) * hop - config.pad - done * hop
        let begin = max(config.pad - done * hop, 0)
        reset()
        return Array(samples[min(begin, samples.count)..<min(max(begin, end), samples.count)])
    }

    private mutating func push(frame: [Double]) -> [Double] {
        let bins = config.bins
        magnitude.values.replaceSubrange(free * bins..<(free + 1) * bins, with: frame)
        if seen > 0 {
            transform(signal, free..<free + 1)
            for place in free * bins..<(free + 1) * bins
            where spectra.re.values[place] == 0 && spectra.im.values[place] == 0 {
                spectra.re.values[place] = 1  // after silence the phase starts at zero
            }
            impose(free..<free + 1)
        } else {
            spectra.re.values.replaceSubrange(0..<bins, with: frame)
            for place in 0..<bins { spectra.im.values[place] = 0 }
        }
        (seen, free) = (seen + 1, free + 1)
        iterate(weights[min(seen, weights.count) - 1])
        guard free > lookAhead else { return [] }
        let position = (seen - free) * config.hopLength
        return Array(commit().dropFirst(max(config.pad - position, 0)))
    }

    /// FGLA of the free frames, beside the committed ones.
    private mutating func iterate(_ weight: [Double]) {
        synthesize(weight)
        ahead.replaceSubrange(0..<weight.count, with: signal[0..<weight.count])
        for _ in 0..<iterations {
            transform(ahead, 0..<free)
            impose(0..<free)
            swap(&signal, &previous)
            synthesize(weight)
            for i in weight.indices { ahead[i] = signal[i] + momentum * (signal[i] - previous[i]) }
        }
    }

    /// The estimate: what the committed and the free frames add up to.
    private mutating func synthesize(_ weight: [Double]) {
        var sum = committed
        let lanes = StftLanes(stft)
        for first in stride(from: 0, to: free, by: 4) {
            lanes.load(spectra, first: first)
            lanes.add(to: &sum, first: first, frames: free)
        }
        for i in weight.indices { signal[i] = sum[i] * weight[i] }
    }

    /// `spectra` of some frames ← those of a signal.
    private mutating func transform(_ samples: [Double], _ frames: Range<Int>) {
        let (bins, lanes) = (config.bins, StftLanes(stft))
        for first in stride(from: frames.lowerBound, to: frames.upperBound, by: 4) {
            lanes.forward(samples, first: first, frames: frames.upperBound)
            for lane in 0..<min(4, frames.upperBound - first) {
                for k in 0..<bins {
                    spectra.re.values[(first + lane) * bins + k] = lanes.re[k][lane]
                    spectra.im.values[(first + lane) * bins + k] = lanes.im[k][lane]
                }
            }
        }
    }

    /// P_A of some frames.
    private mutating func impose(_ frames: Range<Int>) {
        for place in frames.lowerBound * config.bins..<frames.upperBound * config.bins {
            let (re, im) = (spectra.re.values[place], spectra.im.values[place])
            let factor = magnitude.values[place] / max((re * re + im * im).squareRoot(), 1e-150)
            (spectra.re.values[place], spectra.im.values[place]) = (re * factor, im * factor)
        }
    }

    /// Fixes the oldest free frame; the samples of the hop that it begins with.
    private mutating func commit() -> [Double] {
        let (hop, bins) = (config.hopLength, config.bins)
        let lanes = StftLanes(stft)
        lanes.load(spectra, first: 0)
        lanes.add(to: &committed, first: 0, frames: 1)
        let weight = complete[min(seen - free, overlap - 1)]
        let samples = zip(committed, weight).map { $0 * $1 }
        free -= 1
        func shift(_ values: inout [Double], _ step: Int, fill: Double?) {
            let last = Array(values.suffix(step))
            values.removeFirst(step)
            values += fill.map { [Double](repeating: $0, count: step) } ?? last
        }
        shift(&committed, hop, fill: 0)
        shift(&signal, hop, fill: 0)
        shift(&magnitude.values, bins, fill: nil)
        shift(&spectra.re.values, bins, fill: nil)
        shift(&spectra.im.values, bins, fill: nil)
        return samples
    }

    /// Inverse weight of the samples under the free frames when so many have been seen.
    private static func weight(_ seen: Int, _ config: StftConfig, _ stft: Stft, _ lookAhead: Int) -> [Double]
    {
        let before = max(0, seen - lookAhead - 1) * config.hopLength
        var weight = Array(stft.boundedWeight(seen)[before...])
        if config.padding == .centerZero {
            for i in 0..<min(max(config.pad - before, 0), weight.count) { weight[i] = 0 }
        }
        return weight
    }
}
