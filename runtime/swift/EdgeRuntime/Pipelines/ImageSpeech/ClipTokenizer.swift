import Foundation

/// Prompts → the numbers that CLIP's text encoder takes, with vocab.json and merges.txt.
///
///     prompt     in Unicode's normal form C, white space collapsed, small letters
///     → words    the two special tokens; 's 't 're 've 'm 'll 'd; runs of letters; single digits; runs of the rest
///     → symbols  the UTF-8 bytes of a word as 256 printable characters; the last one with the ending </w>
///     → tokens   the pair of neighbours that stands first in merges.txt is joined, until no pair stands there
///     → numbers  <|startoftext|>, at most 75 tokens, <|endoftext|>, and <|endoftext|> until 77 are full
///
/// Letters and digits are those of Unicode (categories L and N) as the system's version knows them.
/// Source: Radford and others, Learning Transferable Visual Models From Natural Language Supervision, 2021; the rules
/// of words and white space are those of transformers' CLIPTokenizer.
public struct ClipTokenizer: Sendable {
    /// Tokens of a prompt, both special ones included.
    public static let length = 77

    private static let start = "<|startoftext|>"
    private static let end = "<|endoftext|>"

    // Symbols have numbers of their own here: Swift takes strings for equal that differ in their bytes.
    private struct Pair: Hashable {
        let left, right: Int
    }
    private struct Merge {
        let rank, joined: Int
    }
    private struct Bytes {
        let inside, last: Int  // symbol of a byte inside and at the end of a word
    }

    private let symbols: [Bytes]
    private let merges: [Pair: Merge]
    private let numbers: [Int: Int32]  // symbol → token number
    private let startNumber, endNumber: Int32

    /// The largest token number.
    public let largest: Int32

    /// The tokenizer of a folder with vocab.json and merges.txt.
    ///
    /// - Throws: `EdgeError` of kind `bundle`: a file is missing, or is not what its name says.
    public init(contentsOf folder: URL) throws {
        let vocabulary = folder.appendingPathComponent("vocab.json")
        let merges = folder.appendingPathComponent("merges.txt")
        let what = "the vocabulary of CLIP, token → number"
        let (numbers, text) = try (
            naming(vocabulary.path, as: .bundle) {
                try JSON(parsing: readFile(vocabulary, expected: what))
            },
            naming(merges.path, as: .bundle) { try readFile(merges, expected: "the merges of CLIP") }
        )
        try self.init(vocabulary: numbers, merges: text, at: vocabulary.path, merges.path)
    }

    /// A tokenizer of what both files hold.
    ///
    /// - Parameters:
    ///   - vocabulary: an object, token → number.
    ///   - merges: UTF-8, a pair of symbols on each line, those that are joined first at the beginning.
    /// - Throws: `EdgeError` of kind `bundle`: not the vocabulary or the merges of CLIP.
    public init(vocabulary: JSON, merges: [UInt8]) throws {
        try self.init(vocabulary: vocabulary, merges: merges, at: "vocab.json", "merges.txt")
    }

    private init(vocabulary: JSON, merges text: [UInt8], at vocabularyName: String, _ mergesName: String)
        throws
    {
        guard let entries = vocabulary.object else {
            throw EdgeError(
                .bundle, vocabularyName, got: vocabulary.python,
                expected: "the vocabulary of CLIP, token → number")
        }
        let missing = [Self.start, Self.end].filter { entries[$0] == nil }
        guard missing.isEmpty else {
            throw EdgeError(
                .bundle, vocabularyName, got: "no \(missing.joined(separator: " and no "))",
                expected: "the vocabulary of CLIP")
        }
        var known: [[UInt8]: Int] = [:]  // bytes of a symbol → its number here
        func symbol(_ bytes: [UInt8]) -> Int {
            if let number = known[bytes] { return number }
            known[bytes] = known.count
            return known.count - 1
        }
        symbols = byteSymbols.map { Bytes(inside: symbol($0), last: symbol($0 + Array("</w>".utf8))) }
        var found: [Pair: Merge] = [:]
        for (rank, pair) in try Self.pairs(text, mergesName).enumerated() {
            found[Pair(left: symbol(pair.0), right: symbol(pair.1))] = Merge(
                rank: rank, joined: symbol(pair.0 + pair.1))
        }
        merges = found
        var (numbers, largest) = ([Int: Int32](), Int32(0))
        for (token, value) in entries {
            guard let number = value.int.flatMap({ Int32(exactly: $0) }), number >= 0 else {
                throw EdgeError(
                    .bundle, vocabularyName, got: "\(token): \(value.python)", expected: "numbers")
            }
            largest = max(largest, number)
            if let place = known[Array(token.utf8)] { numbers[place] = number }
            if token == Self.start { numbers[-1] = number }
            if token == Self.end { numbers[-2] = number }
        }
        (startNumber, endNumber) = (numbers[-1] ?? 0, numbers[-2] ?? 0)
        (self.numbers, self.largest) = (numbers, largest)
    }

    /// The pairs of merges.txt.
    private static func pairs(_ text: [UInt8], _ name: String) throws -> [([UInt8], [UInt8])] {
        guard String(bytes: text, encoding: .utf8) != nil else {
            throw EdgeError(
                .bundle, name, got: "bytes that are not UTF-8", expected: "the merges of CLIP",
                cause: "the file is damaged, or of another kind")
        }
        var found: [([UInt8], [UInt8])] = []
        for (index, line) in text.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated() {
            if line.isEmpty || (index == 0 && line.starts(with: Array("#version".utf8))) { continue }
            var pair = line
            while pair.last == 0x0D { pair = pair.dropLast() }
            let halves = pair.split(separator: 0x20, omittingEmptySubsequences: false)
            guard halves.count == 2, !halves[0].isEmpty, !halves[1].isEmpty else {
                throw EdgeError(
                    .bundle, name,
                    got: "line \(index + 1): '\(String(decoding: line.prefix(60), as: UTF8.self))'",
                    expected: "two symbols and a space")
            }
            found.append((Array(halves[0]), Array(halves[1])))
        }
        return found
    }

    /// All tokens of a prompt, without the ones at its start and end.
    public func tokens(_ prompt: String) -> [Int32] {
        var (found, rest) = ([Int32](), Array(prompt.unicodeScalars)[...])
        let specials = [
            (Array(Self.start.unicodeScalars), startNumber), (Array(Self.end.unicodeScalars), endNumber),
        ]
        while !rest.isEmpty {
            let next = rest.indices.lazy.compactMap { place in
                specials.first { rest[place...].starts(with: $0.0) }.map { (place, $0.0.count, $0.1) }
            }.first
            for word in clipWords(rest[..<(next?.0 ?? rest.endIndex)]) { found += tokens(ofWord: word) }
            guard let next else { break }
            found.append(next.2)
            rest = rest[(next.0 + next.1)...]
        }
        return found
    }

    /// Token numbers (prompts, length), padded with the end's.
    ///
    /// - Parameters:
    ///   - prompts: any texts.
    ///   - length: at least 2.
    ///   - cutting: cut off what a longer prompt has beyond the length, which the nets then do not see, instead of
    ///     refusing it.
    /// - Throws: `EdgeError` of kind `input`: a prompt that is too long.
    public func callAsFunction(_ prompts: [String], length: Int = length, cutting: Bool = false) throws
        -> NDArray<Int32>
    {
        guard 2...largestSize ~= length else {
            throw EdgeError(.config, "length", got: "\(length)", expected: "at least 2 tokens: start and end")
        }
        var values: [Int32] = []
        for prompt in prompts {
            let tokens = tokens(prompt)
            guard cutting || tokens.count <= length - 2 else {
                throw EdgeError(
                    .input, "prompt «\(prompt.prefix(40))…»", got: "\(tokens.count) tokens",
                    expected: "at most \(length - 2)",
                    cause: "the rest is cut off, the nets do not see it: write a shorter prompt")
            }
            let row = [startNumber] + tokens.prefix(length - 2)
            values += row + [Int32](repeating: endNumber, count: length - row.count)
        }
        return NDArray(checked: [prompts.count, length], values)
    }

    private func tokens(ofWord word: String) -> [Int32] {
        let bytes = Array(word.utf8)
        var parts = bytes.dropLast().map { symbols[Int($0)].inside }
        parts += bytes.suffix(1).map { symbols[Int($0)].last }
        while parts.count > 1 {
            var first: (pair: Pair, merge: Merge)?
            for (left, right) in zip(parts, parts.dropFirst()) {
                let pair = Pair(left: left, right: right)
                if let merge = merges[pair], merge.rank < first?.merge.rank ?? .max { first = (pair, merge) }
            }
            guard let first else { break }
            parts = joined(parts, first.pair, first.merge.joined)
        }
        return parts.map { numbers[$0] ?? endNumber }
    }

    /// The symbols with every occurrence of the pair joined, from the left.
    private func joined(_ parts: [Int], _ pair: Pair, _ symbol: Int) -> [Int] {
        var (result, place) = ([Int](), 0)
        while place < parts.count {
            let meets = place + 1 < parts.count && parts[place] == pair.left && parts[place + 1] == pair.right
            result.append(meets ? symbol : parts[place])
            place += meets ? 2 : 1
        }
        return result
    }
}

/// The character that stands for each of the 256 bytes, in UTF-8: itself where Latin-1 prints it, else U+0100 …
private let byteSymbols: [[UInt8]] = {
    var spare: UInt32 = 0x100
    return (UInt32(0)..<256).map { byte in
        let isPrinted = 0x21..<0x7F ~= byte || 0xA1..<0xAD ~= byte || 0xAE..<0x100 ~= byte
        defer { if !isPrinted { spare += 1 } }
        return Unicode.Scalar(isPrinted ? byte : spare).map { Array(String($0).utf8) } ?? []
    }
}()

// MARK: words

private let contractions = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"].map { Array($0.unicodeScalars) }

/// The words of a text without special tokens.
func clipWords(_ text: ArraySlice<Unicode.Scalar>) -> [String] {
    let clean = cleaned(text)
    var (words, place) = ([String](), 0)
    while place < clean.count {
        let kind = kind(clean[place])
        if kind == .space {
            place += 1
            continue
        }
        let contraction = contractions.first { clean[place...].starts(with: $0) }
        var stop = place + (contraction?.count ?? 1)
        if contraction == nil && kind != .number {
            while stop < clean.count, EdgeRuntime.kind(clean[stop]) == kind { stop += 1 }
        }
        var word = String.UnicodeScalarView()
        word.append(contentsOf: clean[place..<stop])
        words.append(String(word))
        place = stop
    }
    return words
}

private func cleaned(_ text: ArraySlice<Unicode.Scalar>) -> [Unicode.Scalar] {
    var view = String.UnicodeScalarView()
    view.append(contentsOf: text)
    let composed = String(view).precomposedStringWithCanonicalMapping.unicodeScalars
    // one by one: the small sigma at the end of a word is no other letter
    return composed.flatMap { isSpace($0) ? [" "] : Array($0.properties.lowercaseMapping.unicodeScalars) }
}

private enum Kind {
    case letter, number, space, other
}

private func kind(_ scalar: Unicode.Scalar) -> Kind {
    if isSpace(scalar) { return .space }
    switch scalar.properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: return .letter
    case .decimalNumber, .letterNumber, .otherNumber: return .number
    default: return .other
    }
}

private func isSpace(_ scalar: Unicode.Scalar) -> Bool { scalar.properties.isWhitespace }
