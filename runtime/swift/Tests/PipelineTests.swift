import EdgeRuntime
import XCTest

/// A vocoder whose samples depend on two frames to each side: sums of bands, hop 3.
struct SmallVocoder: Net {
    static let (hop, context) = (3, 2)

    func run(_ inputs: [String: NDArray<Float>]) async throws -> [String: NDArray<Float>] {
        let mel = try XCTUnwrap(inputs["mel"])
        let (bands, frames) = (mel.shape[1], mel.shape[2])
        let sums = (0..<frames).map { frame in
            (0..<bands).reduce(Float(0)) { $0 + mel.values[$1 * frames + frame] * Float($1 + 1) }
        }
        let samples = (0..<frames * Self.hop).map { n -> Float in
            (-2...2).reduce(Float(0)) { sum, offset in
                let frame = n / Self.hop + offset
                let weight = Float(offset * offset + 1 + n % Self.hop)
                return sum + (0..<frames ~= frame ? sums[frame] * weight : 0)
            }
        }
        return ["audio": try NDArray(shape: [1, 1, samples.count], values: samples)]
    }
}

/// Four samples a frame, each the sum of its band-0 values from three frames before to two after.
private struct HopFour: Net {
    func run(_ inputs: [String: NDArray<Float>]) async throws -> [String: NDArray<Float>] {
        let mel = try XCTUnwrap(inputs["mel"])
        let frames = mel.shape[2]
        var samples = [Float](repeating: 0, count: frames * 4)
        for n in samples.indices {
            samples[n] = Float(n % 4)
            for frame in max(n / 4 - 3, 0)...min(n / 4 + 2, frames - 1) { samples[n] += mel.values[frame] }
        }
        return ["wav": try NDArray(shape: [1, 1, samples.count], values: samples)]
    }
}

/// Gives rows of sums: enough to see which window stands where.
struct SmallEncoder: Net {
    func run(_ inputs: [String: NDArray<Float>]) async throws -> [String: NDArray<Float>] {
        let mel = try XCTUnwrap(inputs["mel"])
        let size = 80 * 16
        let values = (0..<mel.rows).flatMap { row in
            (0..<512).map { mel.values[row * size + $0 % size] + Float($0) }
        }
        return ["features": try NDArray(shape: [mel.rows, 512], values: values)]
    }
}

/// The mean of each picture, in every band.
private struct SmallAcoustic: Net {
    func run(_ inputs: [String: NDArray<Float>]) async throws -> [String: NDArray<Float>] {
        let frames = try XCTUnwrap(inputs["frames"])
        let (count, size) = (frames.shape[1], frames.shape[3] * frames.shape[4])
        let means = (0..<count).map { frames.values[$0 * size..<($0 + 1) * size].reduce(0, +) / Float(size) }
        return [
            "mel": try NDArray(
                shape: [1, count, 5], values: means.flatMap { [Float](repeating: $0, count: 5) })
        ]
    }
}

final class PipelineTests: XCTestCase {
    private let frontEnd = MelConfig(sampleRate: 8000, nFFT: 16, hopLength: 3, nMels: 5)

    private func vocoder(_ chunk: Int) throws -> Vocoder {
        try Vocoder(
            net: BoundNet(SmallVocoder(), inputs: ["mel"], output: "audio"), frontEnd: frontEnd,
            hopLength: SmallVocoder.hop, context: Context(SmallVocoder.context), chunkFrames: chunk)
    }

    private func mel(_ frames: Int, _ random: inout Random) throws -> NDArray<Float> {
        try NDArray(shape: [5, frames], values: random.noise(5 * frames).map { $0 * 8 - 4 })
    }

    func testChunksAndStreamsGiveTheWhole() async throws {
        var random = Random(6)
        for frames in [1, 4, 5, 6, 17, 40, 63] {
            let mel = try mel(frames, &random)
            let whole = try await vocoder(512).synthesize(mel)
            XCTAssertEqual(whole.count, frames * SmallVocoder.hop)
            for chunk in [5, 6, 9, 16, 40] {
                let chunked = try await vocoder(chunk).synthesize(mel)
                XCTAssertEqual(chunked, whole, "\(frames) in chunks of \(chunk)")
                var stream = try vocoder(512).stream(chunk: chunk)
                for _ in 0..<2 {
                    var samples: [Float] = []
                    for piece in random.pieces(frames, upTo: 7) where !piece.isEmpty {
                        samples += try await stream.push(mel.slice(piece, fill: 0))
                    }
                    samples += try await stream.finish()
                    XCTAssertEqual(samples, whole, "\(frames) streamed in chunks of \(chunk)")
                }
            }
        }
    }

    /// Lengths that a Core ML package takes alone: laid inside of the recording, nothing padded.
    func testPlansOfAdmittedSizes() throws {
        for frames in 1..<80 {
            for sizes in [[8], [6, 16], [7, 9, 30], Array(1...12)] {
                let chunks = try planChunks(frames: frames, context: Context(2), sizes: sizes)
                XCTAssertEqual(chunks.flatMap { Array($0.first..<$0.last) }, Array(0..<frames))
                for chunk in chunks {
                    XCTAssertTrue(sizes.contains(chunk.stop - chunk.start))
                    XCTAssertTrue(chunk.start == 0 || chunk.first - chunk.start >= 2)
                    XCTAssertTrue(chunk.stop >= frames || chunk.stop - chunk.last >= 2)
                }
            }
        }
        XCTAssertNotNil(refusal { _ = try planChunks(frames: 9, context: Context(2), sizes: [4]) })
    }

    /// Sides of other lengths, in any length and in a few alone.
    func testPlansOfUnequalSides() throws {
        for frames in 1..<60 {
            for sizes in [[9], [8, 16], Array(1...12)] {
                let context = Context(before: 5, after: 1)
                let chunks = try planChunks(frames: frames, context: context, sizes: sizes)
                XCTAssertEqual(chunks.flatMap { Array($0.first..<$0.last) }, Array(0..<frames))
                for chunk in chunks {
                    XCTAssertTrue(chunk.start == 0 || chunk.first - chunk.start >= 5)
                    XCTAssertTrue(chunk.stop >= frames || chunk.stop - chunk.last >= 1)
                }
            }
        }
    }

    /// Streams over an artifact that takes a few lengths alone give what the whole gives.
    func testStreamsOfAdmittedLengths() async throws {
        var random = Random(13)
        let url = Folders.numbers.appendingPathComponent("buckets")
        let bundle = try EdgeBundle(contentsOf: url)
        XCTAssertEqual(bundle.manifest.geometry.sides, Context(before: 4, after: 3))
        let vocoder = try Vocoder(net: HopFour(), bundle: bundle, target: "onnx")
        for frames in [9, 12, 20, 41] {
            let mel = try mel(frames, &random)
            let whole = try await vocoder.synthesize(mel)
            var stream = try vocoder.stream()
            XCTAssertEqual(stream.chunk, 2)
            XCTAssertEqual(stream.latency, 12)
            for _ in 0..<2 {
                var samples: [Float] = []
                for piece in random.pieces(frames, upTo: 7) where !piece.isEmpty {
                    samples += try await stream.push(mel.slice(piece, fill: 0))
                }
                samples += try await stream.finish()
                XCTAssertEqual(samples, whole, "\(frames)")
            }
        }
    }

    func testMelsThatAreNoneAreRefused() async throws {
        let vocoder = try vocoder(16)
        for (shape, value, clue) in [
            ([4, 5], Float(-1), "transposed: pass mel.T"),
            ([5, 4], 13, "these look like magnitudes: take the logarithm"),
            ([5, 4], -60, "these look like decibels: divide dB of a magnitude by 8.686"), ([5, 4], .nan, ""),
        ] {
            let error = await refusal {
                _ = try await vocoder.synthesize(NDArray(repeating: value, shape: shape))
            }
            XCTAssertEqual(error?.cause, clue)
        }
        XCTAssertNotNil(refusal { _ = try self.vocoder(4) })
    }

    func testTalkingHeadsDoNotDependOnTheBatch() async throws {
        var random = Random(7)
        let audio = random.noise(20_000)
        let net = BoundNet(SmallEncoder(), inputs: ["mel"], output: "features")
        let whole = try await TalkingHead(net: net).process(audio)
        XCTAssertEqual(whole.frameCount, try Windows.frameCount(101))
        // of (80, 16) element 17 is band 1 of frame 1
        XCTAssertEqual(whole.features[3, 17], whole.mel[1, try Windows.starts(101)[3] + 1] + 17)
        for size in [1, 3, 7] {
            let other = try await TalkingHead(net: net, batchSize: size).process(audio)
            XCTAssertEqual(other.features, whole.features)
        }
        XCTAssertEqual(try whole.frameFeatures(0).shape, [32, 16, 16])
        XCTAssertEqual(Array(try whole.frameFeatures(0).values[..<4096]), [Float](repeating: 0, count: 4096))
        XCTAssertEqual(try whole.frameFeatures(0).values[4096], whole.features[0, 0])
        XCTAssertNotNil(refusal { _ = try whole.frameFeatures(whole.frameCount + 2) })
        let error = await refusal { _ = try await TalkingHead(net: net).process([]) }
        XCTAssertEqual(error?.cause, "the recording is empty")
    }

    func testARecordedNetAnswersWhatItKnows() async throws {
        let (asked, answered) = (
            NDArray(repeating: Float(1), shape: [2, 3]), NDArray(repeating: Float(5), shape: [2, 1])
        )
        let net = try RecordedNet(input: "x", asked: asked, output: "y", answered: answered)
        let one = try await net.run(["x": NDArray(repeating: 1.0001, shape: [1, 3])])
        XCTAssertEqual(one["y"]?.values, [5])
        let error = await refusal { _ = try await net.run(["x": NDArray(repeating: 2, shape: [1, 3])]) }
        XCTAssertEqual(error?.got, "run 0, 1 from the nearest recorded one")
    }

    func testWhatANetGivesIsChecked() async throws {
        let file = Folders.numbers.appendingPathComponent("bundle")
        let bundle = try EdgeBundle(contentsOf: file)
        XCTAssertNotNil(
            refusal { _ = try BoundNet(SmallVocoder(), of: bundle, named: "degli", target: "onnx") })
        let net = try BoundNet(SmallVocoder(), of: bundle, named: "hifigan", target: "onnx")
        let swapped = await refusal { _ = try await net(NDArray(repeating: 0, shape: [1, 7, 5])) }
        XCTAssertEqual(swapped?.cause, "are two axes swapped?")
        let none = await refusal { _ = try await net(NDArray(repeating: 0, shape: [1, 5, 7])) }
        XCTAssertEqual(none?.got, "no output wav")
        let bound = BoundNet(SmallVocoder(), inputs: ["mel"], output: "audio")
        let overflow = await refusal { _ = try await bound(NDArray(repeating: 1e38, shape: [1, 5, 7])) }
        XCTAssertEqual(overflow?.got, "NaN or infinity")
    }

    func testPlacesOfPaddedRows() {
        let places = StridedPlaces(shape: [2, 2, 3], strides: [20, 8, 2])
        XCTAssertEqual(Array(places), [0, 2, 4, 8, 10, 12, 20, 22, 24, 28, 30, 32])
        XCTAssertEqual(Array(StridedPlaces(shape: [], strides: [])), [0])
        XCTAssertEqual(Array(StridedPlaces(shape: [0, 3], strides: [3, 1])), [])
        XCTAssertEqual(float(halfBits: 0xC500), -5)
    }

    func testWindowsOfAVideoAreAveraged() async throws {
        var random = Random(8)
        let net = BoundNet(SmallAcoustic(), inputs: ["frames"], output: "mel")
        func speech(_ mode: MRISpeech.Mode) throws -> MRISpeech {
            try MRISpeech(
                net: net, vocoder: vocoder(64), size: 8, scaling: .fullScale,
                mean: [-40, -41, -42, -43, -44],
                deviation: [1, 2, 3, 4, 5], mode: mode)
        }
        let pixels = random.noise(11 * 256).map { ($0 + 0.5) * 255 }
        let video = try NDArray(shape: [11, 16, 16], values: pixels)
        let full = try await speech(.full).process(video)
        XCTAssertEqual(full.samples.count, 33)
        XCTAssertEqual(full.frames.shape, [11, 8, 8])
        // each picture by itself: windows must not change it
        let windowed = try await speech(.window(length: 4, step: 3)).process(video)
        XCTAssertLessThan(distance(full.standardised.float64, windowed.standardised.float64), 1e-6)
        let dark = try await speech(.full).process(video, mask: NDArray(repeating: 0, shape: [8, 8]))
        XCTAssertEqual(dark.mel[3, 1], -41)
        XCTAssertNotNil(refusal { _ = try speech(.window(length: 2, step: 3)) })
        let error = await refusal {
            _ = try await speech(.full).process(NDArray(repeating: 0, shape: [2, 16, 17]))
        }
        XCTAssertEqual(error?.what, "frames")
    }

    func testAMelComesBackAsAudio() async throws {
        let audio = try golden(16000, "speech")
        for preset in ["mel-inversion", "talking-head", "rtmri", "mel-inversion-db"] {
            let config = try MelConfig.preset(preset)
            let sound = try Resampling.resample(audio, fromRate: 16000, toRate: config.sampleRate)
            let result = try await MelInversion(frontEnd: config, iterations: 8).process(sound)
            XCTAssertEqual(result.samples.count, sound.count, preset)
            let (truth, found) = (
                try MelFrontEnd(config).float64(sound), try MelFrontEnd(config).float64(result.samples)
            )
            let error =
                zip(truth.values, found.values).reduce(0) { $0 + abs($1.0 - $1.1) }
                / Double(truth.values.count)
            let range = (truth.values.max() ?? 0) - (truth.values.min() ?? 0)
            XCTAssertLessThan(error, 0.06 * range, preset)
        }
    }
}
