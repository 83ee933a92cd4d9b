import EdgeRuntime
import XCTest

final class SpectralTests: XCTestCase {
    /// The transform by its definition.
    private func transform(_ x: [Double]) -> [(Double, Double)] {
        (0...x.count / 2).map { k in
            x.enumerated().reduce((0, 0)) { sum, item in
                let angle = -2 * Double.pi * Double(k * item.offset % x.count) / Double(x.count)
                return (sum.0 + item.element * cos(angle), sum.1 + item.element * sin(angle))
            }
        }
    }

    func testTransformsOfEveryLength() throws {
        var random = Random(1)
        for length in Array(1...70) + [127, 128, 255, 511, 800, 1023, 1024, 2048] {
            let fft = RealFFT(length: length)
            let workspace = fft.workspace()
            let rooms = [length, fft.bins, fft.bins, length].map { count in
                let room = UnsafeMutableBufferPointer<Lane>.allocate(capacity: count)
                room.initialize(repeating: .zero)
                return room
            }
            defer { for room in rooms { room.deallocate() } }
            for i in 0..<length {
                for lane in 0..<4 { rooms[0][i][lane] = Double.random(in: -1...1, using: &random) }
            }
            fft.forward(rooms[0], rooms[1], rooms[2], workspace)
            fft.inverse(rooms[1], rooms[2], rooms[3], workspace)
            for lane in 0..<4 {
                let truth = transform(rooms[0].map { $0[lane] })
                for (k, bin) in truth.enumerated() {
                    XCTAssertEqual(
                        rooms[1][k][lane], bin.0, accuracy: 1e-11 * Double(length + 9), "\(length)")
                    XCTAssertEqual(
                        rooms[2][k][lane], bin.1, accuracy: 1e-11 * Double(length + 9), "\(length)")
                }
                for i in 0..<length {
                    XCTAssertEqual(rooms[3][i][lane], rooms[0][i][lane], accuracy: 1e-13, "\(length)")
                }
            }
        }
    }

    func testTransformAndInverseAreThoseOfNumpy() throws {
        for padding in Padding.allCases {
            let folder = Folders.numbers.appendingPathComponent("griffin_lim/\(padding.rawValue)")
            let stft = Stft(try StftConfig(nFFT: 60, hopLength: 16, winLength: 48, padding: padding))
            let audio = try array(Folders.numbers.appendingPathComponent("griffin_lim"), "audio").values
            let spectrum = try stft.forward(audio)
            let truth = try planes(folder, "spectrum")
            XCTAssertLessThan(distance(truth.re, spectrum.re), 1e-12)
            XCTAssertLessThan(distance(truth.im, spectrum.im), 1e-12)
            let inverse = try stft.inverse(scaled(planes(folder, "start"), try array(folder, "magnitude")))
            XCTAssertLessThan(distance(try array(folder, "inverse"), vector(inverse)), 1e-10)
        }
    }

    func testInverseUndoesTheTransform() throws {
        var random = Random(2)
        for padding in Padding.allCases {
            for (nFFT, hop, win) in [
                (64, 16, 64), (63, 13, 50), (511, 128, 511), (800, 200, 800), (48, 20, 48),
            ] {
                let config = try StftConfig(nFFT: nFFT, hopLength: hop, winLength: win, padding: padding)
                let audio = random.noise(nFFT * 2 + Int.random(in: 0...500, using: &random)).map {
                    Double($0)
                }
                let stft = Stft(config)
                XCTAssertTrue(stft.coversEverySample)
                let back = try stft.inverse(stft.forward(audio), length: audio.count)
                // without padding the window is zero at the very first sample, and nothing covers the last
                // ones
                let frames = config.frames(audio.count)
                let margin = padding == .centerZero || padding == .centerReflect ? 0 : win
                let end = min(audio.count - margin, nFFT + (frames - 1) * hop - config.pad - margin)
                for i in margin..<max(end, margin) { XCTAssertEqual(back[i], audio[i], accuracy: 1e-12) }
            }
        }
    }

    func testGriffinLimIsThatOfNumpy() throws {
        var worst = 0.0
        for padding in Padding.allCases {
            let folder = Folders.numbers.appendingPathComponent("griffin_lim/\(padding.rawValue)")
            let config = try StftConfig(nFFT: 60, hopLength: 16, winLength: 48, padding: padding)
            let (magnitude, start) = (try array(folder, "magnitude"), try planes(folder, "start"))
            for algorithm in GriffinLim.Algorithm.allCases {
                let griffinLim = try GriffinLim(config, algorithm: algorithm)
                for count in [0, 1, 8] {
                    let samples = try griffinLim(magnitude, iterations: count, start: .spectrum(start))
                    let error = distance(try array(folder, "\(algorithm.rawValue)_\(count)"), vector(samples))
                    XCTAssertLessThan(error, 1e-9, "\(padding) \(algorithm) \(count)")
                    XCTAssertGreaterThan(samples.map { abs($0) }.max() ?? 0, 0.1)
                    worst = max(worst, error)
                }
            }
        }
        print(String(format: "Griffin-Lim: %.1e", worst))
    }

    func testGriffinLimFindsAMagnitude() throws {
        let config = try StftConfig(nFFT: 256, hopLength: 64, padding: .centerZero)
        let audio = try golden(16000, "speech").map { Double($0) }
        let magnitude = try Stft(config).forward(audio).magnitude
        func error(_ iterations: Int) throws -> Double {
            let samples = try GriffinLim(config)(magnitude, iterations: iterations, length: audio.count)
            let found = try Stft(config).forward(samples).magnitude
            let difference = zip(found.values, magnitude.values).reduce(0) {
                $0 + ($1.0 - $1.1) * ($1.0 - $1.1)
            }
            return difference / magnitude.values.reduce(0) { $0 + $1 * $1 }
        }
        XCTAssertLessThan(try error(40), try error(0) / 10)
    }

    func testGriffinLimRefuses() throws {
        let config = try StftConfig(nFFT: 64, hopLength: 16)
        XCTAssertEqual(
            refusal { _ = try GriffinLim(StftConfig(nFFT: 64, hopLength: 64)) }?.what, "hop_length")
        XCTAssertEqual(refusal { _ = try GriffinLim(config, momentum: 2) }?.what, "momentum")
        let griffinLim = try GriffinLim(config)
        for (shape, value, what) in [
            ([33, 9], -1.0, "magnitude"), ([9, 33], 1, "magnitude"), ([33, 0], 1, "magnitude"),
            ([33, 9], .nan, "magnitude"), ([33], 1, "magnitude"), ([33, 1], 1, "magnitude"),
        ] {
            XCTAssertEqual(
                refusal { _ = try griffinLim(NDArray(repeating: value, shape: shape)) }?.what, what)
        }
    }

    func testMagnitudesAreThoseOfNumpy() throws {
        for (name, config) in MelConfig.presets.sorted(by: { $0.key < $1.key }) {
            let folder = Folders.numbers.appendingPathComponent("inversion/\(name)")
            let estimator = try MagnitudeEstimator(config)
            let linear = try estimator.linearMel(array(folder, "mel"))
            let truth = try array(folder, "linear")
            let scale = truth.values.max() ?? 1
            XCTAssertLessThan(distance(truth, linear), 1e-12 * max(scale, 1), name)
            for updates in [0, 50] {
                let magnitude = try estimator.magnitude(truth, updates: updates)
                let expected = try array(folder, "magnitude_\(updates)")
                let error = distance(expected, magnitude) / max(expected.values.max() ?? 1, 1e-9)
                XCTAssertLessThan(error, 1e-9, "\(name) \(updates)")
                print(String(format: "magnitude %@ %d updates: %.1e of the largest", name, updates, error))
            }
        }
    }

    /// Banks with bands that are empty or alike have no inverse of A·Aᵀ.
    func testPseudoInverses() throws {
        var random = Random(9)
        for rank in [1, 3, 5] {
            let factors = (0..<rank).map { _ in random.noise(7).map { Double($0) } }
            let matrix = (0..<5).map { _ -> [Double] in
                let weights = random.noise(rank)
                return (0..<7).map { column in
                    (0..<rank).reduce(0) { $0 + Double(weights[$1]) * factors[$1][column] }
                }
            }
            try checkPenrose(matrix, jacobiInverse(matrix))
            try checkPenrose(matrix, pseudoInverse(matrix))
        }
        let bank = try filterBank(.talkingHead)
        let rows = (0..<bank.rows).map { Array(bank.values[$0 * bank.columns..<($0 + 1) * bank.columns]) }
        try checkPenrose(rows, pseudoInverse(rows))
        try checkPenrose(rows + [rows[3]], pseudoInverse(rows + [rows[3]]))
        try checkPenrose(rows + [rows[0].map { $0 * 0 }], pseudoInverse(rows + [rows[0].map { $0 * 0 }]))
    }

    /// A X A = A and X A X = X, and both products are symmetric: what makes X the pseudo-inverse.
    private func checkPenrose(_ a: [[Double]], _ x: [[Double]]) throws {
        func product(_ p: [[Double]], _ q: [[Double]]) -> [[Double]] {
            p.map { row in
                var sum = [Double](repeating: 0, count: q[0].count)
                for (k, value) in row.enumerated() where value != 0 {
                    for j in sum.indices { sum[j] += value * q[k][j] }
                }
                return sum
            }
        }
        let (ax, xa) = (product(a, x), product(x, a))
        for (found, expected) in [(product(ax, a), a), (product(xa, x), x)] {
            let size = expected.joined().reduce(0) { max($0, abs($1)) }
            for (f, e) in zip(found.joined(), expected.joined()) {
                XCTAssertEqual(f, e, accuracy: 1e-9 * size)
            }
        }
        for square in [ax, xa] {
            for i in square.indices {
                for j in 0..<i { XCTAssertEqual(square[i][j], square[j][i], accuracy: 1e-9) }
            }
        }
    }

    func testMagnitudesRefuse() throws {
        let estimator = try MagnitudeEstimator(.melInversion)
        let mel = NDArray(repeating: -5.0, shape: [80, 3])
        XCTAssertTrue(refusal { _ = try estimator.magnitude(mel) }?.cause.contains("log mel") ?? false)
        XCTAssertEqual(
            refusal { _ = try estimator.linearMel(NDArray(repeating: 0.0, shape: [3, 80])) }?.cause,
            "is it transposed?")
        XCTAssertNotNil(refusal { _ = try estimator.linearMel(NDArray(repeating: -80.0, shape: [80, 3])) })
        XCTAssertNotNil(refusal { _ = try estimator.linearMel(NDArray(repeating: .nan, shape: [80, 3])) })
    }

    func testResamplingIsThatOfNumpy() throws {
        let folder = Folders.numbers.appendingPathComponent("resampled")
        let noise = try array(folder, "noise").float32.values
        var worst = 0.0
        for file in try Folders.names(folder) where file != "noise.npy" {
            let rates = file.dropLast(4).split(separator: "_").compactMap { Int($0) }
            let resampled = try Resampling.resample(noise, fromRate: rates[0], toRate: rates[1])
            let error = distance(try array(folder, String(file.dropLast(4))), vector(resampled))
            XCTAssertLessThan(error, 1e-6, file)
            worst = max(worst, error)
        }
        print(String(format: "resampling: %.1e", worst))
        XCTAssertEqual(try Resampling.resample([1, 2], fromRate: 8000, toRate: 8000), [1, 2])
        XCTAssertEqual(
            refusal { _ = try Resampling.resample([1], fromRate: 0, toRate: 1) }?.what, "from_rate")
    }

    func testTheVideoClockIsThatOfPython() throws {
        let clocks = try XCTUnwrap(json("windows.json").object)
        for (fps, counts) in clocks {
            for (frames, starts) in counts.object ?? [:] {
                let found = try Windows.starts(Int(frames) ?? 0, fps: Double(fps) ?? 0)
                XCTAssertEqual(found, starts.array?.compactMap(\.int), "\(fps) \(frames)")
            }
        }
        XCTAssertEqual(refusal { _ = try Windows.frameCount(15) }?.cause, "the recording is too short")
        XCTAssertEqual(refusal { _ = try Windows.frameCount(20, fps: 0) }?.what, "fps")
    }

    private func planes(_ folder: URL, _ name: String) throws -> Spectrum {
        let both = try array(folder, name)
        let (shape, half) = ([both.shape[1], both.shape[2]], both.values.count / 2)
        return try Spectrum(
            re: NDArray(shape: shape, values: Array(both.values[..<half])).transposed(),
            im: NDArray(shape: shape, values: Array(both.values[half...])).transposed())
    }

    private func scaled(_ spectrum: Spectrum, _ magnitude: NDArray<Double>) throws -> Spectrum {
        let size = magnitude.transposed()
        return try Spectrum(
            re: NDArray(shape: size.shape, values: zip(spectrum.re.values, size.values).map { $0 * $1 }),
            im: NDArray(shape: size.shape, values: zip(spectrum.im.values, size.values).map { $0 * $1 }))
    }
}
