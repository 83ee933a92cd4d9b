import EdgeRuntime
import XCTest

/// The streaming Griffin-Lim against numpy's.
final class RealtimeTests: XCTestCase {
    private let folder = Folders.numbers.appendingPathComponent("realtime")

    private func stream(_ place: URL) throws -> (RealtimeGriffinLim, NDArray<Double>, [Int]) {
        let framing = try array(place, "framing").values.map { Int($0) }
        let padding = place.lastPathComponent.split(separator: "_")[0]
        let config = try StftConfig(
            nFFT: framing[0], hopLength: framing[1], winLength: framing[2],
            padding: XCTUnwrap(Padding(rawValue: String(padding))))
        return (
            try RealtimeGriffinLim(config, lookAhead: framing[3], iterations: 4),
            try array(place, "magnitude"), framing
        )
    }

    func testStreamsAreThoseOfNumpy() throws {
        var random = Random(51)
        var worst = 0.0
        let names = try Folders.names(folder)
        XCTAssertEqual(names.count, 20)
        for name in names {
            let place = folder.appendingPathComponent(name)
            var (stream, magnitude, framing) = try stream(place)
            XCTAssertEqual(stream.latency, framing[4], name)
            let truth = try array(place, "samples")
            var whole: [Double] = []
            for turn in 0..<2 {  // at once, then in pieces; the second stream knows nothing of the first
                var samples: [Double] = []
                let pieces =
                    turn == 0 ? [0..<magnitude.columns] : random.pieces(magnitude.columns, upTo: 4)
                for piece in pieces { samples += try stream.push(magnitude.slice(piece, fill: 0)) }
                XCTAssertEqual(samples.count, framing[5], name)
                samples += stream.flush()
                if turn == 0 { whole = samples }
                XCTAssertEqual(samples, whole, name)
            }
            if truth.values.isEmpty {  // the padding is all that one frame covers
                XCTAssertEqual(whole, [], name)
                continue
            }
            let error = distance(truth, vector(whole))
            // from phase zero bins that are zero but for rounding have noise for a phase: without padding, where a
            // window's edge stands alone, that shows
            XCTAssertLessThan(error, name.hasPrefix("none") ? 1e-4 : 1e-8, name)
            worst = name.hasPrefix("none") ? worst : max(worst, error)
        }
        print(String(format: "streaming Griffin-Lim: %.1e", worst))
    }

    func testByDefaultAFrameWaitsForAllThatOverlapIt() throws {
        let config = try StftConfig(nFFT: 1024, hopLength: 256, padding: .centerZero)
        var stream = try RealtimeGriffinLim(config, iterations: 1)
        XCTAssertEqual(stream.lookAhead, 3)
        XCTAssertEqual(stream.flush(), [])
        let samples = try stream.push(NDArray(repeating: 1, shape: [513, 10])) + stream.flush()
        XCTAssertEqual(samples.count, 2304)
        XCTAssertEqual(try stream.push(NDArray(repeating: 1, shape: [513, 0])), [])
    }

    func testStreamsRefuse() throws {
        let config = try StftConfig(nFFT: 64, hopLength: 16)
        for lookAhead in [-1, 5000, Int.max] {
            XCTAssertEqual(
                refusal { _ = try RealtimeGriffinLim(config, lookAhead: lookAhead) }?.what, "look_ahead")
        }
        XCTAssertEqual(refusal { _ = try RealtimeGriffinLim(config, momentum: 2) }?.what, "momentum")
        XCTAssertEqual(refusal { _ = try RealtimeGriffinLim(config, iterations: -1) }?.what, "n_iter")
        XCTAssertEqual(
            refusal { _ = try RealtimeGriffinLim(StftConfig(nFFT: 64, hopLength: 64)) }?.what, "hop_length")
        var stream = try RealtimeGriffinLim(config)
        for (shape, value) in [([33, 2], -1.0), ([32, 2], 1), ([33], 1), ([33, 2], .nan), ([0, 0], 1)] {
            XCTAssertEqual(
                refusal { _ = try stream.push(NDArray(repeating: value, shape: shape)) }?.what, "magnitude")
        }
    }
}
