import Foundation

/// The net `mel-inversion`: mel as its front end gives it, (nMels, frames) → magnitude, (bins, frames).
public struct MagnitudeNet: Sendable {
    /// The mel that the net was trained on.
    public let frontEnd: MelConfig
    private let net: BoundNet
    private let isRelative: Bool  // domain "db": relative to the largest value
    private let plan: ChunkPlan

    /// The net of a bundle.
    ///
    /// - Throws: `EdgeError` of kind `bundle`: another net, no front end, or a domain that does not fit it.
    public init(
        net: any Net, bundle: EdgeBundle, target: String = "coreml", precision: String = "fp32",
        chunkFrames: Int = 512
    ) throws {
        self.net = try BoundNet(net, of: bundle, named: "mel-inversion", target: target, precision: precision)
        guard let frontEnd = bundle.manifest.frontEnd else {
            throw EdgeError(
                .bundle, bundle.url.path, got: "no front_end", expected: "the mel of the net's training")
        }
        let domain = bundle.manifest.config["domain"]?.string ?? "none"
        guard ["log", "db"].contains(domain), (domain == "db") == (frontEnd.spectrumRangeDB != nil) else {
            throw EdgeError(
                .bundle, "\(bundle.url.path): config",
                got: "domain '\(domain)', front end with spectrum_range_db "
                    + (frontEnd.spectrumRangeDB.map { short($0) } ?? "None"),
                expected: "domain 'db' if the front end has spectrum_range_db, else 'log'")
        }
        (self.frontEnd, isRelative) = (frontEnd, domain == "db")
        plan = try ChunkPlan(
            admitted: self.net.lengths(2), context: bundle.manifest.geometry.sides,
            chunkFrames: chunkFrames)
    }

    /// One magnitude; `silence` fills up a mel shorter than the shortest that the net takes.
    func magnitude(_ mel: NDArray<Float>, silence: Float) async throws -> NDArray<Float> {
        let bins = frontEnd.nFFT / 2 + 1
        var result = NDArray<Float>(repeating: 0, shape: [bins, mel.columns])
        let range = Float(frontEnd.spectrumRangeDB ?? 0) / 20
        for chunk in try plan.chunks(mel.columns) {
            let piece = mel.slice(chunk.start..<chunk.stop, fill: silence)
            let output = try await net(piece.reshaped([1] + piece.shape))
            guard output.shape == [1, bins, piece.columns] else {
                throw EdgeError(
                    .backend, "magnitude", got: described(output.shape),
                    expected: "(1, \(bins), \(piece.columns))")
            }
            for bin in 0..<bins {
                for frame in chunk.first..<chunk.last {
                    let value = output.values[bin * piece.columns + frame - chunk.start]
                    result[bin, frame] = isRelative ? pow(10, (min(value, 1) - 1) * range) : exp(value)
                }
            }
        }
        return result
    }
}

/// The net `degli`: blocks that mend the phase of a spectrum, all with the same weights (Masuyama et al.,
/// 2019).
public struct PhaseNet: Sendable {
    /// The transform of the block.
    public let stft: Stft
    private let net: BoundNet
    private let isWholeBlock: Bool  // graph "block": STFT(ISTFT(·)) is inside of the graph
    private let level: Double  // root mean square of the magnitudes of its training
    private let plan: ChunkPlan

    /// The net of a bundle, for the mel of a front end.
    ///
    /// - Throws: `EdgeError`: another net, a configuration that is incomplete, or another framing than the
    ///   mel's.
    public init(
        net: any Net, bundle: EdgeBundle, frontEnd: MelConfig, target: String = "coreml",
        precision: String = "fp32",
        chunkFrames: Int = 512
    ) throws {
        self.net = try BoundNet(net, of: bundle, named: "degli", target: target, precision: precision)
        let config = bundle.manifest.config
        guard let graph = config["graph"]?.string, ["block", "net"].contains(graph),
            let level = config["magnitude_rms"]?.double, level > 0, let rate = config["sample_rate"]?.int,
            let nFFT = config["n_fft"]?.int, let hop = config["hop_length"]?.int,
            let win = config["win_length"]?.int,
            let padding = config["padding"]?.string.flatMap(Padding.init(rawValue:))
        else {
            let names = [
                "graph", "hop_length", "magnitude_rms", "n_fft", "padding", "sample_rate", "win_length",
            ]
            let missing = names.filter { config[$0] == nil }
            throw EdgeError(
                .bundle, "\(bundle.url.path): config",
                got: missing.isEmpty
                    ? "entries of other types" : "no \(missing.joined(separator: ", "))",
                expected: names.joined(separator: ", "))
        }
        let framing = try StftConfig(nFFT: nFFT, hopLength: hop, winLength: win, padding: padding)
        guard try framing.padded(frontEnd.padding) == frontEnd.stft(), rate == frontEnd.sampleRate else {
            throw EdgeError(
                .config, bundle.url.path,
                got: "DeGLI with n_fft \(nFFT), hop \(hop), window \(win) at \(rate) Hz",
                expected: "n_fft \(frontEnd.nFFT), hop \(frontEnd.hopLength), window \(frontEnd.winLength) "
                    + "at \(frontEnd.sampleRate) Hz, as in the front end",
                cause: "choose another front end, or a DeGLI that was trained with this framing")
        }
        (stft, isWholeBlock, self.level) = (Stft(framing), graph == "block", level)
        plan = try ChunkPlan(
            admitted: self.net.lengths(3), context: bundle.manifest.geometry.sides,
            chunkFrames: chunkFrames)
    }

    /// (bins, frames) → (length,) after so many blocks.
    func reconstruct(
        _ magnitude: NDArray<Double>, blocks: Int, length: Int, start: GriffinLim.Start
    ) async throws -> [Double] {
        try checkMagnitude(magnitude, stft.config)
        let target = magnitude.transposed()
        let square = target.values.reduce(0) { $0 + $1 * $1 } / Double(target.values.count)
        let gain = square > 0 ? level / square.squareRoot() : 1
        var spectrum = Spectrum(frames: target.rows, bins: target.columns)
        if case .spectrum(let given) = start { spectrum = given } else { spectrum.re = target }
        spectrum = try Spectrum(re: spectrum.re.map { $0 * gain }, im: spectrum.im.map { $0 * gain })
        let wanted = target.map { $0 * gain }
        for _ in 0..<blocks { spectrum = try await block(spectrum, wanted) }
        return try stft.inverse(Self.withMagnitude(spectrum, target), length: length)
    }

    private func block(_ x: Spectrum, _ wanted: NDArray<Double>) async throws -> Spectrum {
        if isWholeBlock { return try await run(["spectrum": x], wanted) }
        let y = Self.withMagnitude(x, wanted)
        let z = try stft.forward(stft.inverse(y))
        let residual = try await run(["x": x, "y": y, "z": z], wanted)
        let re = zip(z.re.values, residual.re.values).map { $0 - $1 }
        let im = zip(z.im.values, residual.im.values).map { $0 - $1 }
        return try Spectrum(
            re: NDArray(shape: z.re.shape, values: re), im: NDArray(shape: z.im.shape, values: im))
    }

    private func run(_ spectra: [String: Spectrum], _ wanted: NDArray<Double>) async throws -> Spectrum {
        let (frames, bins) = (wanted.rows, wanted.columns)
        var result = Spectrum(frames: frames, bins: bins)
        let magnitude = wanted.float32.transposed()
        let planes = spectra.mapValues { ($0.re.float32.transposed(), $0.im.float32.transposed()) }
        for chunk in try plan.chunks(frames) {
            let (range, length) = (chunk.start..<chunk.stop, chunk.stop - chunk.start)
            var arrays = try planes.mapValues { re, im in
                try NDArray(
                    shape: [1, 2, bins, length],
                    values: re.slice(range, fill: 0).values + im.slice(range, fill: 0).values)
            }
            arrays["magnitude"] = try magnitude.slice(range, fill: 0).reshaped([1, bins, length])
            let output = try await net(arrays)
            guard output.shape == [1, 2, bins, length] else {
                throw EdgeError(
                    .backend, "spectrum", got: described(output.shape), expected: "(1, 2, \(bins), \(length))"
                )
            }
            for bin in 0..<bins {
                for frame in chunk.first..<chunk.last {
                    let place = bin * length + frame - chunk.start
                    result.re[frame, bin] = Double(output.values[place])
                    result.im[frame, bin] = Double(output.values[bins * length + place])
                }
            }
        }
        return result
    }

    /// P_A: the phase of a spectrum with a magnitude; 0 where the spectrum has no phase.
    private static func withMagnitude(_ spectrum: Spectrum, _ magnitude: NDArray<Double>) -> Spectrum {
        var result = spectrum
        for i in magnitude.values.indices {
            let (re, im) = (spectrum.re.values[i], spectrum.im.values[i])
            let size = (re * re + im * im).squareRoot()
            let factor = size > 0 ? magnitude.values[i] / size : 0
            (result.re.values[i], result.im.values[i]) = (re * factor, im * factor)
        }
        return result
    }
}
