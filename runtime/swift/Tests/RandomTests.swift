import EdgeRuntime
import XCTest

/// numpy's generator: what a seed gives there, it gives here.
final class RandomTests: XCTestCase {
    private let folder = Folders.numbers.appendingPathComponent("random")

    /// Several kinds of numbers, one after another from one generator: to the last bit, but where the system's
    /// logarithm counts.
    func testSeedsGiveTheNumbersOfNumpy() throws {
        let seeds = try Folders.names(folder).compactMap(UInt64.init)
        XCTAssertEqual(seeds.count, 6)
        var (worst, differing) = (0.0, 0)
        for seed in seeds {
            let place = folder.appendingPathComponent("\(seed)")
            func expected(_ name: String) throws -> NDArray<Double> { try array(place, name) }
            var random = NumpyRandom(seed: seed)
            let uniform = try expected("random")
            XCTAssertEqual(try random.random(uniform.shape), uniform, "\(seed)")
            let single = try expected("random_float32")
            XCTAssertEqual(try random.randomSingle(single.shape), single.float32, "\(seed)")
            let normal = try expected("normal")
            let found = try random.standardNormal(normal.shape)
            let singles = try expected("normal_float32")
            let foundSingles = try random.standardNormalSingle(singles.shape)
            for (truth, number) in zip(normal.values, found.values) where truth != number {
                (differing, worst) = (differing + 1, max(worst, abs(truth / number - 1)))
            }
            for (truth, number) in zip(singles.values, foundSingles.values) {
                XCTAssertEqual(Float(truth), number, accuracy: 1e-6 * abs(number), "\(seed)")
            }
            let extreme = normal.values.map(abs).max() ?? 0
            XCTAssertGreaterThan(extreme, 3.66, "\(seed): no number of the tail was drawn")
        }
        XCTAssertLessThan(worst, 1e-15)
        print(String(format: "random: %d of 600000 normal numbers differ, by %.1e", differing, worst))
    }

    /// Every layer of the ziggurat is one that numpy has: its table is the recurrence, computed with care in Python.
    func testTheTableIsTheRecurrence() throws {
        XCTAssertEqual(Ziggurat.edges, try array(folder, "edges").values)
        // what makes it a ziggurat: layers of one area
        for layer in 1..<255 {
            let height = Ziggurat.heights[layer] - Ziggurat.heights[layer + 1]
            XCTAssertEqual(Ziggurat.edges[layer] * height, Ziggurat.area, accuracy: 1e-15)
        }
    }

    func testNumbersOfNumpysDocumentation() {  // default_rng(42).random(2), default_rng(0).standard_normal()
        var random = NumpyRandom(seed: 42)
        XCTAssertEqual(random.uniform(), 0.7739560485559633)
        XCTAssertEqual(random.uniform(), 0.4388784397520523)
        var first = NumpyRandom(seed: 0)
        XCTAssertEqual(first.normal(), 0.12573022, accuracy: 1e-8)
    }

    func testShapesThatAreNoneAreRefused() throws {
        var random = NumpyRandom(seed: 1)
        for shape in [[-1], [1 << 40], [Int.max, 2], [3, -2]] {
            XCTAssertEqual(refusal { _ = try random.standardNormal(shape) }?.what, "shape")
        }
        XCTAssertEqual(try random.random([0, 3]).values, [])
        XCTAssertEqual(try random.random([]).values.count, 1)
    }
}
