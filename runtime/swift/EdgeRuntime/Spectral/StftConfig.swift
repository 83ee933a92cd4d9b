import Foundation

/// What stands before and after a signal.
public enum Padding: String, Sendable, Hashable, CaseIterable {
    /// Nothing: frame m covers the samples m·hop … m·hop + nFFT.
    case none = "none"
    /// nFFT / 2 zeros: frame m is centred on sample m·hop (librosa since 0.9).
    case centerZero = "center-zero"
    /// The same with the signal mirrored about its end samples (torch.stft).
    case centerReflect = "center-reflect"
    /// (nFFT - hop) / 2 mirrored samples: exactly ⌊samples / hop⌋ frames (HiFi-GAN).
    case reflect = "reflect"

    /// Whether the signal is mirrored.
    var mirrors: Bool { self == .centerReflect || self == .reflect }
}

/// Framing of one transform.
public struct StftConfig: Sendable, Hashable {
    /// Samples per frame, odd lengths included.
    public let nFFT: Int
    /// Samples from frame to frame.
    public let hopLength: Int
    /// Samples of the window, a periodic Hann, centred in nFFT.
    public let winLength: Int
    /// What stands before and after the signal.
    public let padding: Padding

    /// A framing.
    ///
    /// - Throws: `EdgeError` of kind `config` where the numbers contradict each other.
    public init(nFFT: Int, hopLength: Int, winLength: Int? = nil, padding: Padding = .centerReflect) throws {
        let winLength = winLength ?? nFFT
        for (name, value) in [("n_fft", nFFT), ("hop_length", hopLength), ("win_length", winLength)] {
            guard 1...longestFrame ~= value else {
                throw EdgeError(
                    .config, name, got: "\(value)",
                    expected: "a whole number of samples, 1 to \(longestFrame)")
            }
        }
        guard winLength >= 2 else {
            throw EdgeError(
                .config, "win_length", got: "\(winLength)", expected: "at least 2 samples",
                cause: "a periodic Hann window of one sample is zero")
        }
        guard winLength <= nFFT else {
            throw EdgeError(
                .config, "win_length", got: "\(winLength) samples", expected: "at most n_fft = \(nFFT)")
        }
        guard padding != .reflect || hopLength <= nFFT else {
            throw EdgeError(
                .config, "padding", got: "'reflect' with hop_length \(hopLength) > n_fft \(nFFT)",
                expected: "hop_length <= n_fft", cause: "the padding is (n_fft - hop_length) // 2 samples")
        }
        (self.nFFT, self.hopLength, self.winLength, self.padding) = (nFFT, hopLength, winLength, padding)
    }

    /// Bins 0 … Nyquist; an odd nFFT has none at Nyquist.
    public var bins: Int { nFFT / 2 + 1 }

    /// Samples added before the signal, and again after it.
    public var pad: Int {
        switch padding {
        case .none: 0
        case .reflect: (nFFT - hopLength) / 2
        case .centerZero, .centerReflect: nFFT / 2
        }
    }

    /// Fewest samples that give one frame.
    public var minSamples: Int { max(padding.mirrors ? pad + 1 : 1, nFFT - 2 * pad) }

    /// Frames of a signal of so many samples, 0 if it is too short.
    public func frames(_ samples: Int) -> Int {
        samples < minSamples ? 0 : 1 + (samples + 2 * pad - nFFT) / hopLength
    }

    /// The same framing with another padding, whose numbers are known to fit.
    func padded(_ padding: Padding) throws -> StftConfig {
        try StftConfig(nFFT: nFFT, hopLength: hopLength, winLength: winLength, padding: padding)
    }
}

/// Samples of a transform, or from one to the next; nobody has longer ones.
let longestFrame = 1 << 17

/// Larger numbers are damage of a file, and sums of them could overflow.
let largestSize = 1 << 24

/// Beyond this a sample is no sound: full scale is ±1, and 16-bit numbers in floats reach 32768.
let largestSample = 1e6

/// Periodic Hann window: the first sample is 0, the maximum stands at length / 2.
func hann(_ length: Int) -> [Double] {
    (0..<length).map { 0.5 - 0.5 * cos(2.0 * Double.pi * Double($0) / Double(length)) }
}

/// Refuses what is no sound: too short, NaN or infinite, beyond `largestSample`.
func checkSignal<Sample: BinaryFloatingPoint>(_ x: [Sample], minSamples: Int, what: String = "audio") throws {
    guard x.count >= minSamples else {
        throw EdgeError(
            .input, what, got: "\(x.count) samples", expected: "at least \(minSamples) samples (one frame)",
            cause: x.isEmpty ? "the recording is empty" : "the recording is too short")
    }
    let limit = Sample(largestSample)
    guard let wrong = x.firstIndex(where: { !($0.magnitude <= limit) }) else { return }
    if let damaged = x.firstIndex(where: { !$0.isFinite }) {
        throw EdgeError(
            .input, what, got: "a sample that is NaN or infinite, the first at index \(damaged)",
            expected: "finite samples", cause: "the file is damaged, or something before it divided by zero")
    }
    throw EdgeError(
        .input, what, got: "a sample of \(short(Double(x[wrong])))",
        expected: "samples with full scale at ±1",
        cause: "are these integers? Divide them by their full scale")
}
