import Foundation

/// A refusal in one sentence: `what: got …, expected …; likely cause`, in the words of the Python runtime.
public struct EdgeError: Error, Sendable, Equatable, CustomStringConvertible, LocalizedError {
    /// What was refused.
    public enum Kind: String, Sendable {
        /// Audio, an array or a video that cannot be processed.
        case input
        /// An option or a configuration that contradicts itself or another.
        case config
        /// A bundle that is damaged, incomplete, or of another format.
        case bundle
        /// An output path that exists already or cannot be written.
        case target
        /// A library or device that this machine lacks.
        case backend
    }

    /// What was refused.
    public let kind: Kind
    /// File, option or array.
    public let what: String
    /// The value found there.
    public let got: String
    /// What would have been accepted.
    public let expected: String
    /// The likely cause and its cure, empty where there is nothing honest to guess.
    public let cause: String

    /// A refusal of its four parts.
    public init(_ kind: Kind, _ what: String, got: String, expected: String, cause: String = "") {
        self.kind = kind
        self.what = what
        self.got = got
        self.expected = expected
        self.cause = cause
    }

    /// The sentence.
    public var description: String {
        let sentence = "\(what): got \(got), expected \(expected)"
        return cause.isEmpty ? sentence : "\(sentence); \(cause)"
    }

    /// The sentence.
    public var errorDescription: String? { description }

    /// The same refusal with the place that contains it named first (`speech.wav: audio: …`).
    public func within(_ place: String, as other: Kind? = nil) -> EdgeError {
        EdgeError(other ?? kind, "\(place): \(what)", got: got, expected: expected, cause: cause)
    }
}

/// Runs a body; its refusals carry the name of the place.
func naming<Result>(_ place: String, as kind: EdgeError.Kind? = nil, _ body: () throws -> Result) throws
    -> Result
{
    do {
        return try body()
    } catch let error as EdgeError {
        throw error.within(place, as: kind)
    }
}

/// Names for a sentence: sorted, with commas; "none" where there are none.
func listed(_ names: some Sequence<String>) -> String {
    let sorted = names.sorted()
    return sorted.isEmpty ? "none" : sorted.joined(separator: ", ")
}

/// A shape as numpy writes it: `(80, 161)`, `(5,)`.
func described(_ shape: [Int]) -> String {
    shape.count == 1 ? "(\(shape[0]),)" : "(\(shape.map(String.init).joined(separator: ", ")))"
}

/// A number as C's %g prints it, of so many digits.
func short(_ value: Double, _ digits: Int = 6) -> String {
    String(format: "%.\(digits)g", value)
}
