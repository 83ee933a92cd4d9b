import Foundation

/// The number types of numpy that a `.npy` file of ours may hold.
public enum DType: String, Sendable, CaseIterable {
    /// One byte, 0 or 1.
    case bool = "b1"
    /// Signed, 8 bits.
    case int8 = "i1"
    /// Unsigned, 8 bits.
    case uint8 = "u1"
    /// Signed, 16 bits.
    case int16 = "i2"
    /// Unsigned, 16 bits.
    case uint16 = "u2"
    /// Signed, 32 bits.
    case int32 = "i4"
    /// Unsigned, 32 bits.
    case uint32 = "u4"
    /// Signed, 64 bits.
    case int64 = "i8"
    /// Unsigned, 64 bits.
    case uint64 = "u8"
    /// Half precision.
    case float16 = "f2"
    /// Single precision.
    case float32 = "f4"
    /// Double precision.
    case float64 = "f8"
    /// Two numbers of single precision.
    case complex64 = "c8"
    /// Two numbers of double precision.
    case complex128 = "c16"

    /// Bytes of one value.
    public var size: Int { Int(rawValue.dropFirst()) ?? 1 }

    /// numpy's name, as `float32`.
    public var name: String { "\(self)" }

    /// Whether a value has a real and an imaginary part.
    public var isComplex: Bool { self == .complex64 || self == .complex128 }
}

/// The contents of a `.npy` file: numpy's format 1.0 to 3.0, any byte order, C or Fortran order.
public struct NpyArray: Sendable {
    /// Type of the numbers.
    public let dtype: DType
    /// Lengths of the axes.
    public let shape: [Int]
    /// The numbers in C order, real and imaginary parts side by side, little-endian.
    private let bytes: [UInt8]

    /// Reads a file.
    ///
    /// - Throws: `EdgeError` of kind `input`: missing, truncated, not `.npy`, or of Python objects or text.
    public init(contentsOf url: URL) throws {
        self = try naming(url.path) { try NpyArray(parsing: try readFile(url, expected: "a .npy array")) }
    }

    /// Reads the bytes of a file.
    public init(parsing file: [UInt8]) throws {
        let header = try NpyHeader(file)
        guard let count = elementCount(header.shape),
            case let (size, overflow) = count.multipliedReportingOverflow(by: header.dtype.size), !overflow,
            size <= file.count - header.end
        else {
            throw EdgeError(
                .input, "array", got: "\(file.count - header.end) bytes of numbers",
                expected: "\(described(header.shape)) of \(header.dtype.name)", cause: "the file is truncated"
            )
        }
        var bytes = Array(file[header.end..<header.end + size])
        let part = header.dtype.isComplex ? header.dtype.size / 2 : header.dtype.size
        if header.bigEndian && part > 1 {
            for start in stride(from: 0, to: size, by: part) { bytes[start..<start + part].reverse() }
        }
        if header.fortranOrder && header.shape.count > 1 {
            bytes = reordered(bytes, shape: header.shape, size: header.dtype.size)
        }
        (dtype, shape, self.bytes) = (header.dtype, header.shape, bytes)
    }

    /// The numbers in double precision; of complex ones two each, real and imaginary part.
    public var parts: [Double] {
        switch dtype {
        case .bool: return bytes.map { $0 == 0 ? 0 : 1 }
        case .int8: return bytes.map { Double(Int8(bitPattern: $0)) }
        case .uint8: return bytes.map { Double($0) }
        case .int16: return integers(Int16.self)
        case .uint16: return integers(UInt16.self)
        case .int32: return integers(Int32.self)
        case .uint32: return integers(UInt32.self)
        case .int64: return integers(Int64.self)
        case .uint64: return integers(UInt64.self)
        case .float16: return load(UInt16.self).map { Double(halfBits: $0) }
        case .float32, .complex64: return load(UInt32.self).map { Double(Float(bitPattern: $0)) }
        case .float64, .complex128: return load(UInt64.self).map { Double(bitPattern: $0) }
        }
    }

    /// Real numbers in double precision.
    ///
    /// - Throws: `EdgeError` of kind `input` where they are complex.
    public func float64() throws -> NDArray<Double> {
        guard !dtype.isComplex else {
            throw EdgeError(.input, "array", got: "values of type \(dtype.name)", expected: "real numbers")
        }
        return NDArray(checked: shape, parts)
    }

    /// Real numbers in single precision.
    public func float32() throws -> NDArray<Float> { try float64().float32 }

    private func load<Word: FixedWidthInteger>(_: Word.Type) -> [Word] {
        let size = MemoryLayout<Word>.size
        return bytes.withUnsafeBytes { raw in
            (0..<raw.count / size).map {
                Word(littleEndian: raw.loadUnaligned(fromByteOffset: $0 * size, as: Word.self))
            }
        }
    }

    private func integers<Word: FixedWidthInteger>(_ type: Word.Type) -> [Double] {
        load(type).map { Double($0) }
    }
}

/// Writing numpy's format 1.0, byte by byte as `numpy.save` does.
public enum Npy {
    /// The bytes of a file.
    ///
    /// - Parameters:
    ///   - array: real numbers; for a complex type the last axis holds real and imaginary part side by side
    ///     and is not one of the file's.
    ///   - dtype: how they are stored: floats are rounded to nearest even, integers take whole numbers alone.
    /// - Throws: `EdgeError` of kind `input`: a number that the type does not hold.
    public static func encode<Number: BinaryFloatingPoint>(_ array: NDArray<Number>, as dtype: DType) throws
        -> [UInt8]
    {
        let shape = dtype.isComplex ? Array(array.shape.dropLast()) : array.shape
        guard !dtype.isComplex || array.shape.last == 2 else {
            throw EdgeError(
                .input, "array", got: "shape \(described(array.shape))", expected: "(…, 2) for \(dtype.name)")
        }
        let order = dtype.size == 1 ? "|" : "<"
        var header =
            "{'descr': '\(order)\(dtype.rawValue)', 'fortran_order': False, 'shape': \(described(shape)), }"
        header += String(repeating: " ", count: 63 - (10 + header.utf8.count) % 64) + "\n"
        var bytes: [UInt8] = [0x93] + Array("NUMPY".utf8) + [1, 0]
        append(UInt16(header.utf8.count), to: &bytes)
        bytes += header.utf8
        bytes.reserveCapacity(bytes.count + array.values.count * dtype.size)
        for value in array.values { try store(Double(value), dtype, &bytes) }
        return bytes
    }

    /// Writes a file, whole or not at all.
    public static func write<Number: BinaryFloatingPoint>(
        _ array: NDArray<Number>, as dtype: DType? = nil, to url: URL
    ) throws {
        let natural: DType = Number.self == Double.self ? .float64 : .float32
        try writeFile(encode(array, as: dtype ?? natural), to: url)
    }

    private static func store(_ value: Double, _ dtype: DType, _ bytes: inout [UInt8]) throws {
        switch dtype {
        case .float16: append(value.halfBits, to: &bytes)
        case .float32, .complex64: append(Float(value).bitPattern, to: &bytes)
        case .float64, .complex128: append(value.bitPattern, to: &bytes)
        case .bool: try append(whole(value == 1 || value == 0 ? value : .nan, UInt8.self), to: &bytes)
        case .int8: try append(whole(value, Int8.self), to: &bytes)
        case .uint8: try append(whole(value, UInt8.self), to: &bytes)
        case .int16: try append(whole(value, Int16.self), to: &bytes)
        case .uint16: try append(whole(value, UInt16.self), to: &bytes)
        case .int32: try append(whole(value, Int32.self), to: &bytes)
        case .uint32: try append(whole(value, UInt32.self), to: &bytes)
        case .int64: try append(whole(value, Int64.self), to: &bytes)
        case .uint64: try append(whole(value, UInt64.self), to: &bytes)
        }
    }

    private static func whole<Word: FixedWidthInteger>(_ value: Double, _: Word.Type) throws -> Word {
        guard let word = Word(exactly: value) else {
            throw EdgeError(
                .input, "array", got: "\(value)", expected: "whole numbers that \(Word.self) holds")
        }
        return word
    }

    private static func append<Word: FixedWidthInteger>(_ word: Word, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: word.littleEndian) { bytes += $0 }
    }
}

/// What stands before the numbers.
private struct NpyHeader {
    var dtype = DType.float32
    var bigEndian = false
    var fortranOrder = false
    var shape: [Int] = []
    var end = 0

    init(_ file: [UInt8]) throws {
        guard file.count >= 10, file.starts(with: [0x93] + Array("NUMPY".utf8)) else {
            throw Self.refusal(
                "no magic of numpy", cause: "the file is damaged, truncated, or of another format")
        }
        let wide = file[6] > 1
        guard 1...3 ~= file[6], file.count >= (wide ? 12 : 10) else {
            throw Self.refusal("version \(file[6]).\(file[7])", cause: "")
        }
        let start = wide ? 12 : 10
        let length = (8..<start).reversed().reduce(0) { $0 << 8 | Int(file[$1]) }
        guard length <= file.count - start else {
            throw Self.refusal("a header of \(length) bytes", cause: "the file is truncated")
        }
        end = start + length
        try parse(String(decoding: file[start..<end], as: UTF8.self))
    }

    private mutating func parse(_ text: String) throws {
        guard let descr = Self.entry("descr", text), descr.first == "'" || descr.first == "\"",
            let type = descr.dropFirst().split(separator: descr.first ?? "'").first, let order = type.first,
            "<>|=".contains(order), let dtype = DType(rawValue: String(type.dropFirst()))
        else { throw Self.refusal("another descr", cause: "Python objects, text and records are no numbers") }
        (self.dtype, bigEndian) = (dtype, order == ">")
        guard let fortran = Self.entry("fortran_order", text),
            fortran.hasPrefix("True") || fortran.hasPrefix("False")
        else { throw Self.refusal("no fortran_order", cause: "") }
        fortranOrder = fortran.hasPrefix("True")
        guard let tuple = Self.entry("shape", text), tuple.first == "(", let close = tuple.firstIndex(of: ")")
        else {
            throw Self.refusal("no shape", cause: "")
        }
        for part in tuple[tuple.index(after: tuple.startIndex)..<close].split(separator: ",") {
            let digits = part.trimmingCharacters(in: .whitespaces)
            if digits.isEmpty { continue }
            guard let length = Int(digits), length >= 0 else {
                throw Self.refusal("a length of \(digits)", cause: "")
            }
            shape.append(length)
        }
        guard shape.count <= 64 else { throw Self.refusal("\(shape.count) axes", cause: "numpy knows 64") }
    }

    /// The text that follows a name in the header's dictionary.
    private static func entry(_ name: String, _ text: String) -> Substring? {
        guard let place = text.range(of: "'\(name)':") ?? text.range(of: "\"\(name)\":") else { return nil }
        return text[place.upperBound...].drop { $0 == " " }
    }

    private static func refusal(_ got: String, cause: String) -> EdgeError {
        EdgeError(
            .input, "array", got: got, expected: "an array of numbers in numpy's .npy format", cause: cause)
    }
}

/// Values in Fortran order as C order.
private func reordered(_ bytes: [UInt8], shape: [Int], size: Int) -> [UInt8] {
    var result = [UInt8](repeating: 0, count: bytes.count)
    var steps = [Int](repeating: 1, count: shape.count)
    for axis in 1..<shape.count { steps[axis] = steps[axis - 1] * shape[axis - 1] }
    var index = [Int](repeating: 0, count: shape.count)
    for place in 0..<bytes.count / max(size, 1) {
        let source = zip(index, steps).reduce(0) { $0 + $1.0 * $1.1 } * size
        for byte in 0..<size { result[place * size + byte] = bytes[source + byte] }
        for axis in shape.indices.reversed() {
            index[axis] += 1
            if index[axis] < shape[axis] { break }
            index[axis] = 0
        }
    }
    return result
}

/// The value of a half-precision number.
package func float(halfBits bits: UInt16) -> Float { Float(Double(halfBits: bits)) }

extension Double {
    /// The value of a half-precision number (IEEE 754 binary16); `Float16` is not on every Mac.
    init(halfBits bits: UInt16) {
        let exponent = Int(bits >> 10 & 31)
        let fraction = Double(bits & 1023)
        let magnitude =
            switch exponent {
            case 0: scalbn(fraction, -24)
            case 31: fraction == 0 ? Double.infinity : Double.nan
            default: scalbn(1024 + fraction, exponent - 25)
            }
        self = bits >> 15 == 0 ? magnitude : -magnitude
    }

    /// The nearest half-precision number, ties to even.
    var halfBits: UInt16 {
        let sign: UInt16 = self.sign == .minus ? 0x8000 : 0
        if isNaN { return sign | 0x7E00 }
        let size = magnitude
        if size >= 65520 { return sign | 0x7C00 }
        // a step of the format at this size; the smallest steps are those of subnormal numbers
        let exponent = max(size == 0 ? -14 : Int(size.exponent), -14)
        let steps = UInt16(scalbn(size, 10 - exponent).rounded(.toNearestOrEven))
        return sign | (UInt16(exponent + 14) << 10) + steps
    }
}
