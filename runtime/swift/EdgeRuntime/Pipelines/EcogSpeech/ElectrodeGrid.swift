import Foundation

/// Electrodes on grids: their positions, and how a recording's columns become a square.
///
///     low density      64 electrodes, 8 × 8, row by row
///     hybrid density   128 electrodes on 15 × 15: the 64 of a coarse grid at even rows and columns, 64 more between
///                      them; zeros where there is none
///     extended         the first 100 electrodes as 10 × 10
///
/// Decoders take only squares. Source: the electrode tables of neural_speech_decoding.
public enum ElectrodeGrid {
    /// Which electrodes of a recording a decoder takes.
    public enum Selection: Sendable {
        /// All of them; 128 become the 15 × 15 grid.
        case all
        /// Only the first 64 of a hybrid grid, as 8 × 8 (FAKE_LD of neural_speech_decoding).
        case coarse
        /// The first 100, as 10 × 10.
        case extended
    }

    private static let coarseSide = 8
    private static let hybridSide = 15
    private static let coarseCount = 64
    private static let hybridCount = 128
    private static let extendedCount = 100
    /// Row, first column, end (exclusive), step between columns, first electrode.
    private static let between = [
        (0, 1, 6, 2, 64), (1, 0, 6, 1, 67), (2, 1, 6, 2, 73), (3, 0, 9, 1, 76), (4, 1, 12, 2, 85),
        (5, 0, 14, 1, 91), (6, 1, 12, 2, 105), (8, 7, 14, 2, 111), (9, 6, 14, 1, 115), (10, 7, 14, 2, 123),
        (11, 7, 8, 1, 127),
    ]

    /// (128,) cell of each electrode on the 15 × 15 grid, row by row.
    package static var hybridPlaces: [Int] {
        var places = (0..<coarseCount).map {
            2 * ($0 / coarseSide) * hybridSide + 2 * ($0 % coarseSide)
        }
        places += [Int](repeating: 0, count: hybridCount - coarseCount)
        for (row, start, stop, step, first) in between {
            for (offset, column) in stride(from: start, to: stop, by: step).enumerated() {
                places[first + offset] = row * hybridSide + column
            }
        }
        return places
    }

    /// A recording's electrodes as a square that a decoder takes.
    ///
    /// - Parameters:
    ///   - ecog: (N, E).
    ///   - selection: which electrodes.
    ///   - quarterTurns: counter-clockwise turns of the hybrid grid afterwards (3 for subject NY742 of
    ///     neural_speech_decoding).
    ///   - bad: electrodes to silence, numbered from 0 as in the recording.
    /// - Returns: (N, electrodes of the square).
    /// - Throws: `EdgeError` of kind `input`: no matrix, electrodes with values that are not finite (listed), or a
    ///   number that fits no grid; of kind `config`: a bad electrode that does not exist.
    public static func arrange(
        _ ecog: NDArray<Float>, selection: Selection = .all, quarterTurns: Int = 0, bad: [Int] = []
    ) throws -> NDArray<Float> {
        guard ecog.shape.count == 2 else {
            throw EdgeError(
                .input, "ecog", got: "shape \(described(ecog.shape))", expected: "(frames, electrodes)")
        }
        let electrodes = ecog.columns
        let wrong = Set(bad.filter { !(0..<electrodes ~= $0) }).sorted()
        guard wrong.isEmpty else {
            throw EdgeError(
                .config, "bad", got: wrong.map(String.init).joined(separator: ", "),
                expected: "numbers from 0 to \(electrodes - 1)")
        }
        let quiet = try silenced(ecog, bad)
        switch selection {
        case .coarse, .extended:
            let wanted = selection == .coarse ? coarseCount : extendedCount
            guard electrodes >= wanted else {
                throw EdgeError(
                    .input, "ecog", got: "\(electrodes) electrodes", expected: "at least \(wanted)")
            }
            return quiet.slice(0..<wanted, fill: 0)
        case .all where electrodes == hybridCount: return hybrid(quiet, quarterTurns)
        case .all:
            let side = Int(Double(electrodes).squareRoot().rounded())
            guard side * side == electrodes else {
                throw EdgeError(
                    .input, "ecog", got: "\(electrodes) electrodes",
                    expected: "a square such as 64 or 225, or the 128 of a hybrid grid",
                    cause: "is it (time, electrodes)? coarse takes the first 64 of a hybrid grid")
            }
            return quiet
        }
    }

    /// (N, 128) → (N, 225), zeros where no electrode is.
    private static func hybrid(_ ecog: NDArray<Float>, _ quarterTurns: Int) -> NDArray<Float> {
        let (side, cells) = (hybridSide, hybridSide * hybridSide)
        let places = hybridPlaces.map { place -> Int in
            var (row, column) = (place / side, place % side)
            // the cell at (i, j) moves to (n − 1 − j, i)
            for _ in 0..<((quarterTurns % 4) + 4) % 4 { (row, column) = (side - 1 - column, row) }
            return row * side + column
        }
        var result = NDArray<Float>(repeating: 0, shape: [ecog.rows, cells])
        for frame in 0..<ecog.rows {
            for (electrode, place) in places.enumerated() {
                result.values[frame * cells + place] = ecog.values[frame * hybridCount + electrode]
            }
        }
        return result
    }

    private static func silenced(_ ecog: NDArray<Float>, _ bad: [Int]) throws -> NDArray<Float> {
        let columns = ecog.columns
        var quiet = ecog
        for electrode in bad {
            for frame in 0..<quiet.rows { quiet.values[frame * columns + electrode] = 0 }
        }
        let broken = Set(quiet.values.indices.filter { !quiet.values[$0].isFinite }.map { $0 % columns })
        guard broken.isEmpty else {
            let numbers = broken.sorted().map(String.init)
            throw EdgeError(
                .input, "ecog",
                got: "NaN or infinite values in electrode\(broken.count > 1 ? "s" : "") "
                    + numbers.joined(separator: ", "),
                expected: "numbers", cause: "silence them with bad: [\(numbers.joined(separator: ", "))]")
        }
        return quiet
    }
}
