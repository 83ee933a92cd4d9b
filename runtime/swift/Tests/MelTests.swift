import EdgeRuntime
import XCTest

final class MelTests: XCTestCase {
    /// What the Python tests allow its own float32 path.
    private func allowed(_ preset: String) -> Double {
        preset == "rtmri" ? 2e-5 : preset.hasPrefix("ecog") ? 1e-6 : 2e-6
    }

    func testEveryGoldenOfEveryPreset() throws {
        var count = 0
        for (preset, config) in MelConfig.presets.sorted(by: { $0.key < $1.key }) {
            let frontEnd = try MelFrontEnd(config)
            var (worst, single) = (0.0, 0.0)
            let folder = Folders.goldens.appendingPathComponent("mel/\(preset)")
            for file in try Folders.names(folder) {
                let name = String(file.dropLast(4))
                let truth = try array(folder, name)
                let audio = try name == "sentence" ? sentence() : golden(config.sampleRate, name)
                let error = distance(truth, try frontEnd.float64(audio))
                XCTAssertLessThanOrEqual(error, 1e-9, "\(preset) \(name)")
                worst = max(worst, error)
                single = max(single, distance(truth, try frontEnd(audio).float64))
                count += 1
            }
            XCTAssertLessThanOrEqual(single, allowed(preset), preset)
            print(String(format: "mel %@: float64 %.1e, float32 %.1e", preset, worst, single))
        }
        XCTAssertEqual(count, 73)
    }

    private func sentence() throws -> [Float] {
        let file = Folders.root.appendingPathComponent("export/edge_export/assets/sentence.wav")
        return try Audio(contentsOf: file, sampleRate: 16000).samples
    }

    func testBinsWithoutABank() throws {
        for bins in [256, 512] {
            let folder = Folders.goldens.appendingPathComponent("mel/ecog-\(bins)-bins")
            let config = MelConfig.ecog(bins: bins).with { ($0.nMels, $0.clip) = (nil, true) }
            for file in try Folders.names(folder) {
                let mel = try MelFrontEnd(config).float64(golden(16000, String(file.dropLast(4))))
                XCTAssertLessThanOrEqual(distance(try array(folder, String(file.dropLast(4))), mel), 1e-9)
            }
        }
    }

    func testPresetsAreThoseOfPython() throws {
        let presets = try XCTUnwrap(json("presets.json").object)
        XCTAssertEqual(Set(presets.keys), Set(MelConfig.presets.keys))
        for (name, entries) in presets {
            XCTAssertEqual(try MelConfig(json: entries), try MelConfig.preset(name), name)
        }
    }

    func testFilterBanksAreThoseOfPython() throws {
        for (name, config) in MelConfig.presets {
            let folder = Folders.numbers.appendingPathComponent("inversion/\(name)")
            XCTAssertLessThanOrEqual(distance(try array(folder, "bank"), try filterBank(config)), 1e-13, name)
        }
    }

    /// Each wrong choice of the published ports is far outside the tolerance.
    func testTraps() throws {
        let folder = Folders.goldens.appendingPathComponent("mel/talking-head")
        let truth = try array(folder, "speech")
        let changes: [(inout MelConfig) -> Void] = [
            { $0.melScale = .htk }, { $0.areaNorm = false }, { $0.preEmphasis = 0 }, { $0.power = 2 },
            { ($0.nFFT, $0.winLength) = (512, 512) }, { $0.padding = .centerReflect },
        ]
        for change in changes {
            let mel = try MelFrontEnd(MelConfig.talkingHead.with(change)).float64(golden(16000, "speech"))
            XCTAssertGreaterThan(distance(truth, mel), 1e-3)
        }
    }

    func testStreamsGiveTheFramesOfTheWhole() throws {
        var random = Random(1)
        for padding in Padding.allCases {
            for (nFFT, hop) in [(64, 16), (65, 20), (48, 48), (32, 40)]
            where padding != .reflect || hop <= nFFT {
                let config = MelConfig(sampleRate: 8000, nFFT: nFFT, hopLength: hop, nMels: 6).with {
                    ($0.padding, $0.preEmphasis) = (padding, 0.97)
                }
                let audio = random.noise(nFFT + Int.random(in: 0...400, using: &random))
                let whole = try MelFrontEnd(config)(audio)
                var stream = try StreamingMel(config)
                for _ in 0..<2 {  // the second recording knows nothing of the first
                    var pieces = try random.pieces(audio.count, upTo: 90).map {
                        try stream.push(Array(audio[$0]))
                    }
                    pieces.append(try stream.finish())
                    XCTAssertEqual(joined(pieces), whole, "\(padding) \(nFFT) \(hop)")
                }
            }
        }
    }

    private func joined(_ pieces: [NDArray<Float>]) -> NDArray<Float> {
        let columns = pieces.reduce(0) { $0 + $1.columns }
        var result = NDArray<Float>(repeating: 0, shape: [pieces[0].rows, columns])
        var start = 0
        for piece in pieces {
            for row in 0..<piece.rows {
                for column in 0..<piece.columns { result[row, start + column] = piece[row, column] }
            }
            start += piece.columns
        }
        return result
    }

    func testStreamsRefuseWhatNeedsTheWhole() throws {
        for preset in ["rtmri", "mel-inversion-db", "auffusion"] {
            let error = refusal { _ = try StreamingMel(MelConfig.preset(preset)) }
            XCTAssertEqual(error?.kind, .config)
        }
        var stream = try StreamingMel(.hifigan22k)
        XCTAssertEqual(try stream.push([0.1]).columns, 0)
        XCTAssertEqual(refusal { _ = try stream.finish() }?.cause, "the recording is too short")
    }

    func testAudioThatIsNoSoundIsRefused() throws {
        let frontEnd = try MelFrontEnd(.talkingHead)
        XCTAssertEqual(refusal { _ = try frontEnd([]) }?.cause, "the recording is empty")
        var audio = [Float](repeating: 0, count: 900)
        audio[7] = .nan
        XCTAssertEqual(
            refusal { _ = try frontEnd(audio) }?.got, "a sample that is NaN or infinite, the first at index 7"
        )
        audio[7] = 1e7
        XCTAssertEqual(refusal { _ = try frontEnd(audio) }?.got, "a sample of 1e+07")
    }

    func testConfigurationsThatContradictThemselves() throws {
        let wrong: [(String, (inout MelConfig) -> Void)] = [
            ("sample_rate", { $0.sampleRate = 0 }), ("n_mels", { $0.nMels = 0 }), ("n_fft", { $0.nFFT = -4 }),
            ("hop_length", { $0.hopLength = 0 }), ("win_length", { $0.winLength = 1 }),
            ("win_length", { $0.winLength = 5000 }), ("power", { $0.power = 3 }),
            ("epsilon", { $0.epsilon = -1 }),
            ("floor", { $0.floor = 0 }), ("fmax", { $0.fmax = 9000 }), ("fmin", { $0.fmin = 8000 }),
            ("fmin", { $0.fmin = .nan }), ("scale_to", { $0.scaleTo = .init(1, 1) }),
            ("top_db", { $0.topDB = -1 }),
        ]
        for (name, change) in wrong {
            let error = refusal { _ = try MelFrontEnd(MelConfig.melInversion.with(change)) }
            XCTAssertEqual(error?.what, name)
        }
        for (text, what) in [
            ("{}", "mel configuration"), ("[]", "mel configuration"),
            (#"{"sample_rate":1,"n_fft":4,"hop_length":1,"win_length":4,"n_mels":true}"#, "n_mels"),
            (#"{"sample_rate":1,"n_fft":4.5,"hop_length":1,"win_length":4,"n_mels":1}"#, "n_fft"),
            (#"{"sample_rate":1,"n_fft":4,"hop_length":1,"win_length":4,"n_mels":1,"log":"log2"}"#, "log"),
        ] {
            XCTAssertEqual(refusal { _ = try MelConfig(json: JSON(parsing: Array(text.utf8))) }?.what, what)
        }
    }

    /// Prints, and asserts nothing: `make test-swift` shows the seconds beside those of numpy.
    func testSpeedOfAMinute() throws {
        var random = Random(2)
        let (audio, frontEnd) = (random.noise(960_000), try MelFrontEnd(.talkingHead))
        var best = Double.infinity
        for _ in 0..<5 {
            let start = clock()
            _ = try frontEnd(audio)
            best = min(best, Double(clock() - start) / Double(CLOCKS_PER_SEC))
        }
        let numpy = try json("numpy_seconds.json")["float32"]?.double ?? .nan
        print(
            String(format: "talking-head mel of 60 s: Swift %.4f s, numpy %.4f s of one thread", best, numpy))
    }
}
