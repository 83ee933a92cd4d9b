import Foundation

/// A JSON value that keeps whole numbers, fractions and truth values apart, as Python's reader does.
///
/// Foundation's own reader makes `NSNumber` of all three on some systems, and `true` is no length.
public enum JSON: Sendable, Equatable {
    /// null
    case null
    /// true or false
    case bool(Bool)
    /// A number without point or exponent that fits into 64 bits.
    case int(Int)
    /// Any other number.
    case double(Double)
    /// A text.
    case string(String)
    /// A list.
    case array([JSON])
    /// An object; of a name that stands twice the last value counts.
    case object([String: JSON])

    /// Reads a whole JSON text.
    ///
    /// - Throws: `EdgeError` of kind `input`: no JSON, or nested deeper than 100 levels.
    public init(parsing bytes: some Collection<UInt8>) throws {
        var parser = Parser(bytes: Array(bytes))
        self = try parser.document()
    }

    /// The entry of an object, nil where there is none.
    public subscript(name: String) -> JSON? {
        if case .object(let entries) = self { return entries[name] }
        return nil
    }

    /// A text.
    public var string: String? {
        if case .string(let text) = self { return text }
        return nil
    }

    /// A whole number.
    public var int: Int? {
        if case .int(let number) = self { return number }
        return nil
    }

    /// Any number.
    public var double: Double? {
        switch self {
        case .int(let number): return Double(number)
        case .double(let number): return number
        default: return nil
        }
    }

    /// true or false
    public var bool: Bool? {
        if case .bool(let value) = self { return value }
        return nil
    }

    /// A list.
    public var array: [JSON]? {
        if case .array(let items) = self { return items }
        return nil
    }

    /// An object.
    public var object: [String: JSON]? {
        if case .object(let entries) = self { return entries }
        return nil
    }

    /// The value as JSON text on one line, sorted by name.
    public var text: String {
        switch self {
        case .null: return "null"
        case .bool(let value): return value ? "true" : "false"
        case .int(let number): return "\(number)"
        case .double(let number): return number.isFinite ? "\(number)" : "null"
        case .string(let text): return Self.quoted(text)
        case .array(let items): return "[" + items.map(\.text).joined(separator: ", ") + "]"
        case .object(let entries):
            let sorted = entries.sorted { $0.key < $1.key }
            return "{" + sorted.map { "\(Self.quoted($0.key)): \($0.value.text)" }.joined(separator: ", ")
                + "}"
        }
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": result += "\\\(scalar)"
            case _ where scalar.value < 0x20: result += String(format: "\\u%04x", scalar.value)
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}

private struct Parser {
    let bytes: [UInt8]
    var position = 0
    static let deepest = 100

    mutating func document() throws -> JSON {
        let value = try self.value(depth: 0)
        skipSpace()
        guard position == bytes.count else { throw refusal("more after the end") }
        return value
    }

    private mutating func value(depth: Int) throws -> JSON {
        guard depth < Self.deepest else { throw refusal("nesting deeper than \(Self.deepest) levels") }
        skipSpace()
        switch peek {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try text())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try number()
        }
    }

    private mutating func object(depth: Int) throws -> JSON {
        var entries: [String: JSON] = [:]
        position += 1
        skipSpace()
        if take("}") { return .object(entries) }
        while true {
            skipSpace()
            let name = try text()
            skipSpace()
            guard take(":") else { throw refusal("no colon") }
            entries[name] = try value(depth: depth + 1)
            skipSpace()
            if take("}") { return .object(entries) }
            guard take(",") else { throw refusal("no comma") }
        }
    }

    private mutating func array(depth: Int) throws -> JSON {
        var items: [JSON] = []
        position += 1
        skipSpace()
        if take("]") { return .array(items) }
        while true {
            items.append(try value(depth: depth + 1))
            skipSpace()
            if take("]") { return .array(items) }
            guard take(",") else { throw refusal("no comma") }
        }
    }

    private mutating func text() throws -> String {
        guard take("\"") else { throw refusal("no quote") }
        var result: [UInt8] = []
        while let byte = peek {
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                let text = String(decoding: result, as: UTF8.self)
                guard text.utf8.elementsEqual(result) else { throw refusal("bytes that are no UTF-8") }
                return text
            case UInt8(ascii: "\\"): result += try escape()
            case 0..<0x20: throw refusal("a control character in a text")
            default: result.append(byte)
            }
        }
        throw refusal("the end within a text")
    }

    private mutating func escape() throws -> [UInt8] {
        guard let byte = peek else { throw refusal("the end within a text") }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return [byte]
        case UInt8(ascii: "b"): return [8]
        case UInt8(ascii: "f"): return [12]
        case UInt8(ascii: "n"): return [10]
        case UInt8(ascii: "r"): return [13]
        case UInt8(ascii: "t"): return [9]
        case UInt8(ascii: "u"):
            var code = try hexadecimal()
            if 0xD800..<0xDC00 ~= code, take("\\"), take("u") {
                code = 0x10000 + (code - 0xD800) << 10 + (try hexadecimal() &- 0xDC00)
            }
            guard let scalar = Unicode.Scalar(code) else { throw refusal("half of a surrogate pair") }
            return Array(String(Character(scalar)).utf8)
        default: throw refusal("an unknown escape")
        }
    }

    private mutating func hexadecimal() throws -> UInt32 {
        guard position + 4 <= bytes.count,
            let code = UInt32(String(decoding: bytes[position..<position + 4], as: UTF8.self), radix: 16)
        else { throw refusal("no four hexadecimal digits") }
        position += 4
        return code
    }

    private mutating func number() throws -> JSON {
        let start = position
        while let byte = peek, Self.ofNumbers.contains(byte) { position += 1 }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        guard let first = text.utf8.first, first != UInt8(ascii: "+"), first != UInt8(ascii: ".") else {
            throw refusal("no value")
        }
        if let whole = Int(text) { return .int(whole) }
        guard let number = Double(text), number.isFinite else { throw refusal("no number") }
        return .double(number)
    }

    private static let ofNumbers = Set("0123456789+-.eE".utf8)

    private mutating func word(_ word: String, _ value: JSON) throws -> JSON {
        guard bytes[position...].starts(with: word.utf8) else { throw refusal("no value") }
        position += word.utf8.count
        return value
    }

    private var peek: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func take(_ character: Character) -> Bool {
        guard peek == character.asciiValue else { return false }
        position += 1
        return true
    }

    private mutating func skipSpace() {
        while let byte = peek, byte == 32 || byte == 10 || byte == 13 || byte == 9 { position += 1 }
    }

    private func refusal(_ got: String) -> EdgeError {
        EdgeError(.input, "JSON", got: "\(got) at byte \(position)", expected: "JSON")
    }
}
