import Foundation

/// The scale on which the bands are evenly spaced.
public enum MelScale: String, Sendable, Hashable, CaseIterable {
    /// Linear to 1 kHz, logarithmic above (Slaney's Auditory Toolbox; librosa's default).
    case slaney
    /// 2595 · log10(1 + f / 700) (the HTK Book).
    case htk
}

/// Where the bins are believed to stand.
public enum BinSpacing: String, Sendable, Hashable, CaseIterable {
    /// At k · rate / nFFT.
    case fft
    /// Evenly over 0 … Nyquist, also where nFFT is odd.
    case linspace
}

/// The logarithm that is taken.
public enum MelLog: String, Sendable, Hashable, CaseIterable {
    /// None.
    case none
    /// The natural one.
    case ln
    /// The decimal one.
    case log10
}

/// All numbers of one mel front end: the stages of `MelFrontEnd`, each switched on by its numbers.
public struct MelConfig: Sendable, Hashable {
    /// Hz.
    public var sampleRate: Int
    /// Samples of a frame.
    public var nFFT: Int
    /// Samples from frame to frame.
    public var hopLength: Int
    /// Samples of the window; periodic Hann, centred in nFFT.
    public var winLength: Int
    /// Bands; nil keeps the nFFT / 2 + 1 bins.
    public var nMels: Int?
    /// Subtract the signal's mean, divide by its standard deviation.
    public var standardize = false
    /// Scale the signal to this largest |sample|.
    public var peak: Double?
    /// y[0] = x[0], y[n] = x[n] - preEmphasis · x[n - 1].
    public var preEmphasis = 0.0
    /// What stands before and after the signal.
    public var padding = Padding.centerReflect
    /// 1 magnitude, 2 power.
    public var power = 1
    /// Under the root of the magnitude.
    public var epsilon = 0.0
    /// dB below the maximum, this range onto 0 … 1.
    public var spectrumRangeDB: Double?
    /// The scale of the bank.
    public var melScale = MelScale.slaney
    /// Triangles of equal area (Slaney) rather than of height 1.
    public var areaNorm = true
    /// Lower edge of the first band, Hz.
    public var fmin = 0.0
    /// Upper edge of the last band, Hz; nil is Nyquist.
    public var fmax: Double?
    /// Allow fmax beyond Nyquist: the highest bands are then empty.
    public var fmaxAboveNyquist = false
    /// Where the bins are believed to stand.
    public var binSpacing = BinSpacing.fft
    /// The logarithm.
    public var log = MelLog.ln
    /// 20 makes dB of a magnitude, 10 dB of a power.
    public var logGain = 1.0
    /// Smallest value that enters the logarithm.
    public var floor = 1e-5
    /// Subtracted from the logarithm.
    public var reference = 0.0
    /// Raise everything to this far below the maximum over the signal.
    public var topDB: Double?
    /// Lower end of what is mapped linearly onto scaleTo; nil maps nothing.
    public var scaleFrom: ClosedInterval?
    /// What it is mapped onto.
    public var scaleTo = ClosedInterval(0, 1)
    /// To scaleTo.
    public var clip = false

    /// A pair low < high.
    public struct ClosedInterval: Sendable, Hashable {
        /// The smaller number.
        public var low: Double
        /// The larger number.
        public var high: Double

        /// An interval.
        public init(_ low: Double, _ high: Double) { (self.low, self.high) = (low, high) }
    }

    /// A front end with the defaults for all but the framing; `validated()` says whether its numbers agree.
    public init(sampleRate: Int, nFFT: Int, hopLength: Int, winLength: Int? = nil, nMels: Int?) {
        self.sampleRate = sampleRate
        self.nFFT = nFFT
        self.hopLength = hopLength
        self.winLength = winLength ?? nFFT
        self.nMels = nMels
    }

    /// The same with changes.
    public func with(_ change: (inout MelConfig) -> Void) -> MelConfig {
        var copy = self
        change(&copy)
        return copy
    }

    /// Hz.
    public var nyquist: Double { Double(sampleRate) / 2 }

    /// Upper edge of the last band, Hz.
    public var upperEdge: Double { fmax ?? nyquist }

    /// Framing of the transform.
    ///
    /// - Throws: `EdgeError` of kind `config` where the numbers contradict each other.
    public func stft() throws -> StftConfig {
        try StftConfig(nFFT: nFFT, hopLength: hopLength, winLength: winLength, padding: padding)
    }

    /// Rows of the result: mel bands, or bins where there is no bank.
    public var bands: Int { nMels ?? nFFT / 2 + 1 }
}

extension MelConfig {
    /// Refuses numbers that contradict each other.
    ///
    /// - Throws: `EdgeError` of kind `config` that names the rule which is broken.
    public func validate() throws {
        for (name, got, rule, holds) in rules where !holds {
            throw EdgeError(.config, name, got: got, expected: rule)
        }
        let bins = try stft().bins
        if let nMels, nMels * bins > 1 << 25 {
            throw EdgeError(
                .config, "n_mels", got: "\(nMels) bands of \(bins) bins",
                expected: "at most \(1 << 25) weights in the filter bank")
        }
        if let fmax, fmax > nyquist, !fmaxAboveNyquist {
            throw EdgeError(
                .config, "fmax", got: "\(short(fmax)) Hz",
                expected: "at most the Nyquist frequency \(short(nyquist)) Hz",
                cause: "set fmax to null, or fmax_above_nyquist to keep the empty bands on purpose")
        }
    }

    private typealias Rule = (name: String, got: String, rule: String, holds: Bool)

    private var rules: [Rule] {
        var rules: [Rule] = [
            (
                "sample_rate", "\(sampleRate)", "a whole number of Hz, 1 to 1000000",
                1...1_000_000 ~= sampleRate
            ),
            (
                "n_mels", nMels.map { "\($0)" } ?? "None", "a whole number of bands, 1 to 4096, or null",
                nMels.map { 1...4096 ~= $0 } ?? true
            ),
        ]
        for (name, value) in [
            ("pre_emphasis", preEmphasis), ("epsilon", epsilon), ("fmin", fmin), ("log_gain", logGain),
            ("floor", floor), ("reference", reference),
        ] {
            rules.append((name, "\(value)", "a finite number", value.isFinite))
        }
        for (name, value) in [
            ("peak", peak), ("spectrum_range_db", spectrumRangeDB), ("top_db", topDB), ("fmax", fmax),
        ] {
            let holds = value.map { $0.isFinite && $0 > 0 } ?? true
            rules.append((name, Self.text(value), "a positive number, or null", holds))
        }
        rules += [
            ("epsilon", "\(epsilon)", "0 or more", epsilon >= 0),
            ("log_gain", "\(logGain)", "more than 0", logGain > 0),
            ("power", "\(power)", "1 (magnitude) or 2 (power)", power == 1 || power == 2),
            ("epsilon", "\(epsilon)", "0 where the spectrum is a power", epsilon == 0 || power == 1),
            (
                "spectrum_range_db", Self.text(spectrumRangeDB), "null where the spectrum is a power",
                spectrumRangeDB == nil || power == 1
            ),
            ("floor", "\(floor)", "more than 0 where a logarithm is taken", log == .none || floor > 0),
            ("top_db", Self.text(topDB), "null where no logarithm is taken", topDB == nil || log != .none),
            ("fmin", "\(fmin)", "0 Hz or more and below fmax", fmin >= 0 && fmin < upperEdge),
        ]
        for (name, value) in [("scale_from", scaleFrom), ("scale_to", scaleTo)] {
            let holds = value.map { $0.low.isFinite && $0.high.isFinite && $0.low < $0.high } ?? true
            let got = value.map { "(\($0.low), \($0.high))" } ?? "None"
            rules.append((name, got, "a pair (low, high), low < high", holds))
        }
        return rules
    }

    private static func text(_ value: Double?) -> String { value.map { "\($0)" } ?? "None" }
}

extension MelConfig {
    /// The configuration that `front_end` of a manifest holds.
    ///
    /// - Throws: `EdgeError` of kind `config` that names an unknown or missing field or a broken rule.
    public init(json: JSON) throws {
        guard let entries = json.object else {
            throw EdgeError(.config, "mel configuration", got: "no object", expected: "all required fields")
        }
        let unknown = Set(entries.keys).subtracting(Self.required).subtracting(Self.optional)
        guard unknown.isEmpty else {
            throw EdgeError(
                .config, "mel configuration", got: "unknown fields \(listed(unknown))", expected: "known ones"
            )
        }
        let missing = Self.required.subtracting(entries.keys)
        guard missing.isEmpty else {
            throw EdgeError(
                .config, "mel configuration", got: "no \(listed(missing))", expected: "all required fields")
        }
        let read = FieldReader(entries: entries)
        self.init(
            sampleRate: try read.whole("sample_rate"), nFFT: try read.whole("n_fft"),
            hopLength: try read.whole("hop_length"), winLength: try read.whole("win_length"),
            nMels: entries["n_mels"] == .null ? nil : try read.whole("n_mels"))
        standardize = try read.flag("standardize", standardize)
        peak = try read.optional("peak")
        preEmphasis = try read.number("pre_emphasis", preEmphasis)
        padding = try read.choice("padding", padding)
        power = entries["power"] == nil ? power : try read.whole("power")
        epsilon = try read.number("epsilon", epsilon)
        spectrumRangeDB = try read.optional("spectrum_range_db")
        melScale = try read.choice("mel_scale", melScale)
        areaNorm = try read.flag("area_norm", areaNorm)
        fmin = try read.number("fmin", fmin)
        fmax = try read.optional("fmax")
        fmaxAboveNyquist = try read.flag("fmax_above_nyquist", fmaxAboveNyquist)
        binSpacing = try read.choice("bin_spacing", binSpacing)
        log = try read.choice("log", log)
        logGain = try read.number("log_gain", logGain)
        floor = try read.number("floor", floor)
        reference = try read.number("reference", reference)
        topDB = try read.optional("top_db")
        scaleFrom = try read.interval("scale_from")
        scaleTo = try read.interval("scale_to") ?? scaleTo
        clip = try read.flag("clip", clip)
        try validate()
    }

    private static let required: Set = ["sample_rate", "n_fft", "hop_length", "win_length", "n_mels"]
    private static let optional: Set = [
        "standardize", "peak", "pre_emphasis", "padding", "power", "epsilon", "spectrum_range_db",
        "mel_scale",
        "area_norm", "fmin", "fmax", "fmax_above_nyquist", "bin_spacing", "log", "log_gain", "floor",
        "reference",
        "top_db", "scale_from", "scale_to", "clip",
    ]
}

private struct FieldReader {
    let entries: [String: JSON]

    func whole(_ name: String) throws -> Int {
        guard let value = entries[name]?.int else { throw unfit(name, "a whole number") }
        return value
    }

    func number(_ name: String, _ fallback: Double) throws -> Double {
        guard let entry = entries[name] else { return fallback }
        guard let value = entry.double else { throw unfit(name, "a finite number") }
        return value
    }

    func optional(_ name: String) throws -> Double? {
        guard let entry = entries[name], entry != .null else { return nil }
        guard let value = entry.double else { throw unfit(name, "a positive number, or null") }
        return value
    }

    func flag(_ name: String, _ fallback: Bool) throws -> Bool {
        guard let entry = entries[name] else { return fallback }
        guard let value = entry.bool else { throw unfit(name, "true or false") }
        return value
    }

    func choice<Choice: RawRepresentable<String> & CaseIterable>(_ name: String, _ fallback: Choice) throws
        -> Choice
    {
        guard let entry = entries[name] else { return fallback }
        guard let value = entry.string.flatMap(Choice.init(rawValue:)) else {
            throw unfit(name, Choice.allCases.map(\.rawValue).joined(separator: " or "))
        }
        return value
    }

    func interval(_ name: String) throws -> MelConfig.ClosedInterval? {
        guard let entry = entries[name], entry != .null || name == "scale_to" else { return nil }
        guard let pair = entry.array, pair.count == 2, let low = pair[0].double, let high = pair[1].double
        else {
            throw unfit(name, "a pair (low, high), low < high")
        }
        return .init(low, high)
    }

    private func unfit(_ name: String, _ expected: String) -> EdgeError {
        let got = String((entries[name]?.text ?? "nothing").prefix(60))
        return EdgeError(.config, name, got: got, expected: expected)
    }
}

extension MelConfig {
    /// The nine front ends of the Python runtime, by name.
    public static let presets: [String: MelConfig] = [
        "talking-head": talkingHead, "hifigan-22k": hifigan22k, "hifigan-11k": hifigan11k, "rtmri": rtmri,
        "mel-inversion": melInversion, "mel-inversion-db": melInversionDB, "ecog-256": ecog(bins: 256),
        "ecog-512": ecog(bins: 512), "auffusion": auffusion,
    ]

    /// The mel of Wav2Lip and SyncTalk_2D: 100 dB below the reference of 20 dB, onto ±4.
    public static let talkingHead = MelConfig(sampleRate: 16000, nFFT: 800, hopLength: 200, nMels: 80).with {
        ($0.preEmphasis, $0.padding, $0.fmin, $0.fmax) = (0.97, .centerZero, 55, 7600)
        ($0.log, $0.logGain, $0.floor, $0.reference) = (.log10, 20, 1e-5, 20)
        ($0.scaleFrom, $0.scaleTo, $0.clip) = (.init(-100, 0), .init(-4, 4), true)
    }

    /// HiFi-GAN's published configurations.
    public static let hifigan22k = MelConfig(sampleRate: 22050, nFFT: 1024, hopLength: 256, nMels: 80).with {
        ($0.padding, $0.epsilon, $0.fmax) = (.reflect, 1e-9, 8000)
    }

    /// HiFi-GAN for rtMRI audio.
    public static let hifigan11k = MelConfig(sampleRate: 11413, nFFT: 2048, hopLength: 420, nMels: 64).with {
        ($0.padding, $0.epsilon) = (.reflect, 1e-9)
    }

    /// Target of the rtMRI acoustic model; the caller divides by the corpus's largest |sample| first.
    public static let rtmri = MelConfig(sampleRate: 11413, nFFT: 2048, hopLength: 420, nMels: 64).with {
        ($0.preEmphasis, $0.padding, $0.power) = (0.97, .none, 2)
        ($0.log, $0.logGain, $0.floor, $0.topDB) = (.log10, 10, 1e-10, 80)
    }

    /// Mel inversion in the order that vocoders share.
    public static let melInversion = MelConfig(sampleRate: 16000, nFFT: 1024, hopLength: 256, nMels: 80)

    /// Mel inversion as its origin trains it: the bank is applied to the normalised dB magnitude.
    public static let melInversionDB = melInversion.with {
        ($0.standardize, $0.spectrumRangeDB, $0.log) = (true, 80, .none)
    }

    /// Auffusion's log-mel, low band first; scaling and flipping into a picture come later.
    public static let auffusion = MelConfig(
        sampleRate: 16000, nFFT: 2048, hopLength: 160, winLength: 1024, nMels: 256
    ).with {
        ($0.peak, $0.padding, $0.epsilon) = (0.95, .reflect, 1e-9)
    }

    /// Bins of an odd transform of 2 · bins - 1 points; the bank believes them evenly spaced over 0 … 8 kHz.
    public static func ecog(bins: Int) -> MelConfig {
        MelConfig(sampleRate: 16000, nFFT: 2 * bins - 1, hopLength: 128, nMels: 128).with {
            ($0.power, $0.melScale, $0.areaNorm, $0.binSpacing) = (2, .htk, false, .linspace)
            ($0.log, $0.logGain, $0.floor) = (.log10, 10, 1e-10)
            ($0.scaleFrom, $0.scaleTo) = (.init(-50, 22.5), .init(-1, 1))
        }
    }

    /// The preset of that name.
    ///
    /// - Throws: `EdgeError` of kind `config` that names the ones there are.
    public static func preset(_ name: String) throws -> MelConfig {
        guard let preset = presets[name] else {
            throw EdgeError(.config, "preset", got: "'\(name)'", expected: "one of \(listed(presets.keys))")
        }
        return preset
    }
}
