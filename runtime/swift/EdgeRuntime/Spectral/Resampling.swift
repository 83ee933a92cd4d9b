import Foundation

/// Sample-rate conversion by a polyphase filter: the Python runtime's numbers without soxr.
///
/// A sinc under a Kaiser window, linear-phase with no delay. With f the lower of the two Nyquist frequencies
/// it passes 0 … 0.9 f and stops from f on by 90 dB.
public enum Resampling {
    private static let passEdge = 0.9  // of the lower Nyquist frequency
    private static let designDB = 100.0
    private static let beta = 0.1102 * (designDB - 8.7)  // Kaiser 1974
    private static let halfWidth = ceil((designDB - 7.95) / (2.285 * (1 - passEdge) * Double.pi) / 2)

    /// Audio at another rate.
    ///
    /// - Parameters:
    ///   - samples: (n,).
    ///   - fromRate: Hz.
    ///   - toRate: Hz.
    /// - Returns: ceil(n · toRate / fromRate) samples; the samples themselves where the rates agree.
    /// - Throws: `EdgeError` of kind `input`: a rate outside 1 … 1 000 000 Hz.
    public static func resample(_ samples: [Float], fromRate: Int, toRate: Int) throws -> [Float] {
        for (name, rate) in [("from_rate", fromRate), ("to_rate", toRate)] where !(1...1_000_000 ~= rate) {
            throw EdgeError(.input, name, got: "\(rate)", expected: "a whole number of Hz, at least 1")
        }
        if fromRate == toRate || samples.isEmpty { return samples }
        let divisor = gcd(fromRate, toRate)
        let (up, down) = (toRate / divisor, fromRate / divisor)
        let length = (samples.count * toRate + fromRate - 1) / fromRate
        let filters = Filters(up: up, down: down, phases: min(up, length))
        let taps = filters.taps
        // zeros before and after, so that every tap meets a sample
        let last = (length - 1) * down / up + taps
        var padded = [Double](repeating: 0, count: max(last, samples.count) + 2 * taps)
        for (i, sample) in samples.enumerated() { padded[taps + i] = Double(sample) }
        return padded.withUnsafeBufferPointer { padded in
            filters.values.withUnsafeBufferPointer { filters in
                (0..<length).map { m in
                    let input = m * down / up - (taps / 2 - 1) + taps
                    return Float(product(padded, input, filters, m % up * taps, taps))
                }
            }
        }
    }

    @inline(__always)
    private static func product(
        _ x: UnsafeBufferPointer<Double>, _ at: Int, _ filter: UnsafeBufferPointer<Double>, _ from: Int,
        _ taps: Int
    ) -> Double {
        var (even, odd) = (SIMD2<Double>.zero, SIMD2<Double>.zero)
        var i = 0
        while i + 4 <= taps {
            even += SIMD2(x[at + i], x[at + i + 1]) * SIMD2(filter[from + i], filter[from + i + 1])
            odd += SIMD2(x[at + i + 2], x[at + i + 3]) * SIMD2(filter[from + i + 2], filter[from + i + 3])
            i += 4
        }
        var sum = (even + odd).sum()
        while i < taps {
            sum += x[at + i] * filter[from + i]
            i += 1
        }
        return sum
    }

    /// The filters of the outputs of each phase, rounded to single precision as the Python runtime has them.
    private struct Filters {
        let taps: Int
        let values: [Double]  // (phases, taps)

        init(up: Int, down: Int, phases: Int) {
            let lower = min(1, Double(up) / Double(down))
            let half = Resampling.halfWidth / lower
            let taps = 2 * Int(ceil(half))
            let cutoff = lower * (1 + Resampling.passEdge) / 2
            values = (0..<phases).flatMap { n in
                let phase = Double(n * down % up) / Double(up)
                let filter = (0..<taps).map { k -> Double in
                    let time = Double(k - (taps / 2 - 1)) - phase
                    if abs(time) >= half { return 0 }
                    let window = bessel0(
                        Resampling.beta * max(1 - (time / half) * (time / half), 0).squareRoot())
                    return sinc(cutoff * time) * window
                }
                let sum = filter.reduce(0, +)
                return filter.map { Double(Float($0 / sum)) }
            }
            self.taps = taps
        }
    }

    private static func sinc(_ x: Double) -> Double {
        x == 0 ? 1 : sin(Double.pi * x) / (Double.pi * x)
    }

    /// Modified Bessel function of the first kind and order 0, by its power series.
    private static func bessel0(_ x: Double) -> Double {
        let quarter = x * x / 4
        var (sum, term, k) = (1.0, 1.0, 1.0)
        while term > sum * 1e-17 {
            term *= quarter / (k * k)
            sum += term
            k += 1
        }
        return sum
    }

    private static func gcd(_ a: Int, _ b: Int) -> Int { b == 0 ? a : gcd(b, a % b) }
}
