import EdgeRuntime
import XCTest

/// Samplers against diffusers' numbers, the tokenizer against transformers', pictures against Python's.
final class ImageSpeechTests: XCTestCase {
    private let goldens = Folders.goldens.appendingPathComponent("samplers")

    /// Largest difference, of the largest value.
    private func relative(_ truth: NDArray<Float>, _ found: NDArray<Float>) -> Double {
        distance(truth.float64, found.float64) / (truth.values.map { Double(abs($0)) }.max() ?? 1)
    }

    func testSamplersGiveTheNumbersOfDiffusers() throws {
        let start = try array(goldens, "start").float32
        let own = try array(goldens, "own").float32.values
        var (worst, count) = (0.0, 0)
        for name in try Folders.names(goldens) where !name.hasSuffix(".npy") {
            let parts = name.split(separator: "_")
            let scheduler = try XCTUnwrap(Scheduler(rawValue: String(parts[0])))
            var sampler = try scheduler.sampler(NoiseSchedule(), steps: XCTUnwrap(Int(parts[1])))
            let folder = goldens.appendingPathComponent(name)
            XCTAssertEqual(sampler.timesteps, try array(folder, "timesteps").values.map { Int($0) }, name)
            let truth = try array(folder, "latents").float32
            var (latents, found) = (start, [Float]())
            for call in sampler.timesteps.indices {
                let size = start.values.count
                let noise = try NDArray(
                    shape: start.shape,
                    values: (0..<size).map { 0.6 * latents.values[$0] + 0.5 * own[call * size + $0] })
                latents = try sampler.step(call, latents: latents, noise: noise)
                found += latents.values
            }
            let error = relative(truth, try NDArray(shape: truth.shape, values: found))
            XCTAssertLessThan(error, 1e-5, name)
            (worst, count) = (max(worst, error), count + 1)
        }
        XCTAssertEqual(count, 14)
        print(String(format: "samplers: %.1e of the largest latent", worst))
    }

    /// Anchors that were published beside diffusers' own numbers.
    func testNumbersOfTheSchedule() throws {
        let schedule = try NoiseSchedule()
        XCTAssertLessThan(
            distance(try array(goldens, "shares"), vector(schedule.shares)), 5e-7)
        for (timestep, share) in [
            (0, 0.99914998), (1, 0.99829602), (501, 0.27499893), (961, 0.00728171), (981, 0.00577549),
            (999, 0.00466009),
        ] {
            XCTAssertEqual(Double(schedule.share(timestep)), share, accuracy: 2e-6 * share)
        }
        XCTAssertEqual(try schedule.timesteps(50).prefix(2), [981, 961])
        XCTAssertEqual(try schedule.timesteps(50).last, 1)
        XCTAssertEqual(try schedule.timesteps(100).first, 991)
        let (zero, one) = (NDArray<Float>(repeating: 0, shape: [1]), NDArray<Float>(repeating: 1, shape: [1]))
        for (start, end, ofLatents, ofNoise) in [
            (981, 961, 1.12285172, -0.12325202), (1, -19, 1.00042762, -0.01214178),
        ] {
            let (a, b) = (
                try schedule.move(one, noise: zero, from: start, to: end).values[0],
                try schedule.move(zero, noise: one, from: start, to: end).values[0]
            )
            XCTAssertEqual(Double(a), ofLatents, accuracy: 1e-6 * ofLatents)
            XCTAssertEqual(Double(b), ofNoise, accuracy: 2e-7)
        }
    }

    func testTheCleanPictureIsWhatAStepToNoNoiseGives() throws {
        let schedule = try NoiseSchedule(setAlphaToOne: true)
        var random = Random(21)
        let latents = try NDArray(shape: [2, 3], values: random.noise(6))
        let noise = try NDArray(shape: [2, 3], values: random.noise(6))
        let clean = try schedule.clean(latents, noise: noise, at: 501)
        XCTAssertLessThan(
            relative(clean, try schedule.move(latents, noise: noise, from: 501, to: -1)), 1e-5)
    }

    func testOtherSchedulesAreRefused() throws {
        for (changes, sentence) in [
            (
                #""beta_schedule": "linear""#,
                "beta_schedule: got 'linear', expected 'scaled_linear'; other kinds"
            ),
            (
                #""prediction_type": "v_prediction""#,
                "prediction_type: got 'v_prediction', expected 'epsilon'"
            ),
            (#""timestep_spacing": "trailing""#, "timestep_spacing: got 'trailing', expected 'leading'"),
            (#""clip_sample": true"#, "clip_sample: got True, expected False"),
            (#""trained_betas": [0.1]"#, "trained_betas: got a list, expected none"),
            (#""beta_end": 2"#, "beta_start and beta_end: got 0.00085 and 2, expected 0 < beta_start"),
            (#""beta_start": 1e400"#, "JSON"),
            (#""steps_offset": 1000"#, "steps_offset: got 1000, expected 0 or 1"),
            (#""steps_offset": -1"#, "steps_offset: got -1, expected 0 or 1"),
            (#""num_train_timesteps": 0"#, "num_train_timesteps: got 0, expected 1 to"),
            (#""num_train_timesteps": 9000000000"#, "num_train_timesteps: got 9000000000, expected 1 to"),
            (#""num_train_timesteps": "many""#, "num_train_timesteps: got 'many', expected int"),
            (#""num_train_timesteps": true"#, "num_train_timesteps: got True, expected int"),
            (#""set_alpha_to_one": null"#, "set_alpha_to_one: got None, expected bool"),
        ] {
            let error = refusal {
                _ = try NoiseSchedule(config: JSON(parsing: Array("{\(changes)}".utf8)))
            }
            XCTAssertTrue(
                error?.description.hasPrefix(sentence) ?? false || sentence == "JSON",
                "\(error?.description ?? "")")
        }
        XCTAssertEqual(
            try NoiseSchedule(
                config: JSON(parsing: Array(#"{"trained_betas": null, "beta_end": 0.012}"#.utf8))),
            try NoiseSchedule())
        XCTAssertEqual(refusal { _ = try NoiseSchedule(betaStart: .nan) }?.what, "beta_start and beta_end")
    }

    /// Calls out of order, shapes that differ, impossible steps: refused, never a trap.
    func testStepsThatAreNoneAreRefused() throws {
        let schedule = try NoiseSchedule()
        for steps in [0, -3, 1000, Int.max] {
            for scheduler in Scheduler.allCases {
                XCTAssertEqual(
                    refusal { _ = try scheduler.sampler(schedule, steps: steps) }?.description,
                    "steps: got \(steps), expected 1 to 999")
            }
        }
        let one = NDArray<Float>(repeating: 1, shape: [1, 2])
        let other = NDArray<Float>(repeating: 1, shape: [2, 1])
        for scheduler in Scheduler.allCases {
            var sampler = try scheduler.sampler(schedule, steps: 5)
            for number in [-1, 7, Int.max, Int.min] {
                let error = refusal { _ = try sampler.step(number, latents: one, noise: one) }
                XCTAssertEqual(error?.what, "number of the call")
            }
            XCTAssertEqual(
                refusal { _ = try sampler.step(0, latents: one, noise: other) }?.got, "shape (2, 1)")
        }
        var pndm = try PNDM(schedule, steps: 5)
        XCTAssertEqual(
            refusal { _ = try pndm.step(1, latents: one, noise: one) }?.expected, "0, or 0 to begin anew")
        _ = try pndm.step(0, latents: one, noise: one)
        XCTAssertEqual(
            refusal { _ = try pndm.step(1, latents: other, noise: other) }?.expected,
            "(1, 2), as in the calls before")
        _ = try pndm.step(1, latents: one, noise: one)
        XCTAssertEqual(
            refusal { _ = try pndm.step(3, latents: one, noise: one) }?.expected, "2, or 0 to begin anew")
        let first = try pndm.step(0, latents: one, noise: one)
        XCTAssertEqual(first, try DDIM(schedule, steps: 5).step(0, latents: one, noise: one))
    }

    func testTextsGiveTheNumbersOfTransformers() throws {
        let folder = Folders.numbers.appendingPathComponent("tokens")
        let tokenizer = try ClipTokenizer(contentsOf: folder)
        let windows = try ClipTokenizer(
            vocabulary: json("tokens/vocab.json"),
            merges: Array(Data(contentsOf: folder.appendingPathComponent("merges-windows.txt"))))
        let texts = try XCTUnwrap(json("tokens/texts.json").object)
        XCTAssertGreaterThan(texts.count, 20)
        for (text, numbers) in texts {
            let expected = numbers.array?.compactMap(\.int).map { Int32($0) }
            XCTAssertEqual(try tokenizer([text], cutting: true).values, expected, text)
            XCTAssertEqual(try windows([text], cutting: true).values, expected, text)
        }
        XCTAssertEqual(try tokenizer(["a", "b"]).shape, [2, 77])
        XCTAssertEqual(tokenizer.largest, 256 * 2 + 150 + 1)
    }

    func testTextsThatAreTooLongAreRefused() throws {
        let tokenizer = try ClipTokenizer(contentsOf: Folders.numbers.appendingPathComponent("tokens"))
        let text = String(repeating: "5 ", count: 76)
        let error = refusal { _ = try tokenizer([text]) }
        XCTAssertEqual(error?.got, "76 tokens")
        XCTAssertEqual(error?.what, "prompt «\(text.prefix(40))…»")
        XCTAssertEqual(try tokenizer([text], cutting: true).shape, [1, 77])
        XCTAssertEqual(try tokenizer([String(text.dropLast(2))]).shape, [1, 77])
        XCTAssertEqual(refusal { _ = try tokenizer([""], length: 1) }?.what, "length")
        XCTAssertEqual(try tokenizer([]).shape, [0, 77])
    }

    func testVocabulariesThatAreNone() throws {
        let (start, end) = (#""<|startoftext|>": 1"#, #""<|endoftext|>": 2"#)
        for (vocabulary, merges, sentence) in [
            (
                "{}", "",
                "vocab.json: got no <|startoftext|> and no <|endoftext|>, expected the vocabulary of CLIP"
            ),
            ("[]", "", "vocab.json: got a list, expected the vocabulary of CLIP, token → number"),
            ("{\(start)}", "", "vocab.json: got no <|endoftext|>"),
            ("{\(start), \(end), \"a\": -1}", "", "vocab.json: got a: -1, expected numbers"),
            ("{\(start), \(end), \"a\": 1.5}", "", "vocab.json: got a: 1.5, expected numbers"),
            (
                "{\(start), \(end), \"a\": 99999999999}", "",
                "vocab.json: got a: 99999999999, expected numbers"
            ),
            (
                "{\(start), \(end)}", "#version: 1\na b\nab",
                "merges.txt: got line 3: 'ab', expected two symbols"
            ),
            ("{\(start), \(end)}", "a b c", "merges.txt: got line 1: 'a b c'"),
            ("{\(start), \(end)}", " b", "merges.txt: got line 1: ' b'"),
        ] {
            let error = refusal {
                _ = try ClipTokenizer(
                    vocabulary: JSON(parsing: Array(vocabulary.utf8)), merges: Array(merges.utf8))
            }
            XCTAssertEqual(error?.kind, .bundle)
            XCTAssertTrue(error?.description.hasPrefix(sentence) ?? false, "\(error?.description ?? "")")
        }
        let vocabulary = try JSON(parsing: Array("{\(start), \(end)}".utf8))
        XCTAssertEqual(
            refusal { _ = try ClipTokenizer(vocabulary: vocabulary, merges: [0x61, 0x20, 0xFF]) }?.what,
            "merges.txt")
        // symbols that no token stands for become the end's, as in Python
        let bare = try ClipTokenizer(vocabulary: vocabulary, merges: [])
        XCTAssertEqual(try bare(["ab"], length: 5).values, [1, 2, 2, 2, 2])
        XCTAssertTrue(
            refusal { _ = try ClipTokenizer(contentsOf: Folders.goldens) }?.what.hasSuffix("vocab.json: file")
                ?? false)
    }

    func testPicturesAreThoseOfPython() throws {
        let folder = Folders.numbers.appendingPathComponent("pictures")
        let (mel, colours) = (try array(folder, "mel").float32, try array(folder, "colours").float32)
        let first = try NDArray(shape: [6, 9], values: Array(colours.values[..<54]))
        let second = try NDArray(shape: [6, 9], values: Array(colours.values[54..<108]))
        for (name, found) in [
            ("picture", try SpectrogramPicture.picture(of: mel)),
            ("mel_of_picture", try SpectrogramPicture.mel(of: first)),
            ("mel_of_colours", try SpectrogramPicture.mel(of: colours)),
            ("imprinted", try SpectrogramPicture.imprint(first, grey: second, strength: 0.7)),
        ] {
            XCTAssertLessThan(distance(try array(folder, name), found.float64), 1e-6, name)
        }
        for (value, clue) in [(Float(20), "louder audio"), (-80, "in dB"), (.nan, "nan")] {
            let wrong = NDArray(repeating: value, shape: [2, 3])
            let error = refusal { _ = try SpectrogramPicture.picture(of: wrong) }
            XCTAssertTrue(error?.description.contains(clue) ?? false, error?.description ?? "")
            XCTAssertNotNil(refusal { _ = try SpectrogramPicture.mel(of: wrong) })
        }
        for shape in [[4], [0, 3], [2, 3, 4], [3, 0, 0]] {
            XCTAssertNotNil(
                refusal { _ = try SpectrogramPicture.mel(of: NDArray(repeating: 0, shape: shape)) })
        }
        XCTAssertEqual(
            refusal { _ = try SpectrogramPicture.imprint(first, grey: mel.transposed()) }?.got,
            "shape (9, 6)")
        XCTAssertEqual(
            refusal { _ = try SpectrogramPicture.imprint(first, grey: first, strength: .nan) }?.kind, .config)
    }
}
