/// Numbers of any number of axes, in C order (the last axis runs fastest), as numpy keeps them.
@frozen
public struct NDArray<Element: Sendable>: Sendable {
    /// Lengths of the axes.
    public let shape: [Int]
    /// All numbers in C order.
    public var values: [Element]

    /// An array of these values.
    ///
    /// - Throws: `EdgeError` of kind `input` where the shape does not hold exactly the values.
    public init(shape: [Int], values: [Element]) throws {
        guard let count = elementCount(shape), count == values.count else {
            throw EdgeError(
                .input, "array", got: "\(values.count) values for shape \(described(shape))",
                expected: "as many as the shape holds")
        }
        self.init(checked: shape, values)
    }

    /// An array of one value.
    @inlinable
    public init(repeating value: Element, shape: [Int]) {
        self.init(checked: shape, Array(repeating: value, count: shape.reduce(1, *)))
    }

    /// An array whose shape is known to fit.
    @usableFromInline
    init(checked shape: [Int], _ values: [Element]) {
        self.shape = shape
        self.values = values
    }

    /// Length of the first axis, 0 of an array without axes.
    @inlinable
    public var rows: Int { shape.first ?? 0 }

    /// Length of the last axis, 0 of an array without axes.
    @inlinable
    public var columns: Int { shape.last ?? 0 }

    /// The element of a matrix at a row and a column.
    @inlinable
    public subscript(row: Int, column: Int) -> Element {
        get { values[row * columns + column] }
        set { values[row * columns + column] = newValue }
    }

    /// The same shape, each value mapped.
    @inlinable
    public func map<Other: Sendable>(_ transform: (Element) throws -> Other) rethrows -> NDArray<Other> {
        NDArray<Other>(checked: shape, try values.map(transform))
    }

    /// The same values in another shape.
    ///
    /// - Throws: `EdgeError` of kind `input` where it holds another number of values.
    public func reshaped(_ other: [Int]) throws -> NDArray {
        try NDArray(shape: other, values: values)
    }

    /// (rows, columns) → (columns, rows) of a matrix.
    @inlinable
    public func transposed() -> NDArray {
        let (rows, columns) = (self.rows, self.columns)
        var result: [Element] = []
        result.reserveCapacity(values.count)
        for column in 0..<columns {
            for row in 0..<rows { result.append(values[row * columns + column]) }
        }
        return NDArray(checked: [columns, rows], result)
    }

    /// Columns `range` of the last axis, all other axes whole; values outside of the array are `fill`.
    public func slice(_ range: Range<Int>, fill: Element) -> NDArray {
        let length = columns
        let outer = length == 0 ? 0 : values.count / length
        var result: [Element] = []
        result.reserveCapacity(outer * range.count)
        let inside = range.clamped(to: 0..<length)
        for row in 0..<outer {
            result += repeatElement(
                fill, count: inside.isEmpty ? range.count : inside.lowerBound - range.lowerBound)
            if !inside.isEmpty {
                result += values[row * length + inside.lowerBound..<row * length + inside.upperBound]
                result += repeatElement(fill, count: range.upperBound - inside.upperBound)
            }
        }
        return NDArray(checked: Array(shape.dropLast()) + [range.count], result)
    }
}

extension NDArray: Equatable where Element: Equatable {}

extension NDArray where Element: BinaryFloatingPoint {
    /// The values rounded to single precision.
    @inlinable
    public var float32: NDArray<Float> { map { Float($0) } }

    /// The values in double precision.
    @inlinable
    public var float64: NDArray<Double> { map { Double($0) } }
}

/// How many elements a shape holds; nil where a length is negative or the number too large to count.
func elementCount(_ shape: [Int]) -> Int? {
    var count = 1
    for length in shape {
        let (product, overflow) = count.multipliedReportingOverflow(by: length)
        if length < 0 || overflow { return nil }
        count = product
    }
    return count
}

/// Where the elements of an array of any strides stand, in C order: Core ML pads rows as it likes.
package struct StridedPlaces: Sequence, IteratorProtocol {
    private let shape, strides: [Int]
    private var index: [Int]
    private var place = 0
    private var rest: Int

    /// - Parameters:
    ///   - shape: lengths of the axes.
    ///   - strides: elements from one index of an axis to the next.
    package init(shape: [Int], strides: [Int]) {
        (self.shape, self.strides, index) = (shape, strides, shape.map { _ in 0 })
        rest = shape.count == strides.count ? elementCount(shape) ?? 0 : 0
    }

    /// The place of the next element, in elements from the first.
    package mutating func next() -> Int? {
        guard rest > 0 else { return nil }
        rest -= 1
        defer { advance() }
        return place
    }

    private mutating func advance() {
        for axis in shape.indices.reversed() {
            index[axis] += 1
            place += strides[axis]
            if index[axis] < shape[axis] { return }
            place -= index[axis] * strides[axis]
            index[axis] = 0
        }
    }
}
