//! Validation cases: exact solutions, published values, identities.
//! Invariant: each case returns what it found and what is exact; `docs/VALIDATION.md` and the tests read the same.

pub mod endurance;
pub mod exact;
pub mod ground_state;
pub mod metric;
pub mod spectrum;
pub mod wave_form;
pub mod wave_metric;

/// One line of the validation table.
#[derive(Debug, Clone)]
pub struct Case {
    /// What is computed.
    pub name: String,
    /// Where the exact or published value comes from.
    pub source: &'static str,
    /// The exact or published value, as text.
    pub exact: String,
    /// Ours, as text.
    pub ours: String,
    /// The error compared with `tolerance`.
    pub error: f64,
    /// Largest error that passes.
    pub tolerance: f64,
}

impl Case {
    /// A case that compares numbers, with the relative error (absolute where the exact value is 0).
    pub fn number(
        name: impl Into<String>,
        source: &'static str,
        exact: f64,
        ours: f64,
        tolerance: f64,
    ) -> Self {
        let scale = if exact == 0.0 { 1.0 } else { exact.abs() };
        Self {
            name: name.into(),
            source,
            exact: format!("{exact:.9}"),
            ours: format!("{ours:.9}"),
            error: (ours - exact).abs() / scale,
            tolerance,
        }
    }

    /// A case that is an error already: a norm of a difference, a defect of an identity.
    pub fn defect(name: impl Into<String>, source: &'static str, error: f64, tolerance: f64) -> Self {
        Self { name: name.into(), source, exact: "0".into(), ours: format!("{error:.2e}"), error, tolerance }
    }

    /// Whether the error is within the tolerance; NaN never is.
    pub fn passes(&self) -> bool {
        self.error <= self.tolerance
    }
}

/// All cases, in the order of the report.
pub fn all() -> Vec<Case> {
    let mut cases = exact::cases();
    cases.extend(metric::cases());
    cases.extend(spectrum::cases());
    cases.extend(wave_form::cases());
    cases.extend(wave_metric::cases());
    cases.extend(ground_state::cases());
    cases
}
