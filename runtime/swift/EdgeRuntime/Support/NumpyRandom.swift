import Foundation

/// The numbers of `numpy.random.default_rng(seed)`: a seed gives the same latents on the phone as on a server.
///
/// PCG64 (O'Neill, 2014; XSL-RR of 128 bits) seeded by numpy's `SeedSequence`, uniform numbers of 53 and 24 bits,
/// and normal ones by the ziggurat. Numbers come in the order of the calls, as in numpy.
///
/// All of them are numpy's to the last bit but one in 4000 normal numbers, which lies beyond ±3.65: there the system's
/// logarithm counts, and may differ in the last place.
public struct NumpyRandom: RandomNumberGenerator, Sendable {
    private var state: Wide
    private let increment: Wide
    private var half: UInt32?  // of the last 64 bits, where only their lower half was used

    /// The generator of a seed.
    public init(seed: UInt64) {
        let words = seedWords(seed)
        increment = Wide(high: words[2] << 1 | words[3] >> 63, low: words[3] << 1 | 1)
        state = Wide(high: 0, low: 0)
        step()
        state = state &+ Wide(high: words[0], low: words[1])
        step()
    }

    private mutating func step() {
        let multiplier = Wide(high: 0x2360_ED05_1FC6_5DA4, low: 0x4385_DF64_9FCC_F645)
        state = state &* multiplier &+ increment
    }

    /// 64 random bits, as `bit_generator.random_raw()`.
    public mutating func next() -> UInt64 {
        step()
        let (bits, turn) = (state.high ^ state.low, state.high >> 58)
        return bits >> turn | bits << ((64 - turn) & 63)
    }

    /// 32 random bits: the lower, then the upper half of 64.
    mutating func nextHalf() -> UInt32 {
        if let left = half {
            half = nil
            return left
        }
        let bits: UInt64 = next()
        half = UInt32(truncatingIfNeeded: bits >> 32)
        return UInt32(truncatingIfNeeded: bits)
    }

    /// A number of 0 … 1, 1 excluded, as `random()`.
    public mutating func uniform() -> Double { Double(next() >> 11) * 0x1p-53 }

    /// A number of 0 … 1, 1 excluded, as `random(dtype=float32)`.
    public mutating func uniformSingle() -> Float { Float(nextHalf() >> 8) * 0x1p-24 }

    /// A normal number of mean 0 and deviation 1, as `standard_normal()`.
    public mutating func normal() -> Double {
        while true {
            let bits: UInt64 = next()
            let (layer, place) = (Int(bits & 255), bits >> 9 & 0xF_FFFF_FFFF_FFFF)
            let size = Double(place) * Layers.double.widths[layer]
            let signed = bits >> 8 & 1 == 1 ? -size : size
            if place < Layers.double.certain[layer] { return signed }
            if layer == 0 {
                let tail = normalTail()
                return place >> 8 & 1 == 1 ? -tail : tail
            }
            let (upper, lower) = (Layers.double.heights[layer - 1], Layers.double.heights[layer])
            if (upper - lower) * uniform() + lower < exp(-0.5 * size * size) { return signed }
        }
    }

    private mutating func normalTail() -> Double {
        while true {
            let beyond = -Ziggurat.inverseTail * log1p(-uniform())
            let height = -log1p(-uniform())
            if height + height > beyond * beyond { return Ziggurat.tail + beyond }
        }
    }

    /// A normal number of mean 0 and deviation 1, as `standard_normal(dtype=float32)`.
    public mutating func normalSingle() -> Float {
        while true {
            let bits = nextHalf()
            let (layer, place) = (Int(bits & 255), bits >> 9)
            let size = Float(place) * Layers.single.widths[layer]
            let signed = bits >> 8 & 1 == 1 ? -size : size
            if UInt64(place) < Layers.single.certain[layer] { return signed }
            if layer == 0 {
                let tail = normalTailSingle()
                return place >> 8 & 1 == 1 ? -tail : tail
            }
            let (upper, lower) = (Layers.single.heights[layer - 1], Layers.single.heights[layer])
            let height = (upper - lower) * uniformSingle() + lower
            if Double(height) < exp(-0.5 * Double(size) * Double(size)) { return signed }
        }
    }

    private mutating func normalTailSingle() -> Float {
        while true {
            let beyond = -Float(Ziggurat.inverseTail) * log1p(-uniformSingle())
            let height = -log1p(-uniformSingle())
            if height + height > beyond * beyond { return Float(Ziggurat.tail) + beyond }
        }
    }

    /// Normal numbers in C order, as `standard_normal(shape)`; `.float32` rounds them, as `astype(float32)`.
    ///
    /// - Throws: `EdgeError` of kind `config`: a length below 0, or more numbers than there are.
    public mutating func standardNormal(_ shape: [Int]) throws -> NDArray<Double> {
        try draw(shape) { $0.normal() }
    }

    /// Normal numbers in C order, as `standard_normal(shape, float32)`: others than the rounded ones.
    ///
    /// - Throws: `EdgeError` of kind `config`: a length below 0, or more numbers than there are.
    public mutating func standardNormalSingle(_ shape: [Int]) throws -> NDArray<Float> {
        try draw(shape) { $0.normalSingle() }
    }

    /// Uniform numbers in C order, as `random(shape)`.
    ///
    /// - Throws: `EdgeError` of kind `config`: a length below 0, or more numbers than there are.
    public mutating func random(_ shape: [Int]) throws -> NDArray<Double> {
        try draw(shape) { $0.uniform() }
    }

    /// Uniform numbers in C order, as `random(shape, float32)`.
    ///
    /// - Throws: `EdgeError` of kind `config`: a length below 0, or more numbers than there are.
    public mutating func randomSingle(_ shape: [Int]) throws -> NDArray<Float> {
        try draw(shape) { $0.uniformSingle() }
    }

    private mutating func draw<Number: Sendable>(_ shape: [Int], _ one: (inout NumpyRandom) -> Number) throws
        -> NDArray<Number>
    {
        guard let count = elementCount(shape), count <= mostNumbers else {
            throw EdgeError(
                .config, "shape", got: described(shape),
                expected: "lengths of at least 0, at most 2^31 numbers")
        }
        var values: [Number] = []
        values.reserveCapacity(count)
        for _ in 0..<count { values.append(one(&self)) }
        return NDArray(checked: shape, values)
    }
}

private let mostNumbers = 1 << 31

/// The ziggurat's tables in one precision.
private struct Layers<Number: BinaryFloatingPoint & Sendable>: Sendable {
    let widths, heights: [Number]
    let certain: [UInt64]

    init(bits: Int) {
        widths = Ziggurat.widths.map { Number($0 * scalbn(1.0, -bits)) }
        heights = Ziggurat.heights.map { Number($0) }
        certain = Ziggurat.certain(bits: bits)
    }
}

extension Layers where Number == Double {
    static let double = Layers<Double>(bits: 52)
}

extension Layers where Number == Float {
    static let single = Layers<Float>(bits: 23)
}

/// Whole numbers modulo 2^128; the system's own begin with iOS 18.
private struct Wide {
    let high, low: UInt64

    static func &+ (a: Wide, b: Wide) -> Wide {
        let (low, carry) = a.low.addingReportingOverflow(b.low)
        return Wide(high: a.high &+ b.high &+ (carry ? 1 : 0), low: low)
    }

    static func &* (a: Wide, b: Wide) -> Wide {
        let (carry, low) = a.low.multipliedFullWidth(by: b.low)
        return Wide(high: carry &+ a.high &* b.low &+ a.low &* b.high, low: low)
    }
}

/// The four words that numpy's `SeedSequence(seed).generate_state(4, uint64)` gives.
///
/// The hash is O'Neill's `seed_seq_fe128` (2015): every bit of the seed reaches every bit of the state.
private func seedWords(_ seed: UInt64) -> [UInt64] {
    var key: UInt32 = 0x43B0_D7E5
    func hashed(_ value: UInt32) -> UInt32 {
        var value = value ^ key
        key = key &* 0x931E_8875
        value = value &* key
        return value ^ value >> 16
    }
    func mixed(_ a: UInt32, _ b: UInt32) -> UInt32 {
        let value = 0xCA01_F9DD &* a &- 0x4973_F715 &* b
        return value ^ value >> 16
    }
    let entropy: [UInt32] = [UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32), 0, 0]
    var pool = entropy.map(hashed)
    for source in pool.indices {
        for target in pool.indices where target != source {
            pool[target] = mixed(pool[target], hashed(pool[source]))
        }
    }
    var outKey: UInt32 = 0x8B51_F9DD
    let halves = (0..<8).map { place -> UInt64 in
        var value = pool[place % 4] ^ outKey
        outKey = outKey &* 0x58F3_8DED
        value = value &* outKey
        return UInt64(value ^ value >> 16)
    }
    return (0..<4).map { halves[2 * $0] | halves[2 * $0 + 1] << 32 }
}
