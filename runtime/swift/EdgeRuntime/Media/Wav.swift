import Foundation

/// One channel of sound.
public struct Audio: Sendable, Equatable {
    /// (n,), full scale ±1; float files may exceed it.
    public var samples: [Float]
    /// Hz.
    public var sampleRate: Int

    /// Samples at a rate.
    public init(samples: [Float], sampleRate: Int) { (self.samples, self.sampleRate) = (samples, sampleRate) }

    /// Reads a WAV file (PCM 16, 24, 32, float 32, 64, also as WAVE_FORMAT_EXTENSIBLE) as one channel.
    ///
    /// Integers are divided by 2^(bits−1); channels are averaged. Other formats are the system's matter
    /// (`AVAudioFile` on Apple's).
    ///
    /// - Parameters:
    ///   - url: of the file.
    ///   - sampleRate: Hz to resample to; nil keeps the file's.
    /// - Throws: `EdgeError` of kind `input`: missing, empty, truncated, no WAV, without samples, a damaged
    ///   header; samples that are not finite or far beyond full scale.
    public init(contentsOf url: URL, sampleRate: Int? = nil) throws {
        self = try naming(url.path) {
            let bytes = try readFile(url, expected: "a WAV file")
            return try Audio(parsing: bytes).resampled(to: sampleRate)
        }
    }

    /// Reads the bytes of a WAV file.
    public init(parsing bytes: [UInt8]) throws {
        let wave = try WaveHeader(bytes)
        let width = wave.bits / 8
        samples = try (0..<wave.frames).map { frame in
            var sum: Float = 0
            for channel in 0..<wave.channels {
                let place = wave.offset + (frame * wave.channels + channel) * width
                let value = wave.sample(bytes, place)
                guard abs(value) <= Float(largestSample) else { throw Self.noSound(value, frame) }
                sum += value
            }
            return sum / Float(wave.channels)
        }
        sampleRate = wave.sampleRate
    }

    /// The same at another rate.
    public func resampled(to rate: Int?) throws -> Audio {
        guard let rate else { return self }
        return Audio(
            samples: try Resampling.resample(samples, fromRate: sampleRate, toRate: rate), sampleRate: rate)
    }

    private static func noSound(_ value: Float, _ frame: Int) -> EdgeError {
        if value.isFinite {
            return EdgeError(
                .input, "audio", got: "a sample of \(short(Double(value)))",
                expected: "samples with full scale at ±1",
                cause: "are these integers? Divide them by their full scale")
        }
        return EdgeError(
            .input, "audio", got: "\(value) at sample \(frame)", expected: "finite samples",
            cause: "the program that wrote the file divided by zero or overflowed")
    }
}

extension Audio {
    /// How a sample is stored.
    public enum Subtype: String, Sendable {
        /// 16-bit integers.
        case pcm16
        /// 24-bit integers.
        case pcm24
        /// 32-bit integers.
        case pcm32
        /// Single precision.
        case float32

        var bytes: Int {
            switch self {
            case .pcm16: 2
            case .pcm24: 3
            case .pcm32, .float32: 4
            }
        }
    }

    /// Writes a WAV file, whole or not at all.
    ///
    /// PCM multiplies by 2^(bits−1), rounds and clips: +1.0 becomes the largest integer.
    ///
    /// - Throws: `EdgeError`: no samples, NaN or infinite ones, too many for a WAV file; a place that cannot
    ///   be written.
    public func write(to url: URL, as subtype: Subtype = .pcm16) throws {
        try writeFile(encoded(as: subtype), to: url)
    }

    /// The bytes of a WAV file.
    public func encoded(as subtype: Subtype = .pcm16) throws -> [UInt8] {
        guard 1..<1 << 30 ~= sampleRate else {
            throw EdgeError(
                .config, "sample_rate", got: "\(sampleRate)", expected: "a whole number of Hz, at least 1")
        }
        guard !samples.isEmpty, samples.count <= (Int(UInt32.max) - 64) / subtype.bytes else {
            throw EdgeError(
                .input, "samples", got: "\(samples.count)",
                expected: "at least 1, and less than 4 GiB, the limit of WAV")
        }
        guard samples.allSatisfy(\.isFinite) else {
            throw EdgeError(.input, "samples", got: "NaN or infinity", expected: "finite samples")
        }
        let width = subtype.bytes
        let (isFloat, size) = (subtype == .float32, samples.count * width)
        var form = little(isFloat ? 3 : 1, 2) + little(1, 2) + little(sampleRate, 4)
        form += little(sampleRate * width, 4) + little(width, 2) + little(8 * width, 2)
        var chunks: [UInt8] = []
        if isFloat {
            form += little(0, 2)
            chunks = Array("fact".utf8) + little(4, 4) + little(samples.count, 4)
        }
        chunks =
            Array("fmt ".utf8) + little(form.count, 4) + form + chunks + Array("data".utf8) + little(size, 4)
        var bytes =
            Array("RIFF".utf8) + little(4 + chunks.count + size + size % 2, 4) + Array("WAVE".utf8) + chunks
        bytes.reserveCapacity(bytes.count + size + 1)
        for sample in samples {
            bytes += isFloat ? little(Int(sample.bitPattern), 4) : integer(sample, width)
        }
        return size % 2 == 0 ? bytes : bytes + [0]
    }

    private func integer(_ sample: Float, _ width: Int) -> [UInt8] {
        let fullScale = scalbn(1.0, 8 * width - 1)
        let steps = (Double(sample) * fullScale).rounded(.toNearestOrEven)
        return little(Int(min(max(steps, -fullScale), fullScale - 1)), width)
    }
}

/// The lowest bytes of a number, lowest first.
private func little(_ value: Int, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
}

/// What the chunks of a WAV file say.
private struct WaveHeader {
    var encoding = 0
    var bits = 0
    var channels = 0
    var sampleRate = 0
    var frameBytes = 0
    var offset = 0
    var frames = 0

    /// Lengths that writers to a pipe leave behind (ffmpeg, sox): the data lasts to the end of the file.
    private static let unknownLengths = [0xFFFF_FFFF, 0x7FFF_F000]
    /// The end of the sub-format of WAVE_FORMAT_EXTENSIBLE.
    private static let extensible: [UInt8] = [0, 0, 0, 0, 16, 0, 128, 0, 0, 170, 0, 56, 155, 113]
    private static let decoded = [[1, 16], [1, 24], [1, 32], [3, 32], [3, 64]]

    init(_ bytes: [UInt8]) throws {
        guard !bytes.isEmpty else {
            throw EdgeError(.input, "audio file", got: "0 bytes", expected: "a WAV file")
        }
        guard bytes.count >= 12, bytes.starts(with: "RIFF".utf8), bytes[8..<12].elementsEqual("WAVE".utf8)
        else {
            throw EdgeError(
                .input, "audio file", got: "bytes that are no RIFF WAVE", expected: "a WAV file",
                cause: "the file is damaged, not audio, or of another format: decode it first (AVAudioFile)")
        }
        var position = 12
        var hasForm = false
        while position + 8 <= bytes.count {
            let name = bytes[position..<position + 4]
            let length = Self.number(bytes, position + 4, 4)
            position += 8
            if name.elementsEqual("data".utf8) {
                guard hasForm else {
                    throw EdgeError(
                        .input, "WAV file", got: "samples before any format", expected: "a fmt chunk first")
                }
                try locate(position, length, bytes.count - position)
                return
            }
            guard length <= bytes.count - position else {
                throw Self.truncated("WAV chunk", bytes.count - position, length)
            }
            if name.elementsEqual("fmt ".utf8) {
                try parse(Array(bytes[position..<position + length]))
                hasForm = true
            }
            position += length + length % 2
        }
        throw EdgeError(
            .input, "WAV file", got: "\(bytes.count) bytes without samples", expected: "a data chunk",
            cause: "the file is truncated")
    }

    private mutating func parse(_ chunk: [UInt8]) throws {
        guard chunk.count >= 16 else { throw Self.truncated("WAV chunk b'fmt '", chunk.count, 16) }
        encoding = Self.number(chunk, 0, 2)
        channels = Self.number(chunk, 2, 2)
        sampleRate = Self.number(chunk, 4, 4)
        frameBytes = Self.number(chunk, 12, 2)
        bits = Self.number(chunk, 14, 2)
        if encoding == 0xFFFE, chunk.count >= 40, chunk[26..<40].elementsEqual(Self.extensible) {
            encoding = Self.number(chunk, 24, 2)
        }
    }

    private static let mostChannels = 1024

    private mutating func locate(_ place: Int, _ length: Int, _ remaining: Int) throws {
        let damaged = "the header is damaged"
        guard 1...Self.mostChannels ~= channels, sampleRate >= 1, frameBytes >= 1 else {
            throw EdgeError(
                .input, "WAV format",
                got: "\(channels) channels at \(sampleRate) Hz in frames of \(frameBytes) bytes",
                expected: "1 to \(Self.mostChannels) channels, and at least 1 of each", cause: damaged)
        }
        guard 1_000...1_000_000 ~= sampleRate else {
            throw EdgeError(
                .input, "sample rate", got: "\(sampleRate) Hz", expected: "1000 … 1000000 Hz", cause: damaged)
        }
        guard Self.decoded.contains([encoding, bits]) else {
            throw EdgeError(
                .input, "audio file", got: "WAV with encoding \(encoding), \(bits) bits",
                expected: "PCM of 16, 24 or 32 bits, or floats", cause: "convert it first")
        }
        guard frameBytes == channels * bits / 8 else {
            throw EdgeError(
                .input, "WAV format", got: "frames of \(frameBytes) bytes",
                expected: "\(channels) × \(bits) bits",
                cause: damaged)
        }
        let known = Self.unknownLengths.contains(length) ? remaining - remaining % frameBytes : length
        guard known <= remaining else { throw Self.truncated("WAV samples", remaining, known) }
        guard known >= frameBytes else {
            throw EdgeError(
                .input, "audio", got: "no samples", expected: "at least 1",
                cause: "the recording has zero length")
        }
        (offset, frames) = (place, known / frameBytes)
    }

    /// One sample in single precision, full scale ±1.
    func sample(_ bytes: [UInt8], _ place: Int) -> Float {
        let raw = Self.number(bytes, place, bits / 8)
        switch (encoding, bits) {
        case (3, 32): return Float(bitPattern: UInt32(truncatingIfNeeded: raw))
        case (3, _): return Float(Double(bitPattern: UInt64(bitPattern: Int64(raw))))
        case (_, 16): return Float(Int16(truncatingIfNeeded: raw)) * 0x1p-15
        case (_, 24): return Float(Int32(truncatingIfNeeded: raw << 8)) * 0x1p-31
        default: return Float(Int32(truncatingIfNeeded: raw)) * 0x1p-31
        }
    }

    private static func number(_ bytes: [UInt8], _ place: Int, _ count: Int) -> Int {
        var value = 0
        for i in (0..<count).reversed() { value = value << 8 | Int(bytes[place + i]) }
        return value
    }

    private static func truncated(_ what: String, _ got: Int, _ expected: Int) -> EdgeError {
        EdgeError(.input, what, got: "\(got) bytes", expected: "\(expected)", cause: "the file is truncated")
    }
}
