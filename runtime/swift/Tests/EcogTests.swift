import EdgeRuntime
import XCTest

/// Items of ECoG, as Python cuts them.
final class EcogTests: XCTestCase {
    private let folder = Folders.numbers.appendingPathComponent("ecog")

    private func recording() throws -> EcogRecording {
        func numbers(_ name: String) throws -> [Int] { try array(folder, name).values.map { Int($0) } }
        return try EcogRecording(
            ecog: array(folder, "ecog").float32, onsets: numbers("onsets"), offsets: numbers("offsets"))
    }

    func testWindowsBeginWherePythonsDo() throws {
        let counts = try XCTUnwrap(json("ecog/windows.json").object)
        XCTAssertEqual(counts.count, 6)
        for (frames, starts) in counts {
            let found = try EcogItems.starts(frames: XCTUnwrap(Int(frames)))
            XCTAssertEqual(found, starts.array?.compactMap(\.int), frames)
        }
    }

    func testTrialsAreThoseOfPython() throws {
        let recording = try recording()
        for trial in recording.onsets.indices {
            let item = try recording.item(trial: trial)
            XCTAssertEqual(item.ecog.float64, try array(folder, "trial_\(trial)"))
            XCTAssertEqual(item.ecog.shape, [144, 16])
        }
        // by hand: the first trial begins at 120, its window 32 earlier, its past 16 before that
        let first = try recording.item(trial: 0)
        XCTAssertEqual(first.first, 88)
        XCTAssertEqual(first.ecog[16, 3], recording.ecog[88, 3])
        // 700 − 32 lies inside; a trial near the end moves back, one at the beginning forward
        XCTAssertEqual(try recording.item(trial: 3).first, 668)
        let ends = try EcogRecording(ecog: recording.ecog, onsets: [899, 0], offsets: [900, 5])
        XCTAssertEqual(try ends.item(trial: 0).first, 900 - 128)
        XCTAssertEqual(try ends.item(trial: 1).first, 16)
        XCTAssertEqual(try ends.item(trial: 1).ecog[0, 0], recording.ecog[0, 0])
        for trial in [-1, 4, Int.max] {
            XCTAssertEqual(refusal { _ = try recording.item(trial: trial) }?.what, "trial")
        }
    }

    /// What the windows' own frames hold, put together, is the recording without its past.
    func testWindowsPutTogetherAreTheRecording() throws {
        var random = Random(31)
        for count in [128, 129, 200, 256, 300, 517] {
            let values = random.noise((count + 16) * 4)
            let ecog = try NDArray(shape: [count + 16, 4], values: values)
            let items = try EcogItems.items(of: ecog)
            let parts = items.map { $0.ecog.transposed().slice(16..<144, fill: 0) }
            let whole = try EcogItems.assembled(parts, frames: count)
            XCTAssertEqual(whole, ecog.transposed().slice(16..<count + 16, fill: 0))
        }
        // samples: three a frame, the last window counts
        let samples = [1, 2].map { NDArray<Float>(repeating: $0, shape: [1, 384]) }
        let wave = try EcogItems.assembled(samples, frames: 130)
        XCTAssertEqual(wave.values.prefix { $0 == 1 }.count, 6)
        XCTAssertEqual(wave.shape, [1, 390])
        for parts in [[], [samples[0]], [samples[0], samples[1].transposed()]] {
            XCTAssertEqual(refusal { _ = try EcogItems.assembled(parts, frames: 130) }?.what, "windows")
        }
    }

    func testGridsAreThoseOfPython() throws {
        let hybrid = try array(folder, "hybrid").float32
        for turns in 0..<4 {
            let truth = try array(folder, "hybrid_\(turns)").float32
            XCTAssertEqual(
                try ElectrodeGrid.arrange(hybrid, quarterTurns: turns, bad: [3, 127]), truth, "\(turns)")
            XCTAssertEqual(
                try ElectrodeGrid.arrange(hybrid, quarterTurns: turns - 8, bad: [3, 127]), truth, "\(turns)")
        }
        XCTAssertEqual(
            try ElectrodeGrid.arrange(hybrid, selection: .coarse), try array(folder, "coarse").float32)
        XCTAssertEqual(
            try ElectrodeGrid.arrange(hybrid, selection: .extended), try array(folder, "extended").float32)
        XCTAssertEqual(Set(ElectrodeGrid.hybridPlaces).count, 128)
    }

    func testRecordingsThatAreNone() throws {
        let ecog = NDArray<Float>(repeating: 1, shape: [200, 64])
        for (shape, clue) in [
            ([143, 4], ""), ([64, 200], "transposed: pass ecog.T"), ([200], ""), ([200, 0], ""),
            ([0, 0], ""),
        ] {
            let error = refusal { _ = try EcogItems.items(of: NDArray(repeating: 0, shape: shape)) }
            XCTAssertEqual(error?.cause, clue)
        }
        for (value, got) in [(Float(70), "values up to 70"), (.nan, "NaN or infinite values")] {
            var wrong = ecog
            wrong[7, 5] = value
            XCTAssertEqual(refusal { _ = try EcogItems.items(of: wrong) }?.got, got)
        }
        var broken = ecog
        (broken[7, 5], broken[9, 60]) = (.nan, -.infinity)
        let error = refusal { _ = try ElectrodeGrid.arrange(broken) }
        XCTAssertEqual(error?.got, "NaN or infinite values in electrodes 5, 60")
        XCTAssertEqual(try ElectrodeGrid.arrange(broken, bad: [5, 60])[7, 5], 0)
        for (electrodes, selection, expected) in [
            (65, ElectrodeGrid.Selection.all, "a square such as 64 or 225, or the 128 of a hybrid grid"),
            (63, .coarse, "at least 64"), (99, .extended, "at least 100"),
        ] {
            let wrong = NDArray<Float>(repeating: 0, shape: [3, electrodes])
            XCTAssertEqual(
                refusal { _ = try ElectrodeGrid.arrange(wrong, selection: selection) }?.expected, expected)
        }
        XCTAssertEqual(refusal { _ = try ElectrodeGrid.arrange(ecog, bad: [64, -1]) }?.got, "-1, 64")
        for (onsets, offsets, what) in [
            ([5], [], "end_ind_re_valid_alldataset"), ([], [], "end_ind_re_valid_alldataset"),
            ([5], [5], "trial 0"), ([5, -1], [9, 9], "trial 1"), ([5], [201], "trial 0"),
            ([Int.min], [Int.max], "trial 0"),
        ] {
            XCTAssertEqual(
                refusal { _ = try EcogRecording(ecog: ecog, onsets: onsets, offsets: offsets) }?.what, what)
        }
        XCTAssertNotNil(refusal { _ = try EcogItems.starts(frames: Int.max) })
    }

    func testPowerAndBackgroundAreThoseOfPython() throws {
        let spectrogram = try array(folder, "spectrogram").float32
        let onsets = try array(folder, "onsets").values.map { Int($0) }
        let noise = try EcogItems.background(spectrogram, onsets: onsets)
        let truth = try array(folder, "background")
        for (found, expected) in zip(noise, truth.values) {
            XCTAssertEqual(Double(found), expected, accuracy: 1e-5 * expected)
        }
        XCTAssertEqual(noise.count, truth.values.count)
        let part = try NDArray(
            shape: [40, spectrogram.columns], values: Array(spectrogram.values[..<(40 * spectrogram.columns)])
        )
        let power = EcogItems.power(of: part, floorDB: -60, topDB: 10)
        for (found, expected) in zip(power.values, try array(folder, "power").values) {
            XCTAssertEqual(Double(found), expected, accuracy: 1e-6 * expected)
        }
        for onsets in [[], [3], [Int.max, Int.min]] {
            XCTAssertEqual(
                refusal { _ = try EcogItems.background(spectrogram, onsets: onsets) }?.what, "onsets")
        }
    }
}
