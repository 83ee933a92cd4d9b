import Foundation

/// Articulator masks: darken a polygon of the picture, to see from the net's output what it used it for.
///
///     polygon on its own base  →  `weights`            →  (H, W), `alpha` inside, 1 outside, a soft edge
///     prepared frame · weights →  `MRISpeech.process`  →  what the net says without that articulator
///
/// Polygons are given on a square of `base` pixels, x to the right, y down, and are scaled to the frame. Filling and
/// blur are those of cv2.fillPoly and cv2.GaussianBlur: corners are rounded to pixels, the outline belongs to the
/// polygon, the even-odd rule holds where it crosses itself; the Gaussian is normalised, its deviation follows from its
/// size, and the picture is mirrored about its edge pixels.
public struct Polygon: Sendable, Equatable {
    /// A corner, pixels.
    public struct Point: Sendable, Hashable {
        /// To the right.
        public let x: Double
        /// Down.
        public let y: Double

        /// A corner.
        public init(_ x: Double, _ y: Double) { (self.x, self.y) = (x, y) }
    }

    /// Corners, in order.
    public let points: [Point]
    /// Pixels of a side of the square on which they lie.
    public let base: Double

    /// A polygon.
    ///
    /// - Throws: `EdgeError` of kind `input`: fewer than three different corners, all on one line, or one outside of
    ///   the square.
    public init(_ points: [Point], base: Double = 256) throws {
        guard base.isFinite, base > 0 else {
            throw EdgeError(
                .input, "mask polygon: size", got: "\(base)", expected: "pixels of a side, above 0")
        }
        let corners = Set(points).count
        guard corners >= 3 else {
            throw EdgeError(
                .input, "mask polygon", got: "\(corners) different points", expected: "at least 3")
        }
        for point in points where !(0...base ~= point.x && 0...base ~= point.y) {
            throw EdgeError(
                .input, "mask polygon", got: "a point at \(short(point.x)),\(short(point.y))",
                expected: "points within 0 … \(short(base))",
                cause: "points are x,y on a picture of \(short(base))x\(short(base)) pixels; another size is "
                    + "given as JSON: {\"size\": 84, \"points\": [[10, 20], …]}")
        }
        guard Self.hasArea(points) else {
            throw EdgeError(
                .input, "mask polygon", got: "points on one line", expected: "a polygon with an area")
        }
        (self.points, self.base) = (points, base)
    }

    /// Lips and the tip of the tongue's room, as mri2speech has it.
    public static var lip: Polygon { get throws { try Polygon([(8, 84), (43, 84), (45, 156), (8, 156)]) } }

    /// Dorsum and pharynx.
    public static var tongue: Polygon {
        get throws {
            try Polygon([(36.1, 102.7), (63.4, 90.9), (122.7, 111.5), (133.4, 172.2), (47.6, 155.0)])
        }
    }

    private init(_ points: [(Double, Double)]) throws { try self.init(points.map { Point($0.0, $0.1) }) }

    /// The polygon that a text describes.
    ///
    /// - Parameter text: "lip", "tongue", "x,y x,y x,y …", or JSON: `[[x, y], …]`, `{"size": 84, "points": […]}`.
    ///   Without a size, points are on 256 × 256 pixels.
    /// - Throws: `EdgeError` of kind `input`: none of these, or not a valid polygon.
    public init(parsing text: String) throws {
        switch text {
        case "lip": self = try .lip
        case "tongue": self = try .tongue
        case _ where text.first(where: { !$0.isWhitespace }).map { "[{".contains($0) } ?? false:
            try self.init(json: text)
        default:
            let points = text.split(whereSeparator: \.isWhitespace).map { point -> Point? in
                let numbers = point.split(separator: ",", omittingEmptySubsequences: false).map(Self.number)
                guard numbers.count == 2, let x = numbers[0], let y = numbers[1] else { return nil }
                return Point(x, y)
            }
            guard !points.isEmpty, !points.contains(nil) else { throw Self.noMask(text) }
            try self.init(points.compactMap { $0 })
        }
    }

    private init(json text: String) throws {
        var content = try naming("mask") { try JSON(parsing: Array(text.utf8)) }
        var size: Double? = 256
        if let entries = content.object, Set(entries.keys).isSubset(of: ["size", "points"]) {
            size = entries["size"].map(\.double) ?? 256
            content = entries["points"] ?? .null
        }
        let points = content.array?.map { point -> Point? in
            guard let pair = point.array, pair.count == 2, let x = pair[0].double, let y = pair[1].double
            else {
                return nil
            }
            return Point(x, y)
        }
        guard let size, let points, !points.contains(nil) else { throw Self.noMask(text) }
        try self.init(points.compactMap { $0 }, base: size)
    }

    private static func number(_ text: Substring) -> Double? {
        text.allSatisfy { "0123456789+-.eE".contains($0) } ? Double(text) : nil
    }

    private static func noMask(_ text: String) -> EdgeError {
        let line = text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
        return EdgeError(
            .input, "mask", got: "«\(line.prefix(60))»", expected: "lip, tongue, or the points of a polygon",
            cause: "points are written x,y x,y x,y or as JSON [[x, y], …]")
    }

    /// Whether a corner lies off the line through the first one and the one that is farthest from it.
    private static func hasArea(_ points: [Point]) -> Bool {
        let sides = points.dropFirst().map { ($0.x - points[0].x, $0.y - points[0].y) }
        guard let far = sides.max(by: { hypot($0.0, $0.1) < hypot($1.0, $1.1) }) else { return false }
        let length = hypot(far.0, far.1)
        let widest = sides.reduce(0) { max($0, abs($1.0 * far.1 - $1.1 * far.0) / length) }
        return widest > Double(points.count) * length * Double.ulpOfOne
    }

    /// The corners in whole pixels of a frame of `height` × `width` pixels.
    func scaled(height: Int, width: Int) -> [(x: Int, y: Int)] {
        points.map {
            (
                Int(($0.x * (Double(width) / base)).rounded(.toNearestOrEven)),
                Int(($0.y * (Double(height) / base)).rounded(.toNearestOrEven))
            )
        }
    }

    /// The factor by which each pixel of a frame is multiplied.
    ///
    /// - Parameters:
    ///   - height: of the frame, pixels.
    ///   - width: of the frame, pixels.
    ///   - alpha: intensity that remains inside: 0 hides, 1 changes nothing.
    ///   - blur: size of the Gaussian in pixels; an even number counts as the next odd one, 1 is a hard edge.
    /// - Returns: (height, width) in alpha … 1.
    /// - Throws: `EdgeError` of kind `config`: alpha, blur or size out of range.
    public func weights(height: Int, width: Int, alpha: Double = 0.1, blur: Int = 11) throws -> NDArray<Float>
    {
        guard 1...255 ~= blur else {
            throw EdgeError(.config, "blur", got: "\(blur) pixels", expected: "1 to 255")
        }
        guard 0...1 ~= alpha else {
            throw EdgeError(.config, "alpha", got: "\(alpha)", expected: "0 (hidden) to 1 (no mask)")
        }
        guard 1...Self.largestSide ~= height, 1...Self.largestSide ~= width else {
            throw EdgeError(
                .config, "size", got: "\(width)x\(height) pixels", expected: "1 to \(Self.largestSide) each")
        }
        let filled = fillPolygon(scaled(height: height, width: width), height: height, width: width)
        let sharp = NDArray(checked: [height, width], filled.map { $0 ? Double(Float(alpha)) : 1 })
        return gaussianBlur(sharp, size: blur).map { min(max(Float($0), Float(alpha)), 1) }
    }

    private static let largestSide = 1 << 13
}

/// The pixels of a polygon and of its outline, (height, width) row by row; parts outside of the frame are cut off.
func fillPolygon(_ corners: [(x: Int, y: Int)], height: Int, width: Int) -> [Bool] {
    var filled = [Bool](repeating: false, count: height * width)
    let sides = zip(corners, corners.dropFirst() + corners.prefix(1))
    for row in 0..<height {
        let crossings = sides.compactMap { start, end -> Double? in
            guard min(start.y, end.y) <= row, row < max(start.y, end.y) else { return nil }
            return Double(start.x) + Double((row - start.y) * (end.x - start.x)) / Double(end.y - start.y)
        }.sorted()
        for pair in stride(from: 0, to: crossings.count - 1, by: 2) {
            let left = max(Int(crossings[pair].rounded(.up)), 0)
            let right = min(Int(crossings[pair + 1].rounded(.down)) + 1, width)
            for column in left..<max(left, right) { filled[row * width + column] = true }
        }
    }
    for (start, end) in sides {
        for pixel in line(start, end) where 0..<width ~= pixel.x && 0..<height ~= pixel.y {
            filled[pixel.y * width + pixel.x] = true
        }
    }
    return filled
}

/// The pixels from one to another (Bresenham), beginning on the left.
private func line(_ start: (x: Int, y: Int), _ end: (x: Int, y: Int)) -> [(x: Int, y: Int)] {
    let (from, to) = start.x <= end.x ? (start, end) : (end, start)
    let (across, down) = (to.x - from.x, to.y - from.y)
    let (longer, shorter) = (max(across, abs(down)), min(across, abs(down)))
    return (0...longer).map { step in
        // rounded, halves down
        let divisor = 2 * max(longer, 1)
        let doubled = longer - 2 * shorter * step
        let side = -(doubled >= 0 ? doubled / divisor : -((-doubled + divisor - 1) / divisor))
        return across >= abs(down)
            ? (from.x + step, from.y + down.signum() * side) : (from.x + side, from.y + down.signum() * step)
    }
}

/// A picture (H, W), blurred by a Gaussian of `size` pixels; even sizes count as the next odd one.
func gaussianBlur(_ picture: NDArray<Double>, size: Int) -> NDArray<Double> {
    let kernel = gaussianKernel(reach: size / 2)
    // along the rows, turned, along the rows again, and back
    return blurredRows(blurredRows(picture.transposed(), kernel).transposed(), kernel)
}

private func blurredRows(_ picture: NDArray<Double>, _ kernel: [Double]) -> NDArray<Double> {
    let (rows, columns, reach) = (picture.rows, picture.columns, kernel.count / 2)
    let period = max(2 * (columns - 1), 1)
    // mirrored about the edge pixels, again and again where the picture is small
    let places = (-reach..<columns + reach).map { place -> Int in
        let turn = ((place % period) + period) % period
        return columns == 1 ? 0 : min(turn, period - turn)
    }
    var values: [Double] = []
    values.reserveCapacity(rows * columns)
    for row in 0..<rows {
        for column in 0..<columns {
            values.append(
                kernel.indices.reduce(0) { sum, tap in
                    sum + picture.values[row * columns + places[column + tap]] * kernel[tap]
                })
        }
    }
    return NDArray(checked: picture.shape, values)
}

/// (2 · reach + 1,) with sum 1: the Gaussian that opencv chooses for a size.
private func gaussianKernel(reach: Int) -> [Double] {
    // the small Gaussians that opencv rounds: weights up to the middle
    let halves: [Int: [Double]] = [
        1: [1, 2], 2: [1, 4, 6], 3: [2, 7, 14, 18], 4: [4, 13, 30, 51, 60],
    ]
    let sigma = 0.3 * Double(reach - 1) + 0.8  // pixels
    let values =
        halves[reach].map { $0 + $0.dropLast().reversed() }
        ?? (-reach...reach).map { exp(-0.5 * (Double($0) / sigma) * (Double($0) / sigma)) }
    let sum = values.reduce(0, +)
    return values.map { $0 / sum }
}
