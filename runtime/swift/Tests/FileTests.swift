import EdgeRuntime
import XCTest

final class FileTests: XCTestCase {
    private var scratch = URL(fileURLWithPath: "/")

    override func setUpWithError() throws {
        scratch = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: scratch, withIntermediateDirectories: true)
    }

    override func tearDownWithError() throws { try FileManager.default.removeItem(at: scratch) }

    func testEveryTypeAndOrderOfNumpy() throws {
        let folder = Folders.numbers.appendingPathComponent("arrays")
        var seen = Set<DType>()
        for file in try Folders.names(folder) where file.count == 6 {
            let label = String(file.dropLast(4))
            let truth = try array(folder, "\(label)_float64").values
            for name in [label, "\(label)_fortran"] {
                let read = try NpyArray(contentsOf: folder.appendingPathComponent("\(name).npy"))
                XCTAssertEqual(read.shape, [2, 3, 4])
                XCTAssertEqual(read.parts, truth, name)
                seen.insert(read.dtype)
            }
            try checkRoundTrip(folder.appendingPathComponent(file), truth)
        }
        XCTAssertGreaterThanOrEqual(seen.count, 11)
        XCTAssertEqual(try array(folder, "scalar"), try NDArray(shape: [], values: [3.5]))
        XCTAssertEqual(try array(folder, "empty").shape, [0, 3])
    }

    /// What is written is what numpy.save writes, byte by byte, where numpy wrote little-endian.
    private func checkRoundTrip(_ file: URL, _ truth: [Double]) throws {
        let bytes = try Array(Data(contentsOf: file))
        let read = try NpyArray(parsing: bytes)
        let shape = read.dtype.isComplex ? read.shape + [2] : read.shape
        let written = try Npy.encode(NDArray(shape: shape, values: truth), as: read.dtype)
        if !String(decoding: bytes[10..<128], as: UTF8.self).contains("'>") { XCTAssertEqual(written, bytes) }
        XCTAssertEqual(try NpyArray(parsing: written).parts, truth)
    }

    func testGoldensAreReadAndWrittenBack() throws {
        for rate in [11413, 16000, 22050] {
            let folder = Folders.goldens.appendingPathComponent("signals/\(rate)")
            for name in try Folders.names(folder) {
                let file = folder.appendingPathComponent(name)
                let copy = scratch.appendingPathComponent(name)
                try Npy.write(NpyArray(contentsOf: file).float32(), to: copy)
                XCTAssertEqual(try Data(contentsOf: copy), try Data(contentsOf: file))
            }
        }
    }

    func testIntegersTakeWholeNumbersAlone() throws {
        let halves = try NDArray(shape: [1], values: [0.5])
        XCTAssertNotNil(refusal { _ = try Npy.encode(halves, as: .int8) })
        XCTAssertNotNil(refusal { _ = try Npy.encode(NDArray(shape: [1], values: [300.0]), as: .uint8) })
    }

    /// Whatever is cut off or changed, the answer is an array or a refusal, never a trap.
    func testDamagedArrays() throws {
        var random = Random(3)
        let folder = Folders.numbers.appendingPathComponent("arrays")
        for name in ["05", "09_fortran", "13"] {
            let bytes = try Array(Data(contentsOf: folder.appendingPathComponent("\(name).npy")))
            for length in 0..<bytes.count {
                XCTAssertNotNil(refusal { _ = try NpyArray(parsing: Array(bytes[..<length])) }, "\(length)")
            }
            for _ in 0..<2000 {
                var damaged = bytes
                for _ in 0..<Int.random(in: 1...3, using: &random) {
                    damaged[Int.random(in: 0..<128, using: &random)] = UInt8.random(
                        in: 0...255, using: &random)
                }
                if let read = try? NpyArray(parsing: damaged) { _ = read.parts.count }
            }
        }
        for shape in ["(99999999999, 99999999999)", "(-1,)", "(9223372036854775807, 2)", "(1e3,)", "(3", "3"]
        {
            let header = "{'descr': '<f8', 'fortran_order': False, 'shape': \(shape), }\n"
            let bytes =
                [0x93] + Array("NUMPY".utf8) + [1, 0, UInt8(header.utf8.count), 0] + Array(header.utf8)
            XCTAssertNotNil(refusal { _ = try NpyArray(parsing: bytes) }, shape)
        }
        XCTAssertTrue(
            refusal { _ = try NpyArray(contentsOf: scratch.appendingPathComponent("none.npy")) }?.description
                .contains("none.npy: file: got no such file") ?? false)
    }

    func testSoundsAreThoseOfPython() throws {
        let folder = Folders.numbers.appendingPathComponent("sounds")
        let samples = try array(folder, "samples").float32.values
        for subtype in [Audio.Subtype.pcm16, .pcm24, .pcm32, .float32] {
            let file = folder.appendingPathComponent("\(subtype.rawValue).wav")
            let audio = try Audio(contentsOf: file)
            XCTAssertEqual(audio.sampleRate, 16000)
            XCTAssertEqual(audio.samples, try array(folder, subtype.rawValue).float32.values)
            let written = try Audio(samples: samples, sampleRate: 16000).encoded(as: subtype)
            XCTAssertEqual(written, try Array(Data(contentsOf: file)), subtype.rawValue)
        }
    }

    func testChannelsAreAveraged() throws {
        var bytes = try Audio(samples: [0.5, -0.25, 0.125, 0.375], sampleRate: 16000).encoded()
        bytes[22] = 2  // channels
        bytes[32] = 4  // bytes of a frame
        XCTAssertEqual(try Audio(parsing: bytes).samples, [0.125, 0.25])
    }

    func testDamagedSounds() throws {
        var random = Random(4)
        let bytes = try Audio(samples: random.noise(40), sampleRate: 16000).encoded(as: .float32)
        for length in 0..<bytes.count {
            XCTAssertNotNil(refusal { _ = try Audio(parsing: Array(bytes[..<length])) })
        }
        for _ in 0..<5000 {
            var damaged = bytes
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                damaged[Int.random(in: 0..<60, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            _ = try? Audio(parsing: damaged)
        }
        XCTAssertEqual(refusal { _ = try Audio(samples: [], sampleRate: 8000).encoded() }?.what, "samples")
        XCTAssertEqual(
            refusal { _ = try Audio(samples: [.nan], sampleRate: 8000).encoded() }?.got, "NaN or infinity")
    }

    func testJSON() throws {
        let text = #"{"a": [1, 2.5, -3e2, true, null], "b": {"ü\n\u00e4\ud83d\ude00": "x"}, "c": 1.0}"#
        let value = try JSON(parsing: Array(text.utf8))
        XCTAssertEqual(value["a"]?.array, [.int(1), .double(2.5), .double(-300), .bool(true), .null])
        XCTAssertEqual(value["b"]?["ü\nä😀"], .string("x"))
        XCTAssertEqual(value["c"], .double(1))
        for wrong in [
            "", "{", "[1,]", "{\"a\" 1}", "nul", "01x", "\"\\u12\"", "\"\\ud800\"", "[1] 2", "-", "1e999",
            "\"\u{1}\"",
            String(repeating: "[", count: 100_000),
        ] {
            XCTAssertNotNil(refusal { _ = try JSON(parsing: Array(wrong.utf8)) }, String(wrong.prefix(9)))
        }
        XCTAssertNotNil(refusal { _ = try JSON(parsing: [0x22, 0xFF, 0x22]) })
        XCTAssertEqual(try JSON(parsing: Array(value.text.utf8)), value)
    }

    func testMetricsAreThoseOfPython() throws {
        for pair in try XCTUnwrap(json("metrics.json").array) {
            let (a, b) = (pair["reference"]?.array ?? [], pair["candidate"]?.array ?? [])
            let result = try Comparison(
                reference: vector(a.compactMap(\.double)), candidate: vector(b.compactMap(\.double)))
            XCTAssertEqual(result.maxAbs, try XCTUnwrap(pair["max_abs"]?.double), accuracy: 1e-15)
            XCTAssertEqual(result.meanAbs, try XCTUnwrap(pair["mean_abs"]?.double), accuracy: 1e-15)
            XCTAssertEqual(result.medianAbs, try XCTUnwrap(pair["median_abs"]?.double), accuracy: 1e-15)
            XCTAssertEqual(result.meanRel, try XCTUnwrap(pair["mean_rel"]?.double), accuracy: 1e-12)
            XCTAssertEqual(result.cosine, try XCTUnwrap(pair["cosine"]?.double), accuracy: 1e-15)
            XCTAssertEqual(result.passed, pair["passed"]?.bool)
            XCTAssertEqual(result.reason, pair["reason"]?.string)
            if let snr = pair["snr_db"]?.double { XCTAssertEqual(result.snrDB, snr, accuracy: 1e-9) }
        }
    }

    func testWhatCannotBeComparedSaysWhy() throws {
        let truth = NDArray(repeating: 1.0, shape: [4, 6])
        for (shape, clue) in [
            ([6, 4], "transposed?"), ([1, 4, 6], "axis of length 1"), ([4, 5], "1 fewer along axis 1"),
            ([3, 8], "axes in another order?"),
        ] {
            let result = try Comparison(reference: truth, candidate: NDArray(repeating: 1, shape: shape))
            XCTAssertFalse(result.passed)
            XCTAssertTrue(result.reason.contains(clue), result.reason)
        }
        var wrong = truth
        wrong[2, 3] = .nan
        let reason = try Comparison(reference: truth, candidate: wrong).reason
        XCTAssertTrue(reason.hasSuffix("the first (nan) at (2, 3)"), reason)
        XCTAssertNotNil(refusal { _ = try Comparison(reference: truth, candidate: truth, tolerance: -1) })
    }
}
