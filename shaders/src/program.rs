//! The shader programs: which files make up each one, and how they are prepared for the device.
//!
//! Invariant: every file below `shaders/wgsl/` is used by a program, and a program's text is the files' text. The
//! one change made to it is [`unrolled`]: a loop marked `// unroll` is written out, because arrays live in registers
//! only where every index is a constant, and WGSL has no attribute that asks for it.

/// One program: its name, its entry point and its files in order.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// Name in reports; the stem of its last file.
    pub name: &'static str,
    /// Entry point.
    pub entry: &'static str,
    /// Texts of the files.
    files: &'static [&'static str],
}

impl Program {
    /// The text the device is given.
    pub fn text(&self) -> String {
        self.files.iter().map(|file| unrolled(file)).collect::<Vec<_>>().join("\n")
    }

    /// The text as it stands in the files.
    pub fn plain_text(&self) -> String {
        self.files.join("\n")
    }
}

/// One sweep over Ψ: local flows and any axes that a tile holds.
pub const SWEEP: Program = Program {
    name: "kinetic",
    entry: "run",
    files: &[
        include_str!("../wgsl/half_potential.wgsl"),
        include_str!("../wgsl/kinetic/ring.wgsl"),
        include_str!("../wgsl/kinetic/dft.wgsl"),
        include_str!("../wgsl/kinetic/fft.wgsl"),
        include_str!("../wgsl/kinetic/sweep.wgsl"),
        include_str!("../wgsl/kinetic.wgsl"),
    ],
};

/// An axis of any other length.
pub const DIRECT: Program =
    Program { name: "direct", entry: "convolve", files: &[include_str!("../wgsl/kinetic/direct.wgsl")] };

/// Σ|Ψ|².
pub const REDUCE: Program =
    Program { name: "reduce", entry: "norm2", files: &[include_str!("../wgsl/reduce.wgsl")] };

/// Sources on lists of nodes.
pub const SOURCE: Program =
    Program { name: "source", entry: "apply", files: &[include_str!("../wgsl/source.wgsl")] };

/// Copy of a buffer, to measure the device.
pub const COPY: Program =
    Program { name: "copy", entry: "copy", files: &[include_str!("../wgsl/copy.wgsl")] };

/// Local flows on every node.
pub const LOCAL: Program = Program {
    name: "field",
    entry: "advance",
    files: &[include_str!("../wgsl/half_potential.wgsl"), include_str!("../wgsl/field.wgsl")],
};

/// Lines of three nodes.
pub const RING3: Program = Program {
    name: "ring3",
    entry: "three",
    files: &[include_str!("../wgsl/kinetic/bundle.wgsl"), include_str!("../wgsl/kinetic/ring3.wgsl")],
};

/// Lines with a matrix.
pub const FIBRE: Program = Program {
    name: "fibre",
    entry: "dense",
    files: &[include_str!("../wgsl/kinetic/bundle.wgsl"), include_str!("../wgsl/kinetic/fibre.wgsl")],
};

/// Fluxes of an off-diagonal metric.
pub const FLUX: Program = Program { name: "flux", entry: "flux", files: REMAINDER };

/// A term of the remainder's series.
pub const TERM: Program = Program { name: "remainder", entry: "advance", files: REMAINDER };

/// Files of the remainder.
const REMAINDER: &[&str] =
    &[include_str!("../wgsl/kinetic/lattice.wgsl"), include_str!("../wgsl/kinetic/remainder.wgsl")];

/// Structure tensors.
pub const STRUCTURE: Program = Program {
    name: "metric_update",
    entry: "structure",
    files: &[include_str!("../wgsl/kinetic/lattice.wgsl"), include_str!("../wgsl/metric_update.wgsl")],
};

/// What the boundary of an active set measures.
pub const MEASURE: Program =
    Program { name: "sparse", entry: "measure", files: &[include_str!("../wgsl/kinetic/sparse.wgsl")] };

/// One sweep of the wave form over both fields.
pub const WAVE_FORM: Program = Program {
    name: "wave_form",
    entry: "run",
    files: &[
        include_str!("../wgsl/half_potential.wgsl"),
        include_str!("../wgsl/kinetic/dft.wgsl"),
        include_str!("../wgsl/kinetic/sweep.wgsl"),
        include_str!("../wgsl/wave_form/sweep.wgsl"),
        include_str!("../wgsl/wave_form.wgsl"),
    ],
};

/// An axis of any other length of the wave form, one way.
pub const TRANSFORM: Program =
    Program { name: "transform", entry: "transform", files: &[include_str!("../wgsl/kinetic/direct.wgsl")] };

/// Kick and drift of a wave form whose metric varies.
pub const LEAP: Program = Program { name: "leapfrog", entry: "advance", files: LEAPFROG };

/// Damping of its velocity.
pub const DAMP: Program = Program { name: "leapfrog", entry: "damp", files: LEAPFROG };

/// Files of kick, drift and damping.
const LEAPFROG: &[&str] =
    &[include_str!("../wgsl/half_potential.wgsl"), include_str!("../wgsl/wave_form/leapfrog.wgsl")];

/// Fluxes D^{ij}∂_jΨ.
pub const LEAP_FLUX: Program = Program { name: "operator", entry: "flux", files: OPERATOR };

/// Their divergence.
pub const WEIGH: Program = Program { name: "operator", entry: "weigh", files: OPERATOR };

/// Files of the operator ∂D∂.
const OPERATOR: &[&str] =
    &[include_str!("../wgsl/kinetic/lattice.wgsl"), include_str!("../wgsl/wave_form/leapfrog/operator.wgsl")];

/// Files of the energy balance.
const ENERGY: &[&str] = &[include_str!("../wgsl/reduce.wgsl"), include_str!("../wgsl/energy.wgsl")];

/// Sums over the torus.
pub const TOTALS: Program = Program { name: "energy", entry: "totals", files: ENERGY };

/// Work of a source.
pub const WORK: Program = Program { name: "energy", entry: "work", files: ENERGY };

/// The chunks' sums into an entry of the log.
pub const FOLD: Program = Program { name: "energy", entry: "fold", files: ENERGY };

/// The reservoir of the entropy.
pub const COLLECT: Program =
    Program { name: "engs", entry: "collect", files: &[include_str!("../wgsl/engs.wgsl")] };

/// All programs.
pub const PROGRAMS: [Program; 22] = [
    SWEEP, DIRECT, REDUCE, SOURCE, COPY, LOCAL, RING3, FIBRE, FLUX, TERM, STRUCTURE, MEASURE, WAVE_FORM,
    TRANSFORM, LEAP, DAMP, LEAP_FLUX, WEIGH, TOTALS, WORK, FOLD, COLLECT,
];

/// What marks a loop that is written out.
const MARK: &str = "{ // unroll";

/// Writes out every loop marked `// unroll`: `for (var k = A; k < B; k++) { // unroll`. Panics on a marked line that
/// does not have this form (a defect of the file, which a test would find).
pub fn unrolled(text: &str) -> String {
    let Some(mark) = text.find(MARK) else { return text.to_owned() };
    let start = text[..mark].rfind('\n').map_or(0, |end| end + 1);
    let head = &text[start..mark];
    let body_start = mark + MARK.len();
    let body_len = closing(&text[body_start..]);
    let (body, rest) = (&text[body_start..body_start + body_len], &text[body_start + body_len + 1..]);
    let (name, range) = parse(head).unwrap_or_else(|| panic!("not a loop that can be unrolled: {head}"));
    let mut out = text[..start].to_owned();
    for k in range {
        out.push('{');
        out.push_str(&unrolled(&substituted(body, name, k)));
        out.push_str("}\n");
    }
    out.push_str(&unrolled(rest));
    out
}

/// Index of the brace that closes the block which `text` starts inside of.
fn closing(text: &str) -> usize {
    let mut depth = 1;
    for (at, character) in text.char_indices() {
        depth += match character {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        if depth == 0 {
            return at;
        }
    }
    panic!("a marked loop has no end");
}

/// `for (var k = 0u; k < 9u; k++)` as `("k", 0..9)`.
fn parse(head: &str) -> Option<(&str, std::ops::Range<u32>)> {
    let inside = head.trim().strip_prefix("for (var ")?.strip_suffix("++)")?;
    let mut parts = inside.split(';');
    let (name, first) = parts.next()?.split_once(" = ")?;
    let (_, last) = parts.next()?.split_once(" < ")?;
    let number = |text: &str| text.trim().strip_suffix('u')?.parse().ok();
    Some((name, number(first)?..number(last)?))
}

/// `text` with the word `name` replaced by a literal.
fn substituted(text: &str, name: &str, value: u32) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(name) {
        let before = rest[..at].chars().next_back();
        let after = rest[at + name.len()..].chars().next();
        out.push_str(&rest[..at]);
        if before.is_some_and(is_word) || after.is_some_and(is_word) {
            out.push_str(name);
        } else {
            out.push_str(&format!("{value}u"));
        }
        rest = &rest[at + name.len()..];
    }
    out.push_str(rest);
    out
}

#[cfg(all(test, feature = "gpu"))]
mod tests;
