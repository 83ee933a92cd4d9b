import Foundation

/// Parity of two arrays: the metrics of `edge-export check`.
///
/// With r the reference, c the candidate and d = c − r; sums in double precision.
public struct Comparison: Sendable, Equatable {
    /// Largest |d|, in the unit of the arrays.
    public let maxAbs: Double
    /// Mean of |d|.
    public let meanAbs: Double
    /// Median of |d|.
    public let medianAbs: Double
    /// Largest |d| / (|r| + 1e-8).
    public let maxRel: Double
    /// Mean of |d| / (|r| + 1e-8).
    public let meanRel: Double
    /// 20 log10(‖r‖ / ‖d‖); infinite for equal arrays.
    public let snrDB: Double
    /// ⟨r, c⟩ / (‖r‖ ‖c‖).
    public let cosine: Double
    /// The least tolerance that would pass; infinite where none would.
    public let smallestTolerance: Double
    /// Whether shapes agree, values are finite, and both gates hold.
    public let passed: Bool
    /// Why it failed, as a clause; empty when it passed.
    public let reason: String

    /// Compares two arrays.
    ///
    /// - Parameters:
    ///   - reference: the truth.
    ///   - candidate: what is judged.
    ///   - tolerance: the largest absolute difference that passes.
    ///   - minSNR: the least signal-to-noise ratio that passes, dB.
    /// - Throws: `EdgeError` of kind `config`: a tolerance that is negative or not a number.
    public init(
        reference: NDArray<Double>, candidate: NDArray<Double>, tolerance: Double = 1e-3,
        minSNR: Double? = nil
    ) throws {
        guard tolerance >= 0 else {
            throw EdgeError(
                .config, "tolerance", got: short(tolerance),
                expected: "a number of at least 0, in the unit of the arrays",
                cause: tolerance < 0 ? "is it in dB, or -3 where 1e-3 was meant?" : "")
        }
        let wrong = Self.incomparable(reference, candidate)
        guard wrong.isEmpty else {
            (maxAbs, meanAbs, medianAbs, maxRel, meanRel) = (.nan, .nan, .nan, .nan, .nan)
            (snrDB, cosine, smallestTolerance, passed, reason) = (.nan, .nan, .infinity, false, wrong)
            return
        }
        let (truth, judged) = (reference.values, candidate.values)
        let difference = zip(truth, judged).map { abs($1 - $0) }
        let relative = zip(difference, truth).map { $0 / (abs($1) + 1e-8) }
        let count = Double(truth.count)
        maxAbs = difference.max() ?? 0
        meanAbs = difference.reduce(0, +) / count
        medianAbs = Self.median(difference)
        maxRel = relative.max() ?? 0
        meanRel = relative.reduce(0, +) / count
        let snr = Self.snr(Self.norm(truth), Self.norm(difference))
        snrDB = snr
        cosine = Self.cosine(truth, judged)
        var reasons: [String] = []
        if maxAbs > tolerance {
            reasons.append("max abs \(short(maxAbs, 3)) is above the tolerance \(short(tolerance))")
        }
        let tooNoisy = minSNR.map { snr < $0 } ?? false
        if let minSNR, tooNoisy {
            reasons.append("SNR \(String(format: "%.1f", snr)) dB is below \(short(minSNR)) dB")
        }
        smallestTolerance = tooNoisy ? .infinity : maxAbs
        passed = reasons.isEmpty
        reason = reasons.joined(separator: ", ")
    }

    private static func incomparable(_ truth: NDArray<Double>, _ judged: NDArray<Double>) -> String {
        guard truth.shape == judged.shape else {
            let guess = explainShape(truth.shape, judged.shape)
            let sentence =
                "the candidate's shape \(described(judged.shape)) is not the reference's \(described(truth.shape))"
            return guess.isEmpty ? sentence : "\(sentence); \(guess)"
        }
        if truth.values.isEmpty {
            return "nothing to compare: both arrays have shape \(described(truth.shape))"
        }
        for (name, array) in [("reference", truth), ("candidate", judged)] {
            guard let first = array.values.firstIndex(where: { !$0.isFinite }) else { continue }
            let count = array.values.count { !$0.isFinite }
            return "\(count) of \(array.values.count) values of the \(name) are not finite, the first "
                + "(\(array.values[first])) at \(described(place(first, array.shape)))"
        }
        return ""
    }

    /// A guess at why two shapes differ; empty where nothing comes to mind.
    private static func explainShape(_ truth: [Int], _ judged: [Int]) -> String {
        if judged == truth.reversed() { return "transposed?" }
        if truth.reduce(1, *) == judged.reduce(1, *) {
            let same = truth.filter { $0 != 1 } == judged.filter { $0 != 1 }
            return same ? "an axis of length 1 too many or too few?" : "axes in another order?"
        }
        let axes = truth.count == judged.count ? truth.indices.filter { truth[$0] != judged[$0] } : []
        guard axes.count == 1, let axis = axes.first else { return "" }
        let more = judged[axis] - truth[axis]
        return "\(abs(more)) \(more > 0 ? "more" : "fewer") along axis \(axis): padding or frame count?"
    }

    private static func place(_ index: Int, _ shape: [Int]) -> [Int] {
        var (rest, place) = (index, [Int]())
        for length in shape.reversed() {
            place.insert(rest % length, at: 0)
            rest /= length
        }
        return place
    }

    private static func median(_ values: [Double]) -> Double {
        let sorted = values.sorted()
        let middle = sorted.count / 2
        return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }

    /// Euclidean norm; scaled by the peak, so that squares neither overflow nor vanish.
    private static func norm(_ values: [Double]) -> Double {
        let peak = values.reduce(0) { max($0, abs($1)) }
        if peak == 0 || peak.isInfinite { return peak }
        return peak * values.reduce(0) { $0 + ($1 / peak) * ($1 / peak) }.squareRoot()
    }

    private static func snr(_ signal: Double, _ noise: Double) -> Double {
        if noise == 0 { return .infinity }
        if signal == 0 || noise.isInfinite { return -.infinity }
        return 20 * (log10(signal) - log10(noise))
    }

    private static func cosine(_ truth: [Double], _ judged: [Double]) -> Double {
        let (a, b) = (norm(truth), norm(judged))
        if a == 0 || b == 0 { return a == b ? 1 : 0 }
        return min(1, max(-1, zip(truth, judged).reduce(0) { $0 + $1.0 / a * ($1.1 / b) }))
    }
}
