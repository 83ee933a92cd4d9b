import Foundation

/// The video clock of the talking head: mel → encoder windows → feature rows → context of one video frame.
///
/// Source: SyncTalk_2D and its audio pipeline, whose arithmetic is kept to the last bit.
public enum Windows {
    /// Bands of the mel.
    public static let melBins = 80
    /// Samples of 16 kHz from mel frame to mel frame.
    public static let melHop = 200
    /// Mel frames of one encoder window: 200 ms.
    public static let windowFrames = 16
    /// Samples that reach one window.
    public static let minSamples = (windowFrames - 1) * melHop
    /// Context rows of one video frame: 8 before it, it, 7 after it.
    public static let contextRows = 16

    /// What a renderer was trained with.
    public enum Mode: String, Sendable, CaseIterable {
        /// The audio-encoder net, 512 numbers a frame.
        case ave
        /// HuBERT-large: two 50 Hz frames of 1024.
        case hubert
        /// WeNet: 16 encoder frames of 512.
        case wenet

        /// Numbers per feature row.
        public var features: Int {
            switch self {
            case .ave: 512
            case .hubert: 2048
            case .wenet: 8192
            }
        }

        /// Shape of one frame's context.
        public var shape: [Int] {
            switch self {
            case .ave: [32, 16, 16]
            case .hubert: [32, 32, 32]
            case .wenet: [256, 16, 32]
            }
        }
    }

    /// Video frames that so many mel frames reach; float64 in the origin's order of operations.
    ///
    /// - Throws: `EdgeError`: fewer mel frames than one window, or a frame rate that is not positive.
    public static func frameCount(_ melFrames: Int, fps: Double = 25) throws -> Int {
        guard fps.isFinite, fps > 0, fps <= 1e6 else {
            throw EdgeError(
                .config, "fps", got: "\(fps)", expected: "frames per second above 0",
                cause: "SyncTalk_2D uses 25")
        }
        guard melFrames >= windowFrames else {
            throw EdgeError(
                .input, "mel", got: "\(melFrames) mel frames",
                expected: "at least \(windowFrames) (one window: \(minSamples) samples at 16 kHz)",
                cause: "the recording is too short")
        }
        return Int(Double(melFrames - windowFrames) / 80 * fps) + 2
    }

    /// First mel frame of each video frame's window; clamped to the last whole window.
    public static func starts(_ melFrames: Int, fps: Double = 25) throws -> [Int] {
        (0..<(try frameCount(melFrames, fps: fps))).map {
            min(Int(80 * (Double($0) / fps)), melFrames - windowFrames)
        }
    }

    /// Windows of the video frames in `range` (all by default): (80, T) → (n, 16, 80), time first.
    ///
    /// - Throws: `EdgeError` of kind `input`: another shape, or too few frames.
    public static func encoderWindows<Number>(
        _ mel: NDArray<Number>, fps: Double = 25, range: Range<Int>? = nil
    ) throws -> NDArray<Number> {
        guard mel.shape.count == 2, mel.rows == melBins else {
            let transposed = mel.shape.count == 2 && mel.columns == melBins
            throw EdgeError(
                .input, "mel", got: "shape \(described(mel.shape))", expected: "(\(melBins), frames)",
                cause: transposed ? "transposed" : "")
        }
        let all = try starts(mel.columns, fps: fps)
        let starts = range.map { all[$0.clamped(to: 0..<all.count)] } ?? all[...]
        var values: [Number] = []
        values.reserveCapacity(starts.count * windowFrames * melBins)
        for start in starts {
            for frame in start..<start + windowFrames {
                for band in 0..<melBins { values.append(mel[band, frame]) }
            }
        }
        return NDArray(checked: [starts.count, windowFrames, melBins], values)
    }

    /// (n, D) → (n + 2, D): the first and the last row stand twice.
    ///
    /// - Throws: `EdgeError` of kind `input`: no rows.
    public static func repeatEnds<Number>(_ features: NDArray<Number>) throws -> NDArray<Number> {
        guard features.shape.count == 2, features.rows > 0 else {
            throw EdgeError(
                .input, "features", got: "shape \(described(features.shape))",
                expected: "(frames, values), at least one frame")
        }
        let (rows, columns) = (features.rows, features.columns)
        let (first, last) = (features.values.prefix(columns), features.values.suffix(columns))
        return NDArray(checked: [rows + 2, columns], Array([first, features.values[...], last].joined()))
    }

    /// Rows i−8 … i+7 of (L, D) as (16, D), zeros where there are none; row 8 is frame i.
    ///
    /// - Throws: `EdgeError` of kind `input`: no such frame.
    public static func context<Number: BinaryFloatingPoint>(_ features: NDArray<Number>, frame: Int) throws
        -> NDArray<Number>
    {
        guard features.shape.count == 2 else {
            throw EdgeError(
                .input, "features", got: "shape \(described(features.shape))", expected: "(frames, values)")
        }
        guard 0..<features.rows ~= frame else {
            throw EdgeError(.input, "frame", got: "\(frame)", expected: "0 … \(features.rows - 1)")
        }
        let columns = features.columns
        var result = NDArray<Number>(repeating: 0, shape: [contextRows, columns])
        for row in max(frame - 8, 0)..<min(frame + 8, features.rows) {
            let place = (row - frame + 8) * columns
            result.values.replaceSubrange(
                place..<place + columns, with: features.values[row * columns..<(row + 1) * columns])
        }
        return result
    }

    /// One frame's context (16, D) in the renderer's shape, the numbers in C order.
    ///
    /// - Throws: `EdgeError` of kind `input`: the number of values is not the mode's.
    public static func reshape<Number>(_ context: NDArray<Number>, mode: Mode) throws -> NDArray<Number> {
        guard context.values.count == contextRows * mode.features else {
            let other = Mode.allCases.first { contextRows * $0.features == context.values.count }
            throw EdgeError(
                .input, "context for \(mode.rawValue)",
                got: "\(context.values.count) values of shape \(described(context.shape))",
                expected: "\(contextRows * mode.features) = \(contextRows) × \(mode.features)",
                cause: other.map { "these are \($0.rawValue) features" } ?? "")
        }
        return NDArray(checked: mode.shape, context.values)
    }
}
