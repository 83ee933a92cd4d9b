import Foundation

/// Processed ECoG cut into what the net `ecog-decoder` takes, and its answers put together again.
///
///     ecog (16 + T, E)          z-scores at 125 Hz, electrodes as a square (`ElectrodeGrid`)
///     → windows (144, E)        16 past frames, then 128 of their own; the last one ends with the recording
///     → ecog-decoder            (rows, 128) of each window
///     → assembled               (rows, T): where windows overlap, the later one counts
///
/// A trial of a recording is one window that begins 32 frames before its onset.
public enum EcogItems {
    /// Frames of an item.
    public static let frames = 128
    /// ECoG frames before it.
    public static let past = 16
    /// Frames of a trial's window before its onset.
    public static let ahead = 32
    /// Samples per frame.
    public static let hop = 128
    /// Of the speech, Hz.
    public static let sampleRate = 16000
    /// Of the ECoG, Hz.
    public static let frameRate = 125

    /// Standard deviations; beyond it ECoG is not z-scored.
    private static let loudest: Float = 50

    /// One window.
    public struct Item: Sendable, Equatable {
        /// Its first frame, counted without the past: the parameters of frames `first` … `first + 127` follow from it.
        public let first: Int
        /// (144, E).
        public let ecog: NDArray<Float>
    }

    /// The windows of a recording, one after another from its seventeenth frame on.
    ///
    /// - Parameter ecog: (16 + T, E); T at least 128.
    /// - Throws: `EdgeError` of kind `input`: another shape, or values that cannot be z-scores.
    public static func items(of ecog: NDArray<Float>) throws -> [Item] {
        try check(ecog)
        return try starts(frames: ecog.rows - past).map { Item(first: $0, ecog: window(ecog, $0)) }
    }

    /// First frames of the windows that cover T frames; the last one ends with them.
    ///
    /// - Throws: `EdgeError` of kind `input`: fewer than 128 frames.
    public static func starts(frames count: Int) throws -> [Int] {
        guard frames...largestSize ~= count else {
            throw EdgeError(
                .input, "ecog", got: "\(count) frames", expected: "at least \(frames) frames at 125 Hz")
        }
        let whole = Array(stride(from: 0, through: count - frames, by: frames))
        return whole.last == count - frames ? whole : whole + [count - frames]
    }

    /// The windows' arrays put together.
    ///
    /// - Parameters:
    ///   - parts: of each window in order, (rows, 128 · n): n values a frame, 128 of samples.
    ///   - frames: T.
    /// - Returns: (rows, T · n).
    /// - Throws: `EdgeError` of kind `input`: not as many parts as windows, or other shapes.
    public static func assembled(_ parts: [NDArray<Float>], frames count: Int) throws -> NDArray<Float> {
        let starts = try starts(frames: count)
        let shape = parts.first?.shape ?? []
        guard parts.count == starts.count, shape.count == 2, shape[1] > 0, shape[1] % frames == 0,
            parts.allSatisfy({ $0.shape == shape })
        else {
            throw EdgeError(
                .input, "windows", got: "\(parts.count) of shape \(described(shape))",
                expected: "\(starts.count) of one shape (rows, \(frames) n)")
        }
        let perFrame = shape[1] / frames
        var result = NDArray<Float>(repeating: 0, shape: [shape[0], count * perFrame])
        for (start, part) in zip(starts, parts) {
            for row in 0..<shape[0] {
                let place = row * result.columns + start * perFrame
                result.values.replaceSubrange(
                    place..<place + shape[1], with: part.values[row * shape[1]..<(row + 1) * shape[1]])
            }
        }
        return result
    }

    /// Refuses what is no processed ECoG.
    static func check(_ ecog: NDArray<Float>) throws {
        guard ecog.shape.count == 2, ecog.rows >= past + frames, ecog.columns > 0 else {
            let isTransposed = ecog.shape.count == 2 && ecog.columns > ecog.rows
            throw EdgeError(
                .input, "ecog", got: "float32 of shape \(described(ecog.shape))",
                expected: "numbers (frames, electrodes), at least \(past + frames) frames at 125 Hz",
                cause: isTransposed ? "transposed: pass ecog.T" : "")
        }
        let broken = ecog.values.first { !$0.isFinite }
        guard broken == nil else {
            throw EdgeError(
                .input, "ecog", got: "NaN or infinite values", expected: "numbers",
                cause: "silence their electrodes: ElectrodeGrid.arrange lists them")
        }
        let largest = ecog.values.reduce(0) { max($0, abs($1)) }
        guard largest <= loudest else {
            throw EdgeError(
                .input, "ecog", got: "values up to \(short(Double(largest), 4))",
                expected: "z-scores, mostly within ±5",
                cause: "`edge-export data ecog` computes them from raw recordings")
        }
    }

    /// (144, E) that end with frame `first + 127`, of frames counted without the past.
    static func window(_ ecog: NDArray<Float>, _ first: Int) -> NDArray<Float> {
        let electrodes = ecog.columns
        let place = first * electrodes..<(first + past + frames) * electrodes
        return NDArray(checked: [past + frames, electrodes], Array(ecog.values[place]))
    }

    /// Power (N, F) of a spectrogram in scaled dB (N, F).
    ///
    /// - Parameters:
    ///   - spectrogram: −1 … 1.
    ///   - floorDB: what −1 stands for, dB.
    ///   - topDB: what 1 stands for, dB.
    public static func power(
        of spectrogram: NDArray<Float>, floorDB: Double = -50, topDB: Double = 22.5
    ) -> NDArray<Float> {
        spectrogram.map {
            Float(pow(10, ((Double($0) + 1) / 2 * (topDB - floorDB) + floorDB) / 10))
        }
    }

    /// (F,) mean power before the words: frames onset − 31 … onset − 16, averaged in dB.
    ///
    /// - Parameters:
    ///   - spectrogram: (N, F), scaled dB.
    ///   - onsets: of the words, frames.
    /// - Throws: `EdgeError` of kind `input`: no word has frames before it.
    public static func background(_ spectrogram: NDArray<Float>, onsets: [Int]) throws -> [Float] {
        let (count, bins) = (spectrogram.rows, spectrogram.columns)
        // an onset beyond the recording has no frames in it
        let frames = onsets.filter { 0..<count + 31 ~= $0 }.flatMap { $0 - 31..<$0 - 15 }.filter {
            0..<count ~= $0
        }
        guard !frames.isEmpty, spectrogram.shape.count == 2 else {
            throw EdgeError(
                .input, "onsets", got: "none with 31 frames before it", expected: "silence before words")
        }
        var sum = NDArray<Float>(repeating: 0, shape: [1, bins])
        for frame in frames {
            for bin in 0..<bins { sum.values[bin] += spectrogram.values[frame * bins + bin] }
        }
        return power(of: sum.map { $0 / Float(frames.count) }).values
    }
}

/// One subject's ECoG with its trials; in an app from arrays, as no library here reads HDF5.
public struct EcogRecording: Sendable {
    /// (N, E), z-scores at 125 Hz.
    public let ecog: NDArray<Float>
    /// Frames at which the spoken responses begin.
    public let onsets: [Int]
    /// Frames at which they end.
    public let offsets: [Int]

    /// A recording.
    ///
    /// - Throws: `EdgeError` of kind `input`: values that are no z-scores, trials outside of the recording.
    public init(ecog: NDArray<Float>, onsets: [Int], offsets: [Int]) throws {
        guard onsets.count == offsets.count, !onsets.isEmpty else {
            throw EdgeError(
                .input, "end_ind_re_valid_alldataset",
                got: "\(offsets.count) offsets and \(onsets.count) onsets",
                expected: "one of each for every trial")
        }
        for (trial, (onset, offset)) in zip(onsets, offsets).enumerated()
        where onset < 0 || offset <= onset || offset > ecog.rows {
            throw EdgeError(
                .input, "trial \(trial)", got: "frames \(onset) … \(offset)",
                expected: "onset before offset, both within 0 … \(ecog.rows)",
                cause: "onsets are frames at 125 Hz, not samples")
        }
        try EcogItems.check(ecog)
        (self.ecog, self.onsets, self.offsets) = (ecog, onsets, offsets)
    }

    /// The window of a trial, counted from 0: it begins 32 frames before the onset, and lies inside of the recording.
    ///
    /// - Returns: its first frame in the recording, without its past, and (144, E).
    /// - Throws: `EdgeError` of kind `config`: a trial that does not exist.
    public func item(trial: Int) throws -> EcogItems.Item {
        guard onsets.indices.contains(trial) else {
            throw EdgeError(
                .config, "trial", got: "\(trial)", expected: "0 … \(onsets.count - 1): there are no more")
        }
        let earliest = max(onsets[trial] - EcogItems.ahead, EcogItems.past)
        let first = min(earliest, ecog.rows - EcogItems.frames)
        return EcogItems.Item(first: first, ecog: EcogItems.window(ecog, first - EcogItems.past))
    }
}
