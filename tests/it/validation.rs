//! The validation cases as tests; the slow ground states are left to `cargo xtask validate`.

use nikola_tests::validation::{Case, exact, ground_state, metric, spectrum, wave_form, wave_metric};

fn assert_all(cases: Vec<Case>) {
    assert!(!cases.is_empty());
    let failed: Vec<_> = cases.iter().filter(|case| !case.passes()).collect();
    assert!(failed.is_empty(), "out of tolerance: {failed:#?}");
}

#[test]
fn exact_solutions_and_identities() {
    assert_all(exact::cases());
}

#[test]
fn variable_metrics() {
    assert_all(metric::cases());
}

#[test]
fn linear_response() {
    assert_all(spectrum::cases());
}

#[test]
fn the_wave_form() {
    assert_all(wave_form::cases());
}

#[test]
fn the_wave_form_with_a_metric_that_varies() {
    assert_all(wave_metric::cases());
}

#[test]
fn published_ground_states() {
    assert_all(ground_state::short_cases());
}
