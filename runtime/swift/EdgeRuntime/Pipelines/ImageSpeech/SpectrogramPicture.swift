import Foundation

/// A log-mel as a picture: the one convention of training data, diffusion and vocoder.
///
///     mel      (256, 1024)  natural logarithm, row 0 the lowest band, of front end `auffusion`
///     picture  (256, 1024)  0 … 1, row 0 the highest band: (mel − ln 1e-5) / (ln 200 − ln 1e-5)
///
/// A wider or narrower picture has more or fewer frames of 10 ms. Source: Auffusion (Xue and others, 2024), 3.1.
public enum SpectrogramPicture {
    /// The mel of value 0, the front end's floor.
    public static let darkest = log(1e-5)
    /// The mel of value 1.
    public static let brightest = log(200.0)
    /// By which a mel may leave that interval, of ln.
    private static let rounding = 1e-3

    /// The picture of a mel.
    ///
    /// - Parameter mel: (bands, frames) of front end `auffusion`, natural logarithm, row 0 the lowest band.
    /// - Returns: (bands, frames) in 0 … 1, row 0 the highest band.
    /// - Throws: `EdgeError` of kind `input`: another shape, values that are not finite, or that this front end does
    ///   not give.
    public static func picture(of mel: NDArray<Float>) throws -> NDArray<Float> {
        try checkShape(mel, "mel")
        let (lowest, highest) = range(mel)
        guard lowest >= darkest - rounding, highest <= brightest + rounding else {
            throw EdgeError(
                .input, "mel", got: "values of \(short(lowest, 4)) … \(short(highest, 4))",
                expected: "\(short(darkest, 4)) (ln 1e-5) … \(short(brightest, 4)) (ln 200)",
                cause: "it is of another front end than auffusion: in dB, of a power, or of louder audio")
        }
        return flipped(mel).map {
            Float(min(max((Double($0) - darkest) / (brightest - darkest), 0), 1))
        }
    }

    /// The mel of a picture.
    ///
    /// - Parameter picture: (bands, frames) in 0 … 1, row 0 the highest band; or (3, bands, frames), whose channels
    ///   are averaged.
    /// - Returns: (bands, frames), natural logarithm, row 0 the lowest band.
    /// - Throws: `EdgeError` of kind `input`: another shape, or values outside of 0 … 1.
    public static func mel(of picture: NDArray<Float>) throws -> NDArray<Float> {
        let grey = picture.shape.count == 3 && picture.rows == 3 ? self.grey(picture) : picture.float64
        try checkShape(grey, "picture")
        let (lowest, highest) = range(grey)
        guard lowest >= 0, highest <= 1 else {
            throw EdgeError(
                .input, "picture", got: "values of \(short(lowest, 4)) … \(short(highest, 4))",
                expected: "0 … 1",
                cause: "divide an 8-bit picture by 255; a VAE's output x is clip(x / 2 + 0.5, 0, 1)")
        }
        return flipped(grey).map { Float($0 * (brightest - darkest) + darkest) }
    }

    /// A picture pressed into a spectrogram: `spectrogram · (1 − strength · (1 − grey))`.
    ///
    /// The baseline «imprint» of Chen and others, Images that Sound, 2024. Both are pictures of 0 … 1.
    ///
    /// - Throws: `EdgeError` of kind `input`: two shapes; of kind `config`: a strength outside of 0 … 1.
    public static func imprint(_ spectrogram: NDArray<Float>, grey: NDArray<Float>, strength: Float = 0.5)
        throws
        -> NDArray<Float>
    {
        guard 0...1 ~= strength else {
            throw EdgeError(
                .config, "strength", got: short(Double(strength)), expected: "0 (no picture) to 1")
        }
        guard spectrogram.shape == grey.shape else {
            throw EdgeError(
                .input, "picture to imprint", got: "shape \(described(grey.shape))",
                expected: "\(described(spectrogram.shape)), the spectrogram's")
        }
        return try combined(spectrogram, grey) { $0 * (1 - strength * (1 - $1)) }
    }

    /// The mean of three channels.
    private static func grey(_ picture: NDArray<Float>) -> NDArray<Double> {
        let size = picture.values.count / 3
        let values = (0..<size).map { place in
            (0..<3).reduce(0.0) { $0 + Double(picture.values[$1 * size + place]) } / 3
        }
        return NDArray(checked: Array(picture.shape.dropFirst()), values)
    }

    private static func flipped<Number>(_ array: NDArray<Number>) -> NDArray<Number> {
        let columns = array.columns
        let rows = (0..<array.rows).reversed()
        return NDArray(checked: array.shape, rows.flatMap { array.values[$0 * columns..<($0 + 1) * columns] })
    }

    /// Least and largest value; NaN where there is one.
    private static func range<Number: BinaryFloatingPoint>(_ array: NDArray<Number>) -> (Double, Double) {
        guard !array.values.contains(where: \.isNaN) else { return (.nan, .nan) }
        return (Double(array.values.min() ?? 0), Double(array.values.max() ?? 0))
    }

    private static func checkShape<Number>(_ array: NDArray<Number>, _ what: String) throws {
        guard array.shape.count == 2, !array.values.isEmpty else {
            throw EdgeError(
                .input, what, got: "shape \(described(array.shape))",
                expected: "floats (bands, frames), 256 bands for this system")
        }
    }
}
