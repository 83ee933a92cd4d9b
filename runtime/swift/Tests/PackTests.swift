import EdgeRuntime
import XCTest

/// Packs of `edge-export reference`, right and with the faults of known ports.
final class PackTests: XCTestCase {
    func testPacksOfFourPipelinesPass() async throws {
        let folder = Folders.written.appendingPathComponent("packs")
        let names = try Folders.names(folder)
        XCTAssertEqual(names.count, 6)
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

    func testWhatIsNoPackIsRefused() async throws {
        let error = await refusal { _ = try await PackCheck(Folders.goldens) }
        XCTAssertEqual(error?.got, "no such file")
        let pack = Folders.written.appendingPathComponent("packs/vocoder")
        let other = await refusal { _ = try await PackCheck(pack, tolerance: -1) }
        XCTAssertEqual(other?.kind, .config)
    }
}
