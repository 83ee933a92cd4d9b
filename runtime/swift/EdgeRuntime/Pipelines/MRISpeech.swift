import Foundation

/// rtMRI video → mel spectrogram → speech, with the nets `mri-acoustic` and `hifigan`.
///
///     frames     (T, H, W)                   on the mel's clock
///     → reduced, scaled, masked              (T, S, S) in 0 … 1
///     → mri-acoustic                         (T, nMels), standard deviations of each band
///     · std + mean                           (T, nMels), dB of a power
///     ln max(10^(dB / 10), 1e-5)             (T, nMels)
///     transposed → hifigan                   (T · hopLength,) samples
public struct MRISpeech: Sendable {
    /// How the net is run over a video.
    public enum Mode: Sendable, Equatable {
        /// Once over everything: memory grows with the video.
        case full
        /// Over overlapping windows of so many frames, one every `step`, averaged where they overlap.
        case window(length: Int, step: Int)
    }

    /// How pixels become 0 … 1.
    public enum Scaling: String, Sendable {
        /// 255 becomes 1.
        case fullScale = "full-scale"
        /// Each frame from its darkest to its brightest pixel; a constant frame is all zeros.
        case minMax = "min-max"
    }

    /// Every stage of one video.
    public struct Result: Sendable {
        /// (T, S, S) in 0 … 1: what the net saw.
        public let frames: NDArray<Float>
        /// (T, nMels), standard deviations of each band: the net's answer.
        public let standardised: NDArray<Float>
        /// (T, nMels), dB.
        public let mel: NDArray<Float>
        /// (T, nMels), natural logarithm of the power, at least ln 1e-5.
        public let melLog: NDArray<Float>
        /// (T · hopLength,), full scale ±1.
        public let samples: [Float]
    }

    private let net: BoundNet
    private let vocoder: Vocoder
    private let size: Int
    private let scaling: Scaling
    private let mean, deviation: [Double]
    private let mode: Mode

    /// Of the speech, Hz.
    public var sampleRate: Int { vocoder.sampleRate }

    /// The pipeline of two bundles.
    ///
    /// - Parameters:
    ///   - acousticNet: what executes the artifact of `acoustic`.
    ///   - acoustic: bundle of the net `mri-acoustic`, opened and checked.
    ///   - vocoder: of the same clock and bands.
    ///   - mode: how the net is run over a video.
    ///   - target: the artifact that `acousticNet` runs.
    ///   - precision: `fp32` or `fp16`.
    /// - Throws: `EdgeError` of kind `bundle`: of another net, incomplete, or two that do not fit together.
    public init(
        acousticNet: any Net, acoustic: EdgeBundle, vocoder: Vocoder, mode: Mode = .full,
        target: String = "coreml",
        precision: String = "fp32"
    ) throws {
        let (manifest, place) = (acoustic.manifest, acoustic.url.path)
        let net = try BoundNet(
            acousticNet, of: acoustic, named: "mri-acoustic", target: target, precision: precision)
        guard let frontEnd = manifest.frontEnd else {
            throw EdgeError(
                .bundle, place, got: "no front_end", expected: "the mel of the net's training")
        }
        guard let axes = manifest.inputs.first?.shape.suffix(2), case .fixed(let size)? = axes.last,
            axes.first == axes.last
        else {
            let axes = manifest.inputs.first?.shape.suffix(2).map(\.description) ?? []
            throw EdgeError(
                .bundle, place, got: "pictures of \(axes.joined(separator: " by "))",
                expected: "square pictures of a fixed size, a fixed number of bands")
        }
        for (what, got, expected) in [
            ("sample rate", vocoder.sampleRate, frontEnd.sampleRate),
            ("hop length", vocoder.hopLength, frontEnd.hopLength),
            ("mel bands", vocoder.bands, frontEnd.bands),
        ] where got != expected {
            throw EdgeError(
                .bundle, what, got: "\(got)", expected: "\(expected), as in the mri-acoustic bundle",
                cause: "the vocoder was trained for another mel")
        }
        func numbers(_ name: String) throws -> [Double] {
            guard let numbers = manifest.config[name]?.array?.compactMap(\.double),
                numbers.count == frontEnd.bands
            else {
                throw EdgeError(
                    .bundle, "\(place): config", got: "no \(name) of \(frontEnd.bands) numbers",
                    expected: "mean and deviation of each band")
            }
            return numbers
        }
        let scaling = manifest.config["frame_scaling"]?.string ?? "full-scale"
        try self.init(
            net: net, vocoder: vocoder, size: size, scaling: Scaling(rawValue: scaling) ?? .fullScale,
            mean: numbers("mel_mean"), deviation: numbers("mel_std"), mode: mode)
    }

    /// The pipeline of a net that takes (b, T, 1, S, S) and gives (b, T, nMels).
    public init(
        net: BoundNet, vocoder: Vocoder, size: Int, scaling: Scaling, mean: [Double], deviation: [Double],
        mode: Mode = .full
    ) throws {
        if case .window(let length, let step) = mode, !(1...length ~= step) {
            throw EdgeError(
                .config, "step", got: "\(step)", expected: "at most the window's \(length) frames"
            )
        }
        guard mean.count == vocoder.bands, deviation.count == vocoder.bands, deviation.allSatisfy({ $0 > 0 })
        else {
            throw EdgeError(
                .config, "mel_mean, mel_std", got: "\(mean.count) and \(deviation.count) numbers",
                expected: "\(vocoder.bands) each, deviations above 0")
        }
        (self.net, self.vocoder, self.size, self.scaling) = (net, vocoder, size, scaling)
        (self.mean, self.deviation, self.mode) = (mean, deviation, mode)
    }

    /// Speech of a video in memory.
    ///
    /// - Parameters:
    ///   - frames: (T, H, W), grey and square, 0 … `full`, on the mel's clock.
    ///   - full: the brightest value: 255 of bytes, 1 of floats.
    ///   - mask: (S, S) that prepared frames are multiplied by; nil for none.
    /// - Throws: `EdgeError` of kind `input`: frames that are refused.
    public func process(
        _ frames: NDArray<Float>, full: Float = 255, mask: NDArray<Float>? = nil
    ) async throws -> Result {
        let prepared = try Self.prepare(frames, size: size, scaling: scaling, full: full, mask: mask)
        let standardised = try await answer(prepared)
        let (mel, melLog) = try scaled(standardised)
        let samples = try await vocoder.synthesize(melLog.transposed())
        return Result(
            frames: prepared, standardised: standardised, mel: mel, melLog: melLog, samples: samples)
    }

    /// Frames as the net sees them: each pixel the mean of the area that it covers, scaled, masked.
    ///
    /// - Returns: (T, size, size) in 0 … 1.
    /// - Throws: `EdgeError` of kind `input`: no frame, frames that are not square or too small, other
    ///   levels.
    public static func prepare(
        _ frames: NDArray<Float>, size: Int, scaling: Scaling, full: Float = 255, mask: NDArray<Float>? = nil
    ) throws -> NDArray<Float> {
        try check(frames, full: full)
        guard mask?.shape ?? [size, size] == [size, size] else {
            throw EdgeError(
                .input, "mask", got: "shape \(described(mask?.shape ?? []))", expected: "(\(size), \(size))")
        }
        let (length, pixels) = (frames.columns, size * size)
        let shares = overlap(size, length)
        var values: [Float] = []
        for frame in 0..<frames.rows {
            let picture = frames.values[frame * length * length..<(frame + 1) * length * length]
            var reduced = reduce(Array(picture), shares, size, length)
            if scaling == .minMax {
                let (low, high) = (reduced.min() ?? 0, reduced.max() ?? 0)
                let isFlat = high - low <= 1e-4 * full
                reduced = reduced.map { isFlat ? 0 : ($0 - low) / (high - low) }
            } else {
                reduced = reduced.map { $0 / full }
            }
            if let mask {
                for i in 0..<pixels { reduced[i] *= mask.values[i] }
            }
            values += reduced
        }
        return NDArray(checked: [frames.rows, size, size], values)
    }

    private static func check(_ frames: NDArray<Float>, full: Float) throws {
        guard frames.shape.count == 3, frames.rows > 0 else {
            throw EdgeError(
                .input, "frames", got: "shape \(described(frames.shape))",
                expected: "(T, H, W) with at least one frame")
        }
        let (height, width) = (frames.shape[1], frames.columns)
        guard height == width, width >= smallestSide else {
            throw EdgeError(
                .input, "frames", got: "\(width)x\(height) pixels",
                expected: "square frames of at least \(smallestSide)x\(smallestSide) pixels",
                cause: height != width ? "crop the video to the head first" : "")
        }
        guard frames.values.allSatisfy({ $0 >= 0 && $0 <= full }) else {
            let isFinite = frames.values.allSatisfy(\.isFinite)
            let (low, high) = (Double(frames.values.min() ?? 0), Double(frames.values.max() ?? 0))
            throw EdgeError(
                .input, "frames",
                got: isFinite ? "floats from \(short(low, 4)) to \(short(high, 4))" : "NaN or infinity",
                expected: "floats in 0 … \(short(Double(full)))",
                cause: isFinite && full == 1 && 1 < high && high <= 255 && low >= 0 ? "divide by 255" : "")
        }
    }

    private static let smallestSide = 16

    /// What prepared frames of a video are multiplied by to darken a polygon; `mask` of `process`.
    ///
    /// The mask is drawn on the pixels of the video and reduced as its frames are.
    ///
    /// - Parameters:
    ///   - polygon: scaled to the video.
    ///   - side: of the video's square frames, pixels.
    ///   - size: S, of the frames that the net takes.
    ///   - alpha: intensity that remains inside: 0 hides, 1 changes nothing.
    /// - Returns: (S, S).
    /// - Throws: `EdgeError` of kind `config`: alpha out of range; of kind `input`: frames that are too small.
    public static func maskWeights(_ polygon: Polygon, side: Int, size: Int, alpha: Double = 0.1) throws
        -> NDArray<Float>
    {
        let drawn = try polygon.weights(height: side, width: side, alpha: alpha)
        let frame = NDArray(checked: [1, side, side], drawn.values)
        return NDArray(
            checked: [size, size], try prepare(frame, size: size, scaling: .fullScale, full: 1).values)
    }

    /// The net's answer → (dB, natural logarithm of the power).
    ///
    /// - Throws: `EdgeError` of kind `input`: louder than any sound within ±1.
    func scaled(_ standardised: NDArray<Float>) throws -> (NDArray<Float>, NDArray<Float>) {
        let bands = vocoder.bands
        let decibels = standardised.values.enumerated().map {
            Double($1) * deviation[$0 % bands] + mean[$0 % bands]
        }
        let loudest = 12 * 10 / log(10.0)
        guard decibels.allSatisfy({ $0 <= loudest }) else {
            throw EdgeError(
                .input, "mel", got: "up to \(short(decibels.max() ?? .nan, 4)) dB",
                expected: "at most \(short(loudest, 4)) dB, the loudest mel of sound within ±1",
                cause: "the acoustic net is untrained, or mean and std belong to another net")
        }
        let logs = decibels.map { Float(log(max(pow(10, $0 / 10), 1e-5))) }
        let shape = standardised.shape
        return (NDArray(checked: shape, decibels.map { Float($0) }), NDArray(checked: shape, logs))
    }

    /// The net's answer to prepared frames, (T, S, S) → (T, nMels).
    func standardised(_ frames: NDArray<Float>) async throws -> NDArray<Float> {
        guard frames.shape.dropFirst() == [size, size], frames.rows > 0 else {
            throw EdgeError(
                .input, "frames", got: "shape \(described(frames.shape))", expected: "(T, \(size), \(size))")
        }
        return try await answer(frames)
    }

    private func answer(_ frames: NDArray<Float>) async throws -> NDArray<Float> {
        guard case .window(let window, let step) = mode else { return try await run(frames, 0..<frames.rows) }
        let (count, bands) = (frames.rows, vocoder.bands)
        let length = min(window, count)
        var starts = Array(stride(from: 0, through: count - length, by: step))
        if let last = starts.last, last + length < count { starts.append(count - length) }
        var (total, seen) = (
            [Double](repeating: 0, count: count * bands), [Double](repeating: 0, count: count)
        )
        for start in starts {
            let said = try await run(frames, start..<start + length)
            for i in 0..<length * bands { total[start * bands + i] += Double(said.values[i]) }
            for i in 0..<length { seen[start + i] += 1 }
        }
        return NDArray(checked: [count, bands], total.enumerated().map { Float($1 / seen[$0 / bands]) })
    }

    private func run(_ frames: NDArray<Float>, _ range: Range<Int>) async throws -> NDArray<Float> {
        let values = Array(frames.values[range.lowerBound * size * size..<range.upperBound * size * size])
        let result = try await net(NDArray(checked: [1, range.count, 1, size, size], values))
        guard result.values.count == range.count * vocoder.bands else {
            throw EdgeError(
                .backend, "mel", got: described(result.shape),
                expected: "(1, \(range.count), \(vocoder.bands))")
        }
        return NDArray(checked: [range.count, vocoder.bands], result.values)
    }

    /// (size, length): the part of each pixel of the result that lies on each pixel of the source.
    private static func overlap(_ size: Int, _ length: Int) -> [[Float]] {
        let edges = linspace(0, Double(length), size + 1)
        return (0..<size).map { i in
            (0..<length).map { j in
                let covered = min(edges[i + 1], Double(j + 1)) - max(edges[i], Double(j))
                return Float(max(covered, 0) * (Double(size) / Double(length)))
            }
        }
    }

    private static func reduce(_ picture: [Float], _ shares: [[Float]], _ size: Int, _ length: Int) -> [Float]
    {
        if size == length { return picture }
        var rows = [Float](repeating: 0, count: size * length)
        for i in 0..<size {
            for j in 0..<length where shares[i][j] != 0 {
                for k in 0..<length { rows[i * length + k] += shares[i][j] * picture[j * length + k] }
            }
        }
        return (0..<size * size).map { place in
            let (i, share) = (place / size, shares[place % size])
            return (0..<length).reduce(Float(0)) {
                $0 + (share[$1] == 0 ? 0 : share[$1] * rows[i * length + $1])
            }
        }
    }
}
