import Foundation

/// Linear-frequency magnitude from a mel, without a model: pseudo-inverse and multiplicative updates.
///
/// The estimate starts at `max(pinv(A) m, 1e-10)` and is drawn by `q ← q · (Aᵀ m) / (Aᵀ A q)` towards a
/// magnitude that is nowhere negative and has the given mel (Lee and Seung, 2001, the bank held fixed).
public final class MagnitudeEstimator: Sendable {
    /// Updates that the Python runtime makes by default.
    public static let defaultUpdates = 50

    /// The front end that made the mel.
    public let config: MelConfig
    private let bank: FilterBank?
    private let inverse: [[Double]]  // (bins, bands)
    private let bins: Int

    /// An estimator; the pseudo-inverse is computed here, once.
    ///
    /// - Throws: `EdgeError` of kind `config`: numbers that contradict each other.
    public init(_ config: MelConfig) throws {
        try config.validate()
        self.config = config
        bins = config.nFFT / 2 + 1
        bank = config.nMels == nil ? nil : try FilterBank(config)
        inverse = bank.map { pseudoInverse($0.rows) } ?? []
    }

    /// The mel before scale and logarithm were applied, (nMels, frames).
    ///
    /// - Throws: `EdgeError` of kind `input`: another number of bands, values that are not finite, or that no
    ///   signal could have.
    public func linearMel(_ mel: NDArray<Double>) throws -> NDArray<Double> {
        try checkMel(mel, config)
        var values = mel
        if let from = config.scaleFrom {
            let to = config.scaleTo
            let stretch = (from.high - from.low) / (to.high - to.low)
            values = values.map { ($0 - to.low) * stretch + from.low }
        }
        if config.log == .none { return try notNegative(values) }
        let factor = config.log == .log10 ? Foundation.log(10.0) : 1
        let natural = values.map { ($0 + config.reference) / config.logGain * factor }
        try checkLogarithm(natural, config)
        return natural.map(exp)
    }

    /// Magnitude (bins, frames) of a linear mel (nMels, frames).
    ///
    /// - Parameters:
    ///   - mel: what the filter bank gave, before any logarithm: see `linearMel`.
    ///   - updates: after the pseudo-inverse, 0 for none.
    /// - Throws: `EdgeError` of kind `input`: another number of bands, values that are not finite, or
    ///   negative.
    public func magnitude(_ mel: NDArray<Double>, updates: Int = defaultUpdates) throws -> NDArray<Double> {
        guard updates >= 0 else {
            throw EdgeError(.config, "updates", got: "\(updates)", expected: "a whole number, at least 0")
        }
        try checkMel(mel, config)
        var magnitude = try notNegative(mel)
        if let bank { magnitude = invert(magnitude, bank, updates) }
        if config.power == 2 { magnitude = magnitude.map { $0.squareRoot() } }
        if let range = config.spectrumRangeDB {
            magnitude = magnitude.map { pow(10, (min($0, 1) - 1) * (range / 20)) }
        }
        return magnitude
    }

    private func invert(_ mel: NDArray<Double>, _ bank: FilterBank, _ updates: Int) -> NDArray<Double> {
        let (bands, frames) = (mel.rows, mel.columns)
        var result = NDArray<Double>(repeating: 0, shape: [bins, frames])
        let room = LaneRooms([bands, bands, bins, bins, bins])
        let (m, predicted) = (room[0], room[1])
        let (estimate, target, reached) = (room[2], room[3], room[4])
        let tiny = Lane(repeating: .leastNormalMagnitude)
        for first in stride(from: 0, to: frames, by: 4) {
            let count = min(4, frames - first)
            for band in 0..<bands {
                for lane in 0..<4 { m[band][lane] = lane < count ? mel[band, first + lane] : 0 }
            }
            for bin in 0..<bins {
                var sum = Lane.zero
                for band in 0..<bands { sum += m[band] * inverse[bin][band] }
                estimate[bin] = pointwiseMax(sum, Lane(repeating: 1e-10))
            }
            FilterBank.apply(bank.transposed, m, target)
            for _ in 0..<updates {
                FilterBank.apply(bank.sparse, estimate, predicted)
                FilterBank.apply(bank.transposed, predicted, reached)
                for bin in 0..<bins {
                    estimate[bin] = estimate[bin] * target[bin] / pointwiseMax(reached[bin], tiny)
                }
            }
            for bin in 0..<bins {
                for lane in 0..<count { result[bin, first + lane] = estimate[bin][lane] }
            }
        }
        return result
    }
}

/// Some buffers of lanes, freed together.
final class LaneRooms {
    private let rooms: [UnsafeMutableBufferPointer<Lane>]

    init(_ counts: [Int]) {
        rooms = counts.map { count in
            let room = UnsafeMutableBufferPointer<Lane>.allocate(capacity: count)
            room.initialize(repeating: .zero)
            return room
        }
    }

    deinit {
        for room in rooms { room.deallocate() }
    }

    subscript(index: Int) -> UnsafeMutableBufferPointer<Lane> { rooms[index] }
}

/// Moore and Penrose's inverse of a bank, (columns, rows).
///
/// Only neighbouring triangles overlap, so A·Aᵀ is tridiagonal and `Aᵀ (A·Aᵀ)⁻¹` takes a moment; one step of
/// Newton's iteration, `X + X (1 − A·X)`, then squares its rounding error away. Banks with bands that are
/// empty or alike go through Jacobi rotations.
package func pseudoInverse(_ matrix: [[Double]]) -> [[Double]] {
    guard let gram = tridiagonalInverse(matrix) else { return jacobiInverse(matrix) }
    let (count, columns) = (matrix.count, matrix.first?.count ?? 0)
    let sparse = matrix.map(FilterBank.SparseRow.init)
    var inverse = [[Double]](repeating: [Double](repeating: 0, count: count), count: columns)
    for (band, row) in sparse.enumerated() {
        for (i, weight) in row.weights.enumerated() {
            add(gram[band], times: weight, to: &inverse[row.first + i])
        }
    }
    var residual = (0..<count).map { i in (0..<count).map { $0 == i ? 1.0 : 0 } }
    for (band, row) in sparse.enumerated() {
        for (i, weight) in row.weights.enumerated() {
            add(inverse[row.first + i], times: -weight, to: &residual[band])
        }
    }
    return inverse.map { row in
        var better = row
        for (band, value) in row.enumerated() { add(residual[band], times: value, to: &better) }
        return better
    }
}

private func add(_ values: [Double], times factor: Double, to sum: inout [Double]) {
    sum.withUnsafeMutableBufferPointer { sum in
        values.withUnsafeBufferPointer { values in
            for i in 0..<values.count { sum[i] += factor * values[i] }
        }
    }
}

/// (A·Aᵀ)⁻¹ where A·Aᵀ is tridiagonal and far from singular, else nil.
private func tridiagonalInverse(_ matrix: [[Double]]) -> [[Double]]? {
    let count = matrix.count
    for i in 0..<count {
        for j in i + 2..<max(count, i + 2) where dot(matrix[i], matrix[j]) != 0 { return nil }
    }
    let diagonal = matrix.map { dot($0, $0) }
    let beside = (0..<max(count - 1, 0)).map { dot(matrix[$0], matrix[$0 + 1]) }
    var (pivots, factors) = (diagonal, beside)
    for i in 0..<count {
        if i > 0 { pivots[i] = diagonal[i] - factors[i - 1] * beside[i - 1] }
        guard pivots[i] > 1e-8 * diagonal[i], diagonal[i] > 0 else { return nil }
        if i + 1 < count { factors[i] = beside[i] / pivots[i] }
    }
    return (0..<count).map { unit in
        var x = [Double](repeating: 0, count: count)
        x[unit] = 1
        for i in unit + 1..<max(count, unit + 1) { x[i] = -factors[i - 1] * x[i - 1] }
        for i in 0..<count { x[i] /= pivots[i] }
        for i in (0..<max(count - 1, 0)).reversed() { x[i] -= factors[i] * x[i + 1] }
        return x
    }
}

/// The inverse of any matrix by Jacobi rotations of its rows (Hestenes, 1958).
///
/// Rotations make the rows orthogonal; their lengths are the singular values, and those below 1e-15 of the
/// largest count as zero, as numpy's do.
package func jacobiInverse(_ matrix: [[Double]]) -> [[Double]] {
    let count = matrix.count
    var rows = matrix
    var turned = (0..<count).map { i in (0..<count).map { $0 == i ? 1.0 : 0 } }
    for _ in 0..<60 {
        var rotated = false
        for p in 0..<count {
            for q in p + 1..<max(count, p + 1) {
                let (alpha, beta, gamma) = (
                    dot(rows[p], rows[p]), dot(rows[q], rows[q]), dot(rows[p], rows[q])
                )
                if abs(gamma) <= 1e-16 * (alpha * beta).squareRoot() || gamma == 0 { continue }
                rotated = true
                let zeta = (beta - alpha) / (2 * gamma)
                let t = (zeta < 0 ? -1 : 1) / (abs(zeta) + (1 + zeta * zeta).squareRoot())
                let c = 1 / (1 + t * t).squareRoot()
                rotate(&rows, p, q, c, c * t)
                rotate(&turned, p, q, c, c * t)
            }
        }
        if !rotated { break }
    }
    // rows = turned · matrix, so matrix⁺ = Σ rows_iᵀ turned_i / |rows_i|²
    let squares = rows.map { dot($0, $0) }
    let limit = (squares.max() ?? 0) * 1e-30
    let columns = matrix.first?.count ?? 0
    var inverse = [[Double]](repeating: [Double](repeating: 0, count: count), count: columns)
    for i in 0..<count where squares[i] > limit {
        for column in 0..<columns where rows[i][column] != 0 {
            let factor = rows[i][column] / squares[i]
            for j in 0..<count { inverse[column][j] += factor * turned[i][j] }
        }
    }
    return inverse
}

private func dot(_ a: [Double], _ b: [Double]) -> Double {
    var sum = Lane.zero
    var rest = 0.0
    a.withUnsafeBufferPointer { a in
        b.withUnsafeBufferPointer { b in
            let whole = a.count / 4 * 4
            for i in stride(from: 0, to: whole, by: 4) {
                sum += Lane(a[i], a[i + 1], a[i + 2], a[i + 3]) * Lane(b[i], b[i + 1], b[i + 2], b[i + 3])
            }
            for i in whole..<a.count { rest += a[i] * b[i] }
        }
    }
    return sum.sum() + rest
}

private func rotate(_ rows: inout [[Double]], _ p: Int, _ q: Int, _ c: Double, _ s: Double) {
    for i in rows[p].indices {
        let (a, b) = (rows[p][i], rows[q][i])
        rows[p][i] = c * a - s * b
        rows[q][i] = s * a + c * b
    }
}

// MARK: refusals

/// Nets undershoot the floor of a logarithm a little; a value this far below it (80 dB of an amplitude) is no
/// logarithm of that configuration.
private let undershoot = 1e-4

private func checkMel(_ mel: NDArray<Double>, _ config: MelConfig) throws {
    guard mel.shape.count == 2, mel.rows == config.bands, mel.columns > 0 else {
        throw EdgeError(
            .input, "mel", got: "shape \(described(mel.shape))",
            expected: "(\(config.bands), frames), at least one frame",
            cause: shapeGuess(mel.shape, config.bands))
    }
    if let wrong = mel.values.firstIndex(where: { !$0.isFinite }) {
        throw EdgeError(
            .input, "mel",
            got:
                "a value that is NaN or infinite, the first in band \(wrong / mel.columns) of frame \(wrong % mel.columns)",
            expected: "finite values", cause: "a logarithm of zero, or a damaged file")
    }
}

private func shapeGuess(_ shape: [Int], _ bands: Int) -> String {
    if shape.count == 2 && shape[1] == bands { return "is it transposed?" }
    if shape.count == 3 && shape[0] == 1 && shape.dropFirst().contains(bands) {
        return "drop the batch axis: mel[0]"
    }
    if shape.count == 2 && !shape.contains(0) {
        return "it was made with another number of bands, or another preset"
    }
    return ""
}

private func notNegative(_ mel: NDArray<Double>) throws -> NDArray<Double> {
    let (lowest, highest) = (mel.values.min() ?? 0, mel.values.max() ?? 0)
    if lowest >= 0 { return mel }
    var cause = "a net's linear output may fall below 0: raise it to 0 first"
    if looksLogarithmic(lowest, highest) {
        let kind = lowest < -30 || highest > 20 ? "in decibels" : "a natural logarithm or a scaled one"
        cause = "this looks like a log mel, \(kind): linear_mel undoes the logarithm of its configuration"
    }
    throw EdgeError(
        .input, "mel", got: "negative values, \(short(lowest, 4)) … \(short(highest, 4))",
        expected: "linear values, at least 0", cause: cause)
}

/// Whether these extremes are below 0 by more than a net's linear output undershoots it.
func looksLogarithmic(_ lowest: Double, _ highest: Double) -> Bool { lowest < -0.1 * max(highest, 1e-3) }

/// Refuses a logarithm (natural, of magnitude or power) that no signal has under this configuration.
private func checkLogarithm(_ natural: NDArray<Double>, _ config: MelConfig) throws {
    let power = Double(config.power)
    let loudest = power * log(largestSample * Double(config.nFFT))
    let quietest = log(config.floor) + power * log(undershoot)
    let decibels = 20 / log(10.0) / power
    for value in [natural.values.min() ?? 0, natural.values.max() ?? 0] where !(quietest...loudest ~= value) {
        throw EdgeError(
            .input, "mel",
            got:
                "a value that stands for \(String(format: "%.0f", value * decibels)) dB if read as \(config.log.rawValue)",
            expected: "the logarithm of a mel under this configuration, at or near its floor of "
                + "\(String(format: "%.0f", log(config.floor) * decibels)) dB or above",
            cause: "the values are another logarithm (decibels for ln?) or standardised")
    }
}
