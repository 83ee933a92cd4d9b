import Foundation

/// Triangular filters as rows of the few bins that each weighs.
struct FilterBank: Sendable {
    /// Rows of the matrix, (bands, bins), dense.
    let rows: [[Double]]
    /// Of each row the first bin and the weights from there on.
    let sparse: [SparseRow]
    /// The same of the transposed matrix: of each bin the bands that weigh it.
    let transposed: [SparseRow]

    struct SparseRow: Sendable {
        let first: Int
        let weights: [Double]

        init(_ dense: [Double]) {
            first = dense.firstIndex { $0 != 0 } ?? 0
            let last = dense.lastIndex { $0 != 0 } ?? -1
            weights = last < 0 ? [] : Array(dense[first...last])
        }
    }

    /// The bank of a front end.
    ///
    /// - Throws: `EdgeError` of kind `config`: the front end has none.
    init(_ config: MelConfig) throws {
        let edges = try bandEdges(config)
        let bins = config.nFFT / 2 + 1
        let lastBin =
            config.binSpacing == .linspace
            ? config.nyquist : Double(bins - 1) * Double(config.sampleRate) / Double(config.nFFT)
        let frequencies = linspace(0, lastBin, bins)
        let rows = (0..<edges.count - 2).map { band in
            let (low, peak, high) = (edges[band], edges[band + 1], edges[band + 2])
            let scale = config.areaNorm ? 2 / (high - low) : 1
            return frequencies.map {
                max(0, min(($0 - low) / (peak - low), (high - $0) / (high - peak))) * scale
            }
        }
        self.rows = rows
        sparse = rows.map(SparseRow.init)
        transposed = (0..<bins).map { bin in SparseRow(rows.map { $0[bin] }) }
    }

    /// Sums of a block: `values` of each bin → `out` of each band, or back with the transposed rows.
    @inline(__always)
    static func apply(
        _ rows: [SparseRow], _ values: UnsafeMutableBufferPointer<Lane>,
        _ out: UnsafeMutableBufferPointer<Lane>
    ) {
        rows.withUnsafeBufferPointer { rows in
            for r in 0..<rows.count {
                var sum = Lane.zero
                let first = rows[r].first
                rows[r].weights.withUnsafeBufferPointer { weights in
                    for i in 0..<weights.count { sum += values[first + i] * weights[i] }
                }
                out[r] = sum
            }
        }
    }
}

/// Peaks of the triangles of a front end, Hz.
///
/// - Throws: `EdgeError` of kind `config`: it has no bank.
public func bandCentres(_ config: MelConfig) throws -> [Double] {
    Array(try bandEdges(config).dropFirst().dropLast())
}

/// The triangles of a front end, (nMels, bins), low band first.
///
/// - Throws: `EdgeError` of kind `config`: it has no bank, or its numbers contradict each other.
public func filterBank(_ config: MelConfig) throws -> NDArray<Double> {
    try config.validate()
    let rows = try FilterBank(config).rows
    return NDArray(checked: [rows.count, config.nFFT / 2 + 1], Array(rows.joined()))
}

/// Hz: band k rises from edge k, peaks at k + 1 and ends at k + 2.
private func bandEdges(_ config: MelConfig) throws -> [Double] {
    guard let bands = config.nMels else {
        throw EdgeError(.config, "n_mels", got: "null", expected: "a number of bands")
    }
    switch config.melScale {
    case .slaney:
        return linspace(hzToSlaney(config.fmin), hzToSlaney(config.upperEdge), bands + 2).map(slaneyToHz)
    case .htk:
        return linspace(hzToHTK(config.fmin), hzToHTK(config.upperEdge), bands + 2).map(htkToHz)
    }
}

func linspace(_ low: Double, _ high: Double, _ count: Int) -> [Double] {
    let step = count > 1 ? (high - low) / Double(count - 1) : 0
    return (0..<count).map { $0 == count - 1 && count > 1 ? high : low + Double($0) * step }
}

private let slaneyBreak = 15.0  // mels at 1 kHz
private let slaneyStep = log(6.4) / 27  // of ln f per mel above

private func hzToSlaney(_ hz: Double) -> Double {
    hz < 1000 ? hz * 3 / 200 : slaneyBreak + log(hz / 1000) / slaneyStep
}

private func slaneyToHz(_ mel: Double) -> Double {
    mel < slaneyBreak ? mel * 200 / 3 : 1000 * exp((mel - slaneyBreak) * slaneyStep)
}

private func hzToHTK(_ hz: Double) -> Double { 2595 * log10(1 + hz / 700) }

private func htkToHz(_ mel: Double) -> Double { 700 * (pow(10, mel / 2595) - 1) }
