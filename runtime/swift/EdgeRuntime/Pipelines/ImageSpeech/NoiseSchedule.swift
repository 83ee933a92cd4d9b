import Foundation

/// The noise of a diffusion model's training, as in scheduler_config.json.
///
/// A net that was trained to predict noise sees `sqrt(a_t) · x + sqrt(1 − a_t) · noise`, where a_t, the share of the
/// signal, falls from 0.999 at t = 0 to 0.005 at t = 999. A sampler goes from noise to x in N steps of r = 1000 / N
/// timesteps:
///
///     t_k = (N − 1 − k) · r + offset                                     k = 0 … N − 1
///     z'  = sqrt(a' / a) · z + (sqrt(1 − a') − sqrt(a' (1 − a) / a)) e   a at t, a' at t − r, e the net's noise
///
/// Nothing is clipped on the way: latents go beyond ±1, and a sampler that clips them (`clip_sample`, which diffusers'
/// DDIM does by itself where a configuration does not forbid it) paints another picture. Everything is in single
/// precision, as in diffusers.
public struct NoiseSchedule: Sendable, Equatable {
    /// Timesteps of the training.
    public let timestepsOfTraining: Int
    /// Variance of the noise added at the first timestep.
    public let betaStart: Double
    /// Variance of the noise added at the last timestep.
    public let betaEnd: Double
    /// Added to every timestep.
    public let stepsOffset: Int
    /// The last step ends without any noise, instead of with that of t = 0.
    public let setAlphaToOne: Bool
    /// The signal's share a_t of every timestep, (timestepsOfTraining,).
    public let shares: [Float]

    private static let mostTimesteps = 100_000

    /// A schedule; by default that of Stable Diffusion 1.
    ///
    /// - Throws: `EdgeError` of kind `config` where the numbers contradict each other.
    public init(
        timestepsOfTraining: Int = 1000, betaStart: Double = 0.00085, betaEnd: Double = 0.012,
        stepsOffset: Int = 1, setAlphaToOne: Bool = false
    ) throws {
        guard 1...Self.mostTimesteps ~= timestepsOfTraining else {
            throw EdgeError(
                .config, "num_train_timesteps", got: "\(timestepsOfTraining)",
                expected: "1 to \(Self.mostTimesteps)")
        }
        guard 0 < betaStart, betaStart <= betaEnd, betaEnd < 1 else {
            throw EdgeError(
                .config, "beta_start and beta_end", got: "\(short(betaStart)) and \(short(betaEnd))",
                expected: "0 < beta_start ≤ beta_end < 1")
        }
        guard 0..<timestepsOfTraining ~= stepsOffset else {
            throw EdgeError(.config, "steps_offset", got: "\(stepsOffset)", expected: "0 or 1")
        }
        (self.timestepsOfTraining, self.betaStart, self.betaEnd) = (timestepsOfTraining, betaStart, betaEnd)
        (self.stepsOffset, self.setAlphaToOne) = (stepsOffset, setAlphaToOne)
        var (product, shares) = (Float(1), [Float]())
        for root in linspace(betaStart.squareRoot(), betaEnd.squareRoot(), timestepsOfTraining) {
            product *= 1 - Float(root) * Float(root)
            shares.append(product)
        }
        self.shares = shares
    }

    /// The schedule in a scheduler's configuration; other entries mean nothing here.
    ///
    /// - Parameter config: an object, as scheduler_config.json or the `config` of a UNet's bundle.
    /// - Throws: `EdgeError` of kind `config`: betas listed one by one, entries of a wrong type, or a kind that is not
    ///   supported.
    public init(config: JSON) throws {
        if let betas = config["trained_betas"], betas != .null {
            throw EdgeError(
                .config, "trained_betas", got: "a list", expected: "none: beta_start and beta_end")
        }
        func entry<Value>(_ name: String, _ type: String, _ standard: Value, _ read: (JSON) -> Value?) throws
            -> Value
        {
            guard let given = config[name] else { return standard }
            guard let value = read(given) else {
                throw EdgeError(.config, name, got: given.python, expected: type)
            }
            return value
        }
        try self.init(
            timestepsOfTraining: entry("num_train_timesteps", "int", 1000, \.int),
            betaStart: entry("beta_start", "float", 0.00085, \.double),
            betaEnd: entry("beta_end", "float", 0.012, \.double),
            stepsOffset: entry("steps_offset", "int", 1, \.int),
            setAlphaToOne: entry("set_alpha_to_one", "bool", false, \.bool))
        for (name, only) in [
            ("beta_schedule", "scaled_linear"), ("prediction_type", "epsilon"),
            ("timestep_spacing", "leading"),
        ] {
            try Self.check(name, try entry(name, "str", only, \.string) == only, config[name], "'\(only)'")
        }
        let clips = try entry("clip_sample", "bool", false, \.bool)
        try Self.check("clip_sample", !clips, config["clip_sample"], "False")
    }

    private static func check(_ name: String, _ fits: Bool, _ got: JSON?, _ expected: String) throws {
        guard fits else {
            throw EdgeError(
                .config, name, got: got?.python ?? "", expected: expected,
                cause: "other kinds of models are not supported")
        }
    }

    /// a_t; before the first timestep that of the finished picture, beyond the last that of the last.
    public func share(_ timestep: Int) -> Float {
        if timestep < 0 { return setAlphaToOne ? 1 : shares[0] }
        return shares[min(timestep, shares.count - 1)]
    }

    /// Timesteps from one step to the next.
    ///
    /// - Throws: `EdgeError` of kind `config`: fewer than one step, or more than there are timesteps.
    public func spacing(_ steps: Int) throws -> Int {
        let most = timestepsOfTraining - stepsOffset
        guard 1...most ~= steps else {
            throw EdgeError(.config, "steps", got: "\(steps)", expected: "1 to \(most)")
        }
        return timestepsOfTraining / steps
    }

    /// The timesteps of so many steps, the noisiest first.
    ///
    /// - Throws: `EdgeError` of kind `config`, as `spacing`.
    public func timesteps(_ steps: Int) throws -> [Int] {
        let spacing = try spacing(steps)
        return (0..<steps).reversed().map { $0 * spacing + stepsOffset }
    }

    /// Latents at a timestep, and the noise in them → latents at another timestep; all of one shape.
    ///
    /// - Throws: `EdgeError` of kind `input`: two shapes.
    public func move(_ latents: NDArray<Float>, noise: NDArray<Float>, from timestep: Int, to other: Int)
        throws
        -> NDArray<Float>
    {
        let (now, then) = (share(timestep), share(other))
        let scale = (then / now).squareRoot()
        let ofNoise = (1 - then).squareRoot() - scale * (1 - now).squareRoot()
        return try combined(latents, noise) { scale * $0 + ofNoise * $1 }
    }

    /// What the latents are without the noise: the picture that is expected at the end.
    ///
    /// - Throws: `EdgeError` of kind `input`: two shapes.
    public func clean(_ latents: NDArray<Float>, noise: NDArray<Float>, at timestep: Int) throws
        -> NDArray<Float>
    {
        let share = share(timestep)
        let (ofNoise, root) = ((1 - share).squareRoot(), share.squareRoot())
        return try combined(latents, noise) { ($0 - ofNoise * $1) / root }
    }
}

/// Two arrays of one shape, value by value.
func combined(
    _ latents: NDArray<Float>, _ noise: NDArray<Float>, _ combine: (Float, Float) -> Float
) throws -> NDArray<Float> {
    guard latents.shape == noise.shape else {
        throw EdgeError(
            .input, "noise", got: "shape \(described(noise.shape))",
            expected: "\(described(latents.shape)), the latents'")
    }
    return NDArray(checked: latents.shape, zip(latents.values, noise.values).map(combine))
}

/// Steps from noise to a picture; `step` is called once for each of `timesteps`, in their order.
public protocol Sampler: Sendable {
    /// What the net is told in each call.
    var timesteps: [Int] { get }

    /// The latents of call `number`, and the net's noise → those of the next call; all of one shape.
    ///
    /// - Throws: `EdgeError` of kind `input`: two shapes; of kind `config`: a call out of order.
    mutating func step(_ number: Int, latents: NDArray<Float>, noise: NDArray<Float>) throws -> NDArray<Float>
}

/// The samplers by name.
public enum Scheduler: String, Sendable, CaseIterable {
    /// DDIM with eta 0 (Song and others, 2021): the update with the noise itself.
    case ddim
    /// PNDM (Liu and others, 2022), its linear multi-step part (`skip_prk_steps` of Stable Diffusion).
    case pndm

    /// A sampler of so many steps.
    ///
    /// - Throws: `EdgeError` of kind `config`: an impossible number of steps.
    public func sampler(_ schedule: NoiseSchedule, steps: Int) throws -> any Sampler {
        switch self {
        case .ddim: try DDIM(schedule, steps: steps)
        case .pndm: try PNDM(schedule, steps: steps)
        }
    }
}

/// DDIM with eta 0.
public struct DDIM: Sampler {
    /// Of the training.
    public let schedule: NoiseSchedule
    /// What the net is told in each call.
    public let timesteps: [Int]
    private let spacing: Int

    /// A sampler of so many steps.
    ///
    /// - Throws: `EdgeError` of kind `config`: an impossible number of steps.
    public init(_ schedule: NoiseSchedule, steps: Int) throws {
        (self.schedule, timesteps) = (schedule, try schedule.timesteps(steps))
        spacing = try schedule.spacing(steps)
    }

    /// See `Sampler`; calls may come in any order.
    public func step(_ number: Int, latents: NDArray<Float>, noise: NDArray<Float>) throws -> NDArray<Float> {
        try checkCall(number, timesteps.indices)
        let timestep = timesteps[number]
        return try schedule.move(latents, noise: noise, from: timestep, to: timestep - spacing)
    }
}

/// The linear multi-step method of PNDM; N steps are N + 1 calls, as the second timestep comes twice.
public struct PNDM: Sampler {
    /// Of the training.
    public let schedule: NoiseSchedule
    /// What the net is told in each call.
    public let timesteps: [Int]
    private let spacing: Int
    private var noises: [NDArray<Float>] = []  // of the last calls, the newest first
    private var first = NDArray<Float>(checked: [0], [])
    private var next = 0  // the call that follows

    /// A sampler of so many steps.
    ///
    /// - Throws: `EdgeError` of kind `config`: an impossible number of steps.
    public init(_ schedule: NoiseSchedule, steps: Int) throws {
        let plain = try schedule.timesteps(steps)
        self.schedule = schedule
        timesteps = steps > 1 ? Array(plain[..<2]) + plain[1...] : plain
        spacing = try schedule.spacing(steps)
    }

    /// See `Sampler`; call 0 begins anew.
    public mutating func step(_ number: Int, latents: NDArray<Float>, noise: NDArray<Float>) throws
        -> NDArray<
            Float
        >
    {
        try checkCall(number, timesteps.indices)
        guard number == 0 || number == next else {
            throw EdgeError(
                .config, "number of the call", got: "\(number)", expected: "\(next), or 0 to begin anew",
                cause: "PNDM goes by the noises of the calls before")
        }
        if number > 0, latents.shape != first.shape {
            throw EdgeError(
                .input, "latents", got: "shape \(described(latents.shape))",
                expected: "\(described(first.shape)), as in the calls before")
        }
        let timestep = timesteps[number]
        let moved: NDArray<Float>
        if number == 1 {  // the first step once more, with the mean of both noises
            let mean = try combined(noise, noises[0]) { ($0 + $1) / 2 }
            moved = try schedule.move(first, noise: mean, from: timesteps[0], to: timestep)
        } else {
            let known = number == 0 ? [] : Array(noises.prefix(3))
            let extrapolated = try Self.extrapolated([noise] + known)
            moved = try schedule.move(latents, noise: extrapolated, from: timestep, to: timestep - spacing)
            noises = [noise] + known
            if number == 0 { first = latents }
        }
        next = number + 1
        return moved
    }

    // weights of the noises of the last calls, the newest first (Adams and Bashforth)
    private static let weights: [[Float]] = [[1], [3, -1], [23, -16, 5], [55, -59, 37, -9]]
    private static let divisors: [Float] = [1, 2, 12, 24]

    private static func extrapolated(_ noises: [NDArray<Float>]) throws -> NDArray<Float> {
        let (weights, divisor) = (weights[noises.count - 1], divisors[noises.count - 1])
        var sum = noises[0].map { weights[0] * $0 }
        for (weight, noise) in zip(weights, noises).dropFirst() {
            sum = try combined(sum, noise) { $0 + weight * $1 }
        }
        return sum.map { $0 / divisor }
    }
}

private func checkCall(_ number: Int, _ calls: Range<Int>) throws {
    guard calls.contains(number) else {
        throw EdgeError(
            .config, "number of the call", got: "\(number)", expected: "0 … \(calls.upperBound - 1)")
    }
}

extension JSON {
    /// The value as Python's `repr` writes it, for the words of a refusal.
    var python: String {
        switch self {
        case .null: "None"
        case .bool(let value): value ? "True" : "False"
        case .string(let text): "'\(text)'"
        case .array: "a list"
        case .object: "an object"
        default: text
        }
    }
}
