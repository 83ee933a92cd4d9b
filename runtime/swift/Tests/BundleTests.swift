import EdgeRuntime
import XCTest

final class BundleTests: XCTestCase {
    private var copy = URL(fileURLWithPath: "/")

    override func setUpWithError() throws {
        copy = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.copyItem(at: Folders.numbers.appendingPathComponent("bundle"), to: copy)
    }

    override func tearDownWithError() throws { try FileManager.default.removeItem(at: copy) }

    func testABundleOfPythonOpens() throws {
        let bundle = try EdgeBundle(contentsOf: copy)
        XCTAssertEqual(bundle.manifest.net, "hifigan")
        XCTAssertEqual(bundle.manifest.inputs.map(\.shape), [[.fixed(1), .fixed(5), .named("frames")]])
        XCTAssertEqual(bundle.manifest.geometry.hopLength, 4)
        XCTAssertEqual(bundle.manifest.tolerance["fp32"]?.minSNR, 60)
        XCTAssertEqual(bundle.manifest.frontEnd?.bands, 5)
        XCTAssertEqual(bundle.cases, ["speech"])
        XCTAssertEqual(try bundle.reference("speech")["wav"]?.shape, [1, 1, 24])
        XCTAssertEqual(try bundle.artifact(target: "onnx").lastPathComponent, "model.onnx")
        XCTAssertEqual(refusal { _ = try bundle.artifact(target: "coreml") }?.got, "onnx fp32")
    }

    /// One flipped bit anywhere is refused, and the file that holds it is named.
    func testOneFlippedBit() throws {
        var random = Random(5)
        for name in [
            "manifest.json", "model.onnx", "model.onnx.data", "reference/speech/mel.npy",
            "reference/speech/wav.npy",
        ] {
            let file = copy.appendingPathComponent(name)
            let whole = try Data(contentsOf: file)
            for _ in 0..<(name == "manifest.json" ? 400 : 40) {
                var damaged = whole
                damaged[Int.random(in: 0..<whole.count, using: &random)] ^=
                    1 << UInt8.random(in: 0...7, using: &random)
                try damaged.write(to: file)
                let error = refusal { _ = try EdgeBundle(contentsOf: copy) }
                XCTAssertEqual(error?.kind, .bundle)
                XCTAssertTrue(error?.what.contains(file.lastPathComponent) ?? false, error?.description ?? "")
            }
            try whole.write(to: file)
        }
        _ = try EdgeBundle(contentsOf: copy)
    }

    func testPartsThatAreMissingOrTooMany() throws {
        let model = copy.appendingPathComponent("model.onnx")
        let whole = try Data(contentsOf: model)
        try whole.dropLast().write(to: model)
        XCTAssertEqual(
            refusal { _ = try EdgeBundle(contentsOf: copy) }?.cause,
            "it was copied or downloaded only in part")
        try FileManager.default.removeItem(at: model)
        XCTAssertEqual(refusal { _ = try EdgeBundle(contentsOf: copy) }?.got, "no such file")
        try whole.write(to: model)
        let extra = copy.appendingPathComponent("notes.txt")
        try Data().write(to: extra)
        XCTAssertEqual(
            refusal { _ = try EdgeBundle(contentsOf: copy) }?.got, "a file that the manifest does not list")
        try FileManager.default.removeItem(at: extra)
        try FileManager.default.removeItem(at: copy.appendingPathComponent("manifest.json"))
        XCTAssertEqual(refusal { _ = try EdgeBundle(contentsOf: copy) }?.cause, "is this a bundle's folder?")
    }

    func testManifestsThatAreNone() throws {
        let whole = try Array(Data(contentsOf: copy.appendingPathComponent("manifest.json")))
        for length in stride(from: 0, to: whole.count, by: 7) {
            XCTAssertEqual(refusal { _ = try Manifest(parsing: Array(whole[..<length])) }?.kind, .bundle)
        }
        XCTAssertTrue(
            refusal { _ = try Manifest(parsing: Array("{\"format\": \"edge-bundle/2\"}".utf8)) }?.cause
                .contains("another version") ?? false)
        XCTAssertEqual(refusal { _ = try Manifest(parsing: Array("{}".utf8)) }?.got, "no format")
    }

    /// Manifests that a hash seals, with entries that lead elsewhere.
    func testPathsAndLengthsThatAreNone() throws {
        let file = copy.appendingPathComponent("manifest.json")
        let whole = try String(contentsOf: file, encoding: .utf8)
        func sealed(_ from: String, _ to: String) throws -> [UInt8] {
            var text = whole.replacingOccurrences(of: from, with: to)
            let line = try XCTUnwrap(
                text.range(of: #"\n  "sha256": "[0-9a-f]{64}","#, options: .regularExpression))
            text.removeSubrange(line)
            let hash = SHA256.hash(Array(text.utf8))
            text.insert(contentsOf: "\n  \"sha256\": \"\(hash)\",", at: text.index(after: text.startIndex))
            return Array(text.utf8)
        }
        XCTAssertNoThrow(try Manifest(parsing: sealed("", "")))
        for path in ["../secret", "tokenizer/../x", "tokenizer/a/b", "/etc/passwd", "notes.txt", ""] {
            let entry = "{\"bytes\": 1, \"path\": \"\(path)\", \"sha256\": \"0\"}"
            let error = refusal {
                _ = try Manifest(parsing: sealed("\"front_end\"", "\"files\": [\(entry)],\n  \"front_end\""))
            }
            XCTAssertEqual(error?.what, "path", path)
        }
    }

    func testShapesAreChecked() throws {
        let tensor = try EdgeBundle(contentsOf: copy).manifest.inputs[0]
        var lengths: [String: Int] = [:]
        try tensor.check([1, 5, 7], lengths: &lengths)
        XCTAssertEqual(lengths, ["frames": 7])
        for (shape, clue) in [([1, 7, 5], "are two axes swapped?"), ([5, 7], "is the batch axis missing?")] {
            XCTAssertEqual(refusal { try tensor.check(shape, lengths: &lengths) }?.cause, clue)
        }
        XCTAssertEqual(refusal { try tensor.check([1, 5, 8], lengths: &lengths) }?.got, "8 frames (axis 2)")
    }
}
