import EdgeRuntime
import LiveSpeech
import XCTest

/// The example's part that needs no phone: streams give what the pipelines give of the whole recording.
final class LiveTests: XCTestCase {
    func testFeaturesOfAStream() async throws {
        var random = Random(11)
        let audio = random.noise(24_000)
        let net = BoundNet(SmallEncoder(), inputs: ["mel"], output: "features")
        let whole = try await TalkingHead(net: net).process(audio)
        let live = try LiveFeatures(net: net)
        var rows: [[Float]] = []
        for piece in random.pieces(audio.count, upTo: 3000) {
            rows += try await live.push(Array(audio[piece]))
        }
        XCTAssertGreaterThanOrEqual(rows.count, whole.frameCount - 3)
        for (index, row) in rows.enumerated() {
            XCTAssertEqual(row, Array(whole.features.values[index * 512..<(index + 1) * 512]), "\(index)")
        }
    }

    func testSpeechOfAStream() async throws {
        var random = Random(12)
        let frontEnd = MelConfig(sampleRate: 8000, nFFT: 16, hopLength: 3, nMels: 5)
        let vocoder = try Vocoder(
            net: BoundNet(SmallVocoder(), inputs: ["mel"], output: "audio"), frontEnd: frontEnd,
            hopLength: SmallVocoder.hop, context: Context(SmallVocoder.context), chunkFrames: 12)
        let audio = random.noise(300)
        let whole = try await vocoder.synthesize(vocoder.mel(audio))
        let live = try LiveVocoder(vocoder)
        var samples: [Float] = []
        for piece in random.pieces(audio.count, upTo: 40) {
            samples += try await live.push(Array(audio[piece]))
        }
        samples += try await live.finish()
        XCTAssertEqual(samples, whole)
    }
}
