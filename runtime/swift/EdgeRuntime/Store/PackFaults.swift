import Foundation

// MARK: what ports do wrong

/// The faults of published ports, tried one by one: the one that gives the pack's mel is named.
func explainMel(
    _ truth: NDArray<Double>, _ config: MelConfig, _ file: URL, _ tolerance: Double
) -> String {
    guard let audio = try? Audio(contentsOf: file, sampleRate: config.sampleRate).samples else { return "" }
    let count = config.winLength
    let symmetric = (0..<count).map { 0.5 - 0.5 * cos(2 * Double.pi * Double($0) / Double(count - 1)) }
    var faults: [(String, MelConfig, [Double]?)] = [
        ("the symmetric Hann window (divide by the length, not the length less 1)", config, symmetric)
    ]
    let changes: [(String, (inout MelConfig) -> Void)] = [
        ("the other mel scale (HTK for Slaney)", { $0.melScale = $0.melScale == .slaney ? .htk : .slaney }),
        ("filters of another norm", { $0.areaNorm.toggle() }),
        ("frames without centring", { $0.padding = .none }),
        ("mirrored padding for zeros", { $0.padding = .centerReflect }),
        ("zeros for mirrored padding", { $0.padding = .centerZero }),
        ("a 512-point transform", { ($0.nFFT, $0.winLength) = (512, min(512, $0.winLength)) }),
        ("no pre-emphasis", { $0.preEmphasis = 0 }),
        ("the power for the magnitude", { $0.power = $0.power == 1 ? 2 : 1 }),
    ]
    faults += changes.map { ($0.0, config.with($0.1), nil) }
    for (name, other, window) in faults where window != nil || other != config {
        let frontEnd = try? window.map { try MelFrontEnd(other, window: $0) } ?? MelFrontEnd(other)
        guard let mel = try? frontEnd?.float64(audio) else { continue }
        let result = try? Comparison(reference: truth, candidate: mel, tolerance: tolerance)
        if result?.passed ?? false { return "it is the mel of \(name)" }
    }
    return ""
}

func explainWindows(_ truth: NDArray<Double>, _ folder: URL, _ fps: Double) -> String {
    guard let mel = try? NpyArray(contentsOf: folder.appendingPathComponent("mel_spectrogram.npy")).float64(),
        let starts = try? Windows.starts(mel.columns, fps: fps), truth.rows == starts.count
    else { return "" }
    for shift in [-2, -1, 1, 2] {
        let inside = starts.enumerated().filter { 0...(mel.columns - 16) ~= $0.element + shift }
        let same = inside.allSatisfy { index, start in
            (0..<16).allSatisfy { frame in
                (0..<80).allSatisfy { band in
                    abs(truth.values[(index * 16 + frame) * 80 + band] - mel[band, start + shift + frame])
                        < 1e-3
                }
            }
        }
        if same { return "windows begin \(abs(shift)) mel frames too \(shift > 0 ? "late" : "early")" }
    }
    return ""
}
