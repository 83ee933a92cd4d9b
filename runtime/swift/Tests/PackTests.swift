import EdgeRuntime
import XCTest

/// Packs of `edge-export reference`, right and with the faults of known ports.
final class PackTests: XCTestCase {
    func testPacksOfFourPipelinesPass() async throws {
        let folder = Folders.written.appendingPathComponent("packs")
        let names = try Folders.names(folder)
        XCTAssertEqual(names.count, 7)
        for name in names {
            let check = try await PackCheck(folder.appendingPathComponent(name))
            XCTAssertTrue(check.passed, "\(name)\n\(check.table)")
            print("pack \(name)\n\(check.table)")
            let computed = check.stages.filter { $0.status == .pass }
            XCTAssertGreaterThan(computed.count, name == "vocoder" ? 0 : 2)
            let worst = computed.map(\.maxAbs).max() ?? .infinity
            XCTAssertLessThan(worst, 1e-4, name)
        }
    }

    func testPlantedFaultsAreFoundAndNamed() async throws {
        let folder = Folders.written.appendingPathComponent("faults")
        let clues = [
            "htk-scale": "mel scale", "symmetric-window": "symmetric Hann window",
            "no-centring": "without centring",
            "512-point-fft": "512-point", "off-by-one-window": "1 mel frames too early",
            "swapped-axes": "axes",
            "swapped-axes-reshaped": "frame_00005", "ends-not-repeated": "2 more along axis 0",
            "vocoder": "above",
            "mri-speech": "above", "mel-inversion-rtmri": "above",
        ]
        XCTAssertEqual(Set(try Folders.names(folder)), Set(clues.keys))
        for (name, clue) in clues {
            let check = try await PackCheck(folder.appendingPathComponent(name))
            XCTAssertFalse(check.passed, name)
            XCTAssertTrue(check.table.contains(clue), "\(name)\n\(check.table)")
            print("fault \(name): \(check.stages.first { $0.status == .fail }?.remark ?? "")")
        }
    }

    /// A fault is named only where it is one: this front end has no pre-emphasis.
    func testWhatIsNoFaultIsNotNamed() async throws {
        let pack = Folders.written.appendingPathComponent("packs/vocoder")
        let check = try await PackCheck(pack, tolerance: 1e-9)
        XCTAssertEqual(check.stages.first?.status, .fail)
        XCTAssertFalse(check.table.contains("it is the mel of"), check.table)
    }

    /// Nets that are given are run: here they are the pack's own arrays, so a net that is off is seen.
    func testNetsThatAreGivenAreRun() async throws {
        let packs = Folders.written.appendingPathComponent("packs")
        let bundles = Folders.written.appendingPathComponent("bundles")
        func net(_ bundle: EdgeBundle, _ asked: NDArray<Float>, _ answered: NDArray<Float>) throws -> PackNet
        {
            let (input, output) = (bundle.manifest.inputs[0].name, bundle.manifest.outputs[0].name)
            return PackNet(
                try RecordedNet(input: input, asked: asked, output: output, answered: answered), of: bundle,
                target: "onnx")
        }
        let encoder = try EdgeBundle(contentsOf: bundles.appendingPathComponent("encoder"))
        let acoustic = try EdgeBundle(contentsOf: bundles.appendingPathComponent("acoustic"))
        for fault in [Float(0), 0.01] {
            let head = packs.appendingPathComponent("talking-head")
            let windows = try array(head, "mel_windows").float32  // (n, 16, 80)
            let turned = try (0..<windows.rows).flatMap { row in
                try NDArray(shape: [16, 80], values: Array(windows.values[row * 1280..<(row + 1) * 1280]))
                    .transposed().values
            }
            let given = try net(
                encoder, NDArray(shape: [windows.rows, 1, 80, 16], values: turned),
                array(head, "audio_features_raw").float32.map { $0 + fault })
            let check = try await PackCheck(head, nets: [given])
            let stage = try XCTUnwrap(check.stages.first { $0.file == "audio_features_raw.npy" })
            XCTAssertEqual(stage.status, fault == 0 ? .pass : .fail, stage.remark)

            let mri = packs.appendingPathComponent("mri-speech")
            let frames = try array(mri, "frames").float32
            let said = try array(mri, "mel_standardised").float32.map { $0 + fault }
            let speaker = try net(
                acoustic, frames.reshaped([1, frames.rows, 1, frames.columns, frames.columns]),
                said.reshaped([1] + said.shape))
            let other = try await PackCheck(mri, nets: [speaker])
            let answer = try XCTUnwrap(other.stages.first { $0.file == "mel_standardised.npy" })
            XCTAssertEqual(answer.status, fault == 0 ? .pass : .fail, answer.remark)
            XCTAssertEqual(other.stages.first { $0.file == "mask.npy" }?.status, .pass)
            let error = await refusal { _ = try await PackCheck(mri, nets: [given]) }
            XCTAssertEqual(error?.got, "a bundle of the net audio-encoder")
        }
    }

    func testWhatIsNoPackIsRefused() async throws {
        let error = await refusal { _ = try await PackCheck(Folders.goldens) }
        XCTAssertEqual(error?.got, "no such file")
        let pack = Folders.written.appendingPathComponent("packs/vocoder")
        let other = await refusal { _ = try await PackCheck(pack, tolerance: -1) }
        XCTAssertEqual(other?.kind, .config)
    }
}
