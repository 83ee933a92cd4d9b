import EdgeRuntime
import Foundation
import XCTest

/// The repository, and what `make test-swift` has numpy write into it.
enum Folders {
    static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()
    static let goldens = root.appendingPathComponent("reference_data")
    static let written = root.appendingPathComponent(".build/packs")
    static let numbers = written.appendingPathComponent("numbers")

    static func names(_ folder: URL) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
    }
}

func array(_ folder: URL, _ name: String) throws -> NDArray<Double> {
    try NpyArray(contentsOf: folder.appendingPathComponent("\(name).npy")).float64()
}

func json(_ name: String) throws -> JSON {
    try JSON(parsing: Array(Data(contentsOf: Folders.numbers.appendingPathComponent(name))))
}

func golden(_ rate: Int, _ name: String) throws -> [Float] {
    let file = Folders.goldens.appendingPathComponent("signals/\(rate)/\(name).npy")
    return try NpyArray(contentsOf: file).float32().values
}

/// Largest absolute difference; infinite where the shapes differ or a value is not finite.
func distance(_ a: NDArray<Double>, _ b: NDArray<Double>) -> Double {
    guard a.shape == b.shape, !a.values.isEmpty else { return .infinity }
    return zip(a.values, b.values).reduce(0) { worst, pair in
        let difference = abs(pair.0 - pair.1)
        return difference.isNaN ? .infinity : max(worst, difference)
    }
}

func vector(_ values: [Double]) -> NDArray<Double> {
    var result = NDArray<Double>(repeating: 0, shape: [values.count])
    result.values = values
    return result
}

func vector(_ values: [Float]) -> NDArray<Double> { vector(values.map { Double($0) }) }

/// The refusal that a body throws; fails where it throws none.
func refusal(_ body: () throws -> Void, file: StaticString = #filePath, line: UInt = #line) -> EdgeError? {
    do {
        try body()
        XCTFail("nothing was refused", file: file, line: line)
    } catch let error as EdgeError {
        return error
    } catch {
        XCTFail("\(error) is no EdgeError", file: file, line: line)
    }
    return nil
}

func refusal(
    _ body: () async throws -> Void, file: StaticString = #filePath, line: UInt = #line
) async -> EdgeError? {
    do {
        try await body()
        XCTFail("nothing was refused", file: file, line: line)
    } catch let error as EdgeError {
        return error
    } catch {
        XCTFail("\(error) is no EdgeError", file: file, line: line)
    }
    return nil
}

/// The same numbers in every run (splitmix64).
struct Random: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: Int) { state = UInt64(truncatingIfNeeded: seed) }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    mutating func noise(_ count: Int) -> [Float] {
        (0..<count).map { _ in Float.random(in: -0.5...0.5, using: &self) }
    }

    /// Pieces of random sizes, some of them empty, that make up so many.
    mutating func pieces(_ count: Int, upTo largest: Int) -> [Range<Int>] {
        var (start, found) = (0, [Range<Int>]())
        while start < count {
            let size = min(Int.random(in: 0...largest, using: &self), count - start)
            found.append(start..<start + size)
            start += size
        }
        return found
    }
}
