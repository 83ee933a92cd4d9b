import EdgeRuntime
import XCTest

/// Polygons, filled and blurred as Python does it, which does it as OpenCV does.
final class MaskTests: XCTestCase {
    func testMasksAreThoseOfPython() throws {
        let about = try json("masks/masks.json")
        let folder = Folders.numbers.appendingPathComponent("masks")
        let (polygons, sizes) = (about["polygons"]?.array ?? [], about["sizes"]?.array ?? [])
        var worst = 0.0
        for (number, polygon) in polygons.enumerated() {
            let polygon = try Polygon(parsing: XCTUnwrap(polygon.string))
            for (size, values) in sizes.enumerated() {
                let numbers = values.array?.compactMap(\.double) ?? []
                let weights = try polygon.weights(
                    height: Int(numbers[0]), width: Int(numbers[1]), alpha: numbers[2], blur: Int(numbers[3]))
                let error = distance(try array(folder, "\(number)_\(size)"), weights.float64)
                XCTAssertLessThan(error, 1e-6, "\(number) \(size)")
                worst = max(worst, error)
            }
        }
        XCTAssertEqual(polygons.count * sizes.count, 45)
        print(String(format: "masks: %.1e", worst))
    }

    /// In Python's words, without the dashes of its command line.
    func testPolygonsThatAreNone() throws {
        let refused = try XCTUnwrap(json("masks/masks.json")["refused"]?.object)
        XCTAssertGreaterThan(refused.count, 12)
        for (text, sentence) in refused {
            let words = sentence.string?.replacingOccurrences(of: "--mask", with: "mask")
            XCTAssertEqual(refusal { _ = try Polygon(parsing: text) }?.description, words, text)
        }
        for text in [
            "[", "{\"size\": 1e999}", "nan,1 2,3 4,5", "0x10,1 2,3 4,5", "{}", "[[[1]]]", "1,2,3 4,5 6,7",
        ] {
            XCTAssertEqual(refusal { _ = try Polygon(parsing: text) }?.kind, .input, text)
        }
        for points in [[(0, 0), (.nan, 1), (2, 3)], [(0, 0), (1, .infinity), (2, 3)]] as [[(Double, Double)]]
        {
            XCTAssertNotNil(refusal { _ = try Polygon(points.map { Polygon.Point($0.0, $0.1) }) })
        }
        XCTAssertEqual(
            refusal { _ = try Polygon([.init(0, 0), .init(1, 0), .init(0, 1)], base: .nan) }?.what,
            "mask polygon: size")
    }

    func testOptionsOutOfRange() throws {
        let lip = try Polygon.lip
        for (alpha, blur, side, what) in [
            (-0.1, 11, 40, "alpha"), (1.5, 11, 40, "alpha"), (.nan, 11, 40, "alpha"), (0.1, 0, 40, "blur"),
            (0.1, 256, 40, "blur"), (0.1, 11, 0, "size"), (0.1, 11, 1 << 40, "size"),
        ] {
            let error = refusal { _ = try lip.weights(height: side, width: side, alpha: alpha, blur: blur) }
            XCTAssertEqual(error?.what, what)
        }
        XCTAssertEqual(try lip.weights(height: 1, width: 1).shape, [1, 1])
    }

    /// Any polygon on any small frame: numbers of alpha … 1, never a trap.
    func testAnyPolygon() throws {
        var random = Random(41)
        for _ in 0..<300 {
            let points = (0..<Int.random(in: 3...9, using: &random)).map { _ in
                Polygon.Point(
                    Double.random(in: 0...256, using: &random), Double.random(in: 0...256, using: &random))
            }
            let (height, width) = (
                Int.random(in: 1...30, using: &random), Int.random(in: 1...30, using: &random)
            )
            let weights = try Polygon(points).weights(
                height: height, width: width, alpha: 0.25, blur: Int.random(in: 1...60, using: &random))
            XCTAssertTrue(weights.values.allSatisfy { 0.25...1 ~= $0 })
        }
    }
}
