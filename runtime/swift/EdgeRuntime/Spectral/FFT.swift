import Foundation

/// Four frames that are transformed side by side: the registers of phones and computers take them at once.
package typealias Lane = SIMD4<Double>

/// Buffers that one transform reuses from call to call.
package final class FFTWorkspace {
    fileprivate let re, im, scratchRe, scratchIm: UnsafeMutableBufferPointer<Lane>

    fileprivate init(_ count: Int) {
        func room() -> UnsafeMutableBufferPointer<Lane> {
            let buffer = UnsafeMutableBufferPointer<Lane>.allocate(capacity: count)
            buffer.initialize(repeating: .zero)
            return buffer
        }
        (re, im, scratchRe, scratchIm) = (room(), room(), room(), room())
    }

    deinit {
        for buffer in [re, im, scratchRe, scratchIm] { buffer.deallocate() }
    }
}

/// The Fourier transform of real frames of any length, forward and inverse, four frames at a time.
///
/// Lengths whose prime factors are at most 13 go through Stockham stages of radix 4, 2, 3, 5 and any other;
/// the rest (511, 1023) through Bluestein's chirp. Even lengths are transformed as half as many complex
/// numbers. One way on every system, so that what is tested on one is what runs on the other.
package struct RealFFT: Sendable {
    /// Samples of a frame.
    package let length: Int
    private let complex: ComplexFFT
    private let turns: [SIMD2<Double>]  // of even lengths: exp(-2πik / length)

    /// Bins 0 … length / 2.
    package var bins: Int { length / 2 + 1 }

    /// The plan of a length, at least 1.
    package init(length: Int) {
        self.length = length
        complex = ComplexFFT(length % 2 == 0 ? length / 2 : length)
        turns = length % 2 == 0 ? (0...length / 2).map { unitRoot($0, length) } : []
    }

    /// Buffers for one caller at a time.
    package func workspace() -> FFTWorkspace { FFTWorkspace(complex.room) }

    /// Spectrum of four frames: `samples` (length) → real and imaginary parts (bins).
    package func forward(
        _ samples: UnsafeMutableBufferPointer<Lane>, _ re: UnsafeMutableBufferPointer<Lane>,
        _ im: UnsafeMutableBufferPointer<Lane>, _ workspace: FFTWorkspace
    ) {
        let (inRe, inIm) = input(workspace)
        guard length % 2 == 0 else {
            for i in 0..<length { (inRe[i], inIm[i]) = (samples[i], .zero) }
            let (outRe, outIm) = complex.transform(inRe, inIm, workspace.scratchRe, workspace.scratchIm)
            for k in 0..<bins { (re[k], im[k]) = (outRe[k], outIm[k]) }
            return
        }
        for i in 0..<length / 2 { (inRe[i], inIm[i]) = (samples[2 * i], samples[2 * i + 1]) }
        forwardOfInput(re, im, workspace)
    }

    /// Where frames of an even length may be written instead: samples of even and of odd number.
    package func input(
        _ workspace: FFTWorkspace
    ) -> (UnsafeMutableBufferPointer<Lane>, UnsafeMutableBufferPointer<Lane>) { (workspace.re, workspace.im) }

    /// Spectrum of four frames of an even length that lie in `input`.
    package func forwardOfInput(
        _ re: UnsafeMutableBufferPointer<Lane>, _ im: UnsafeMutableBufferPointer<Lane>,
        _ workspace: FFTWorkspace
    ) {
        let half = length / 2
        let (inRe, inIm) = input(workspace)
        let (zRe, zIm) = complex.transform(inRe, inIm, workspace.scratchRe, workspace.scratchIm)
        turns.withUnsafeBufferPointer { turns in
            for k in 0...half {
                let (a, b) = (k == half ? 0 : k, k == 0 ? 0 : half - k)
                let (evenRe, evenIm) = ((zRe[a] + zRe[b]) * 0.5, (zIm[a] - zIm[b]) * 0.5)
                let (oddRe, oddIm) = ((zIm[a] + zIm[b]) * 0.5, (zRe[b] - zRe[a]) * 0.5)
                let (c, s) = (turns[k].x, turns[k].y)
                re[k] = evenRe + oddRe * c - oddIm * s
                im[k] = evenIm + oddRe * s + oddIm * c
            }
        }
    }

    /// Four frames of spectra: the inverse of `forward`; imaginary parts at 0 and Nyquist count as zero.
    package func inverse(
        _ re: UnsafeMutableBufferPointer<Lane>, _ im: UnsafeMutableBufferPointer<Lane>,
        _ samples: UnsafeMutableBufferPointer<Lane>, _ workspace: FFTWorkspace
    ) {
        // real and imaginary parts change places: the forward transform then is the inverse one
        let (inRe, inIm) = (workspace.re, workspace.im)
        guard length % 2 == 0 else {
            (inRe[0], inIm[0]) = (.zero, re[0])
            for k in 1..<max(bins, 1) {
                (inRe[k], inIm[k]) = (im[k], re[k])
                (inRe[length - k], inIm[length - k]) = (-im[k], re[k])
            }
            let (_, outRe) = complex.transform(inRe, inIm, workspace.scratchRe, workspace.scratchIm)
            for i in 0..<length { samples[i] = outRe[i] * (1 / Double(length)) }
            return
        }
        let half = length / 2
        turns.withUnsafeBufferPointer { turns in
            for k in 0..<half {
                let b = half - k
                let (aIm, bIm) = k == 0 ? (Lane.zero, Lane.zero) : (im[k], im[b])
                let (evenRe, evenIm) = ((re[k] + re[b]) * 0.5, (aIm - bIm) * 0.5)
                let (diffRe, diffIm) = ((re[k] - re[b]) * 0.5, (aIm + bIm) * 0.5)
                let (c, s) = (turns[k].x, -turns[k].y)
                let (oddRe, oddIm) = (diffRe * c - diffIm * s, diffRe * s + diffIm * c)
                (inIm[k], inRe[k]) = (evenRe - oddIm, evenIm + oddRe)
            }
        }
        let (outIm, outRe) = complex.transform(inRe, inIm, workspace.scratchRe, workspace.scratchIm)
        let scale = 1 / Double(half)
        for i in 0..<half { (samples[2 * i], samples[2 * i + 1]) = (outRe[i] * scale, outIm[i] * scale) }
    }
}

/// exp(-2πi k / n), the angle reduced in whole numbers first.
private func unitRoot(_ k: Int, _ n: Int) -> SIMD2<Double> {
    let angle = -2 * Double.pi * Double(k % n) / Double(n)
    return SIMD2(cos(angle), sin(angle))
}

private struct ComplexFFT: Sendable {
    private struct Stage: Sendable {
        let radix: Int
        let groups: Int  // butterflies of different turns
        let step: Int  // butterflies of the same turn, side by side
        let turns: [SIMD2<Double>]  // groups × (radix - 1)
        let roots: [SIMD2<Double>]  // of the radix itself, where it has no butterfly of its own
    }

    private let length: Int
    private let stages: [Stage]
    private let chirp: Chirp?

    /// Numbers that each buffer of a workspace holds.
    var room: Int { max(chirp?.size ?? 0, length) }

    init(_ length: Int) {
        self.length = length
        let radices = Self.factors(length)
        if let largest = radices.max(), largest > 13 {
            chirp = Chirp(length)
            stages = []
            return
        }
        chirp = nil
        var (rest, step) = (length, 1)
        stages = radices.map { radix in
            let groups = rest / radix
            let turns = (0..<groups).flatMap { p in (1..<radix).map { unitRoot(p * $0, rest) } }
            let roots = radix > 5 ? (0..<radix).map { unitRoot($0, radix) } : []
            defer { (rest, step) = (groups, step * radix) }
            return Stage(radix: radix, groups: groups, step: step, turns: turns, roots: roots)
        }
    }

    private static func factors(_ length: Int) -> [Int] {
        var (rest, found, candidate) = (length, [Int](), 2)
        while rest % 4 == 0 { (rest, found) = (rest / 4, found + [4]) }
        while rest > 1 {
            if candidate * candidate > rest { candidate = rest }
            while rest % candidate == 0 { (rest, found) = (rest / candidate, found + [candidate]) }
            candidate += 1
        }
        return found
    }

    typealias Buffer = UnsafeMutableBufferPointer<Lane>

    /// Transforms `re` and `im`; the result lies in the pair returned, the other one is overwritten.
    func transform(_ re: Buffer, _ im: Buffer, _ otherRe: Buffer, _ otherIm: Buffer) -> (Buffer, Buffer) {
        if let chirp {
            chirp.transform(re, im, otherRe, otherIm)
            return (re, im)
        }
        var (xr, xi, yr, yi) = (re, im, otherRe, otherIm)
        for stage in stages {
            stage.turns.withUnsafeBufferPointer { turns in
                if stage.groups == 1 {
                    Self.run(stage, turns, xr, xi, yr, yi, true)
                } else {
                    Self.run(stage, turns, xr, xi, yr, yi, false)
                }
            }
            swap(&xr, &yr)
            swap(&xi, &yi)
        }
        return (xr, xi)
    }

    @inline(__always)
    private static func run(
        _ stage: Stage, _ turns: UnsafeBufferPointer<SIMD2<Double>>, _ xr: Buffer, _ xi: Buffer, _ yr: Buffer,
        _ yi: Buffer, _ isLast: Bool
    ) {
        switch stage.radix {
        case 2: radix2(stage, turns, xr, xi, yr, yi, isLast)
        case 3: radix3(stage, turns, xr, xi, yr, yi, isLast)
        case 4: radix4(stage, turns, xr, xi, yr, yi, isLast)
        case 5: radix5(stage, turns, xr, xi, yr, yi, isLast)
        default: radixAny(stage, turns, xr, xi, yr, yi, isLast)
        }
    }

    /// In the last stage, of one group, every turn is 1.
    @inline(__always)
    private static func put(
        _ re: Lane, _ im: Lane, _ turn: SIMD2<Double>, _ place: Int, _ yr: Buffer, _ yi: Buffer,
        _ isLast: Bool
    ) {
        yr[place] = isLast ? re : re * turn.x - im * turn.y
        yi[place] = isLast ? im : re * turn.y + im * turn.x
    }

    @inline(__always)
    private static func radix2(
        _ stage: Stage, _ turns: UnsafeBufferPointer<SIMD2<Double>>, _ xr: Buffer, _ xi: Buffer, _ yr: Buffer,
        _ yi: Buffer, _ isLast: Bool
    ) {
        let (s, m) = (stage.step, stage.groups)
        for p in 0..<m {
            let w = turns[p]
            for q in 0..<s {
                let (a, b, y) = (q + s * p, q + s * (p + m), q + s * 2 * p)
                (yr[y], yi[y]) = (xr[a] + xr[b], xi[a] + xi[b])
                put(xr[a] - xr[b], xi[a] - xi[b], w, y + s, yr, yi, isLast)
            }
        }
    }

    @inline(__always)
    private static func radix3(
        _ stage: Stage, _ turns: UnsafeBufferPointer<SIMD2<Double>>, _ xr: Buffer, _ xi: Buffer, _ yr: Buffer,
        _ yi: Buffer, _ isLast: Bool
    ) {
        let (s, m) = (stage.step, stage.groups)
        let h = 0.75.squareRoot()
        for p in 0..<m {
            let (w1, w2) = (turns[2 * p], turns[2 * p + 1])
            for q in 0..<s {
                let (a, b, c) = (q + s * p, q + s * (p + m), q + s * (p + 2 * m))
                let y = q + s * 3 * p
                let (sr, si) = (xr[b] + xr[c], xi[b] + xi[c])
                let (dr, di) = ((xi[b] - xi[c]) * h, (xr[c] - xr[b]) * h)  // -i h (b - c)
                let (mr, mi) = (xr[a] - sr * 0.5, xi[a] - si * 0.5)
                (yr[y], yi[y]) = (xr[a] + sr, xi[a] + si)
                put(mr + dr, mi + di, w1, y + s, yr, yi, isLast)
                put(mr - dr, mi - di, w2, y + 2 * s, yr, yi, isLast)
            }
        }
    }

    @inline(__always)
    private static func radix4(
        _ stage: Stage, _ turns: UnsafeBufferPointer<SIMD2<Double>>, _ xr: Buffer, _ xi: Buffer, _ yr: Buffer,
        _ yi: Buffer, _ isLast: Bool
    ) {
        let (s, m) = (stage.step, stage.groups)
        for p in 0..<m {
            let (w1, w2, w3) = (turns[3 * p], turns[3 * p + 1], turns[3 * p + 2])
            for q in 0..<s {
                let (a, b, c, d) = (q + s * p, q + s * (p + m), q + s * (p + 2 * m), q + s * (p + 3 * m))
                let y = q + s * 4 * p
                let (er, ei) = (xr[a] + xr[c], xi[a] + xi[c])
                let (fr, fi) = (xr[a] - xr[c], xi[a] - xi[c])
                let (gr, gi) = (xr[b] + xr[d], xi[b] + xi[d])
                let (hr, hi) = (xi[b] - xi[d], xr[d] - xr[b])  // -i (b - d)
                (yr[y], yi[y]) = (er + gr, ei + gi)
                put(fr + hr, fi + hi, w1, y + s, yr, yi, isLast)
                put(er - gr, ei - gi, w2, y + 2 * s, yr, yi, isLast)
                put(fr - hr, fi - hi, w3, y + 3 * s, yr, yi, isLast)
            }
        }
    }

    @inline(__always)
    private static func radix5(
        _ stage: Stage, _ turns: UnsafeBufferPointer<SIMD2<Double>>, _ xr: Buffer, _ xi: Buffer, _ yr: Buffer,
        _ yi: Buffer, _ isLast: Bool
    ) {
        let (s, m) = (stage.step, stage.groups)
        let (c1, c2) = (cos(0.4 * Double.pi), cos(0.8 * Double.pi))
        let (s1, s2) = (sin(0.4 * Double.pi), sin(0.8 * Double.pi))
        for p in 0..<m {
            let (w1, w2, w3, w4) = (turns[4 * p], turns[4 * p + 1], turns[4 * p + 2], turns[4 * p + 3])
            for q in 0..<s {
                let x = q + s * p
                let y = q + s * 5 * p
                let (x0r, x0i) = (xr[x], xi[x])
                let (pr, pi) = (xr[x + s * m] + xr[x + 4 * s * m], xi[x + s * m] + xi[x + 4 * s * m])
                let (qr, qi) = (xr[x + 2 * s * m] + xr[x + 3 * s * m], xi[x + 2 * s * m] + xi[x + 3 * s * m])
                let (ur, ui) = (xr[x + s * m] - xr[x + 4 * s * m], xi[x + s * m] - xi[x + 4 * s * m])
                let (vr, vi) = (xr[x + 2 * s * m] - xr[x + 3 * s * m], xi[x + 2 * s * m] - xi[x + 3 * s * m])
                (yr[y], yi[y]) = (x0r + pr + qr, x0i + pi + qi)
                let (ar, ai) = (x0r + pr * c1 + qr * c2, x0i + pi * c1 + qi * c2)
                let (br, bi) = (x0r + pr * c2 + qr * c1, x0i + pi * c2 + qi * c1)
                let (cr, ci) = (ui * s1 + vi * s2, -(ur * s1 + vr * s2))  // -i (…)
                let (dr, di) = (ui * s2 - vi * s1, vr * s1 - ur * s2)
                put(ar + cr, ai + ci, w1, y + s, yr, yi, isLast)
                put(br + dr, bi + di, w2, y + 2 * s, yr, yi, isLast)
                put(br - dr, bi - di, w3, y + 3 * s, yr, yi, isLast)
                put(ar - cr, ai - ci, w4, y + 4 * s, yr, yi, isLast)
            }
        }
    }

    @inline(__always)
    private static func radixAny(
        _ stage: Stage, _ turns: UnsafeBufferPointer<SIMD2<Double>>, _ xr: Buffer, _ xi: Buffer, _ yr: Buffer,
        _ yi: Buffer, _ isLast: Bool
    ) {
        let (r, s, m) = (stage.radix, stage.step, stage.groups)
        stage.roots.withUnsafeBufferPointer { roots in
            for p in 0..<m {
                for q in 0..<s {
                    for k in 0..<r {
                        var (re, im) = (Lane.zero, Lane.zero)
                        for j in 0..<r {
                            let (root, x) = (roots[j * k % r], q + s * (p + m * j))
                            re += xr[x] * root.x - xi[x] * root.y
                            im += xr[x] * root.y + xi[x] * root.x
                        }
                        let turn = k == 0 ? SIMD2(1, 0) : turns[p * (r - 1) + k - 1]
                        put(re, im, turn, q + s * (r * p + k), yr, yi, isLast)
                    }
                }
            }
        }
    }
}

/// Bluestein: a transform of any length as a convolution with a chirp, by transforms of a power of two.
private final class Chirp: Sendable {
    let size: Int
    private let length: Int
    private let inner: ComplexFFT
    private let chirp: [SIMD2<Double>]  // exp(-πi j² / length)
    private let kernel: [SIMD2<Double>]  // transform of its conjugate, divided by size

    init(_ length: Int) {
        self.length = length
        var size = 1
        while size < 2 * length - 1 { size *= 2 }
        self.size = size
        inner = ComplexFFT(size)
        let chirp = (0..<length).map { unitRoot($0 * $0 % (2 * length), 2 * length) }
        let workspace = FFTWorkspace(size)
        for j in 0..<length {
            let value = (Lane(repeating: chirp[j].x), Lane(repeating: -chirp[j].y))
            (workspace.re[j], workspace.im[j]) = value
            if j > 0 { (workspace.re[size - j], workspace.im[size - j]) = value }
        }
        let (re, im) = inner.transform(workspace.re, workspace.im, workspace.scratchRe, workspace.scratchIm)
        kernel = (0..<size).map { SIMD2(re[$0].x, im[$0].x) / Double(size) }
        self.chirp = chirp
        withExtendedLifetime(workspace) {}
    }

    typealias Buffer = UnsafeMutableBufferPointer<Lane>

    /// In place; the other pair is overwritten.
    func transform(_ re: Buffer, _ im: Buffer, _ otherRe: Buffer, _ otherIm: Buffer) {
        chirp.withUnsafeBufferPointer { chirp in
            for j in 0..<length {
                let (a, b) = (re[j], im[j])
                re[j] = a * chirp[j].x - b * chirp[j].y
                im[j] = a * chirp[j].y + b * chirp[j].x
            }
            for j in length..<size { (re[j], im[j]) = (.zero, .zero) }
            let (sr, si) = inner.transform(re, im, otherRe, otherIm)
            kernel.withUnsafeBufferPointer { kernel in
                for j in 0..<size {
                    let (a, b) = (sr[j], si[j])
                    // parts change places, so that the same transform goes back
                    si[j] = a * kernel[j].x - b * kernel[j].y
                    sr[j] = a * kernel[j].y + b * kernel[j].x
                }
            }
            let inPlace = sr.baseAddress == re.baseAddress
            let (ti, tr) =
                inPlace ? inner.transform(sr, si, otherRe, otherIm) : inner.transform(sr, si, re, im)
            for j in 0..<length {
                let (a, b) = (tr[j], ti[j])
                re[j] = a * chirp[j].x - b * chirp[j].y
                im[j] = a * chirp[j].y + b * chirp[j].x
            }
        }
    }
}
