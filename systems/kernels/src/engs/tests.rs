//! Each rule against its closed form, and the stability of the coupling.

use super::*;

const RATES: DecayRates = DecayRates { serotonin_per_sec: 0.01, norepinephrine_per_sec: 0.5 };
const DT: f64 = 0.01;

#[test]
fn a_steady_energy_gives_no_reward_error() {
    let mut expected = 3.0;
    for _ in 0..10_000 {
        expected = expectation(expected, -7.5, DT, 1.0);
    }
    assert!((expected + 7.5).abs() < 1e-12);
    assert_eq!(reward_prediction_error(0.0, -7.5, -7.5, 1e-9), 0.0);
    assert_eq!(reward_prediction_error(0.25, 2.0, 1.0, 1e-9), 1.25);
    assert_eq!(reward_prediction_error(0.0, 0.5, 0.0, 2.0), 0.25);
}

#[test]
fn the_expectation_is_the_exact_exponential() {
    let (mut expected, steps, tau) = (0.0, 250, 1.0);
    for _ in 0..steps {
        expected = expectation(expected, 1.0, DT, tau);
    }
    let exact = 1.0 - libm::exp(-f64::from(steps) * DT / tau);
    assert!((expected - exact).abs() < 1e-13);
}

#[test]
fn dopamine_alone_follows_its_recurrence() {
    // D′ₙ = 0.99ⁿD′₀ without error; with a constant δ it tends to 10δ.
    let mut now = Modulators { dopamine: 0.9, ..REST };
    now = couple(now, &Stimuli::default(), &RATES, 0.0);
    assert!((now.dopamine - (0.5 + 0.4 * 0.99)).abs() < 1e-15);
    let mut driven = REST;
    for _ in 0..3000 {
        driven = couple(driven, &Stimuli { reward_error: 0.02, ..Stimuli::default() }, &RATES, 0.0);
    }
    assert!((driven.dopamine - 0.7).abs() < 1e-12);
}

#[test]
fn events_move_serotonin_and_stress_moves_norepinephrine() {
    let after = |stimuli: Stimuli| couple(REST, &stimuli, &RATES, DT);
    assert!((after(Stimuli { naps: 1, ..Stimuli::default() }).serotonin - 0.7).abs() < 1e-15);
    assert!((after(Stimuli { goals: 2, ..Stimuli::default() }).serotonin - 0.6).abs() < 1e-15);
    assert!((after(Stimuli { alerts: 1, ..Stimuli::default() }).serotonin - 0.0).abs() < 1e-15);
    assert!((after(Stimuli { alerts: 3, ..Stimuli::default() }).serotonin - 0.0).abs() < 1e-15);
    assert!((after(Stimuli { stress: 0.3, ..Stimuli::default() }).norepinephrine - 0.3).abs() < 1e-15);
    assert_eq!(after(Stimuli { stress: 7.0, ..Stimuli::default() }).norepinephrine, 1.0);
}

#[test]
fn coupled_rates_are_those_of_the_definition() {
    let now = Modulators { dopamine: 0.6, serotonin: 0.3, norepinephrine: 0.4 };
    let next = couple(now, &Stimuli::default(), &RATES, DT);
    assert!((next.dopamine - (0.6 - 0.001 + (0.10 * 0.2 + 0.08 * 0.4) * DT)).abs() < 1e-15);
    assert!((next.serotonin - (0.3 + (0.01 * 0.2 + 0.05 * 0.1) * DT)).abs() < 1e-15);
    assert!((next.norepinephrine - (0.4 + (0.06 * 0.2 - 0.5 * 0.4) * DT)).abs() < 1e-15);
}

/// Coefficients (a, b, c) of λ³ + aλ² + bλ + c.
fn characteristic(m: &[[f64; 3]; 3]) -> [f64; 3] {
    let minor = |i: usize, j: usize| m[i][i] * m[j][j] - m[i][j] * m[j][i];
    let trace = m[0][0] + m[1][1] + m[2][2];
    let determinant = m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1])
        - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
        + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0]);
    [-trace, minor(0, 1) + minor(0, 2) + minor(1, 2), -determinant]
}

#[test]
fn every_eigenvalue_of_an_update_lies_inside_the_unit_circle() {
    // Jury's criterion for a cubic, for every rate a scene may set.
    for serotonin_per_sec in [0.0, 0.001, 0.01, 1.0, 50.0] {
        for norepinephrine_per_sec in [0.01, 0.5, 50.0] {
            let rates = DecayRates { serotonin_per_sec, norepinephrine_per_sec };
            let [a, b, c] = characteristic(&linear_part(&rates, DT));
            let is_stable = 1.0 + a + b + c > 0.0
                && 1.0 - a + b - c > 0.0
                && c.abs() < 1.0
                && (c * c - 1.0).abs() > (a * c - b).abs();
            assert!(is_stable, "{rates:?}: {a} {b} {c}");
        }
    }
}

#[test]
fn deviations_die_out() {
    let mut now = Modulators { dopamine: 1.0, serotonin: 0.0, norepinephrine: 1.0 };
    for _ in 0..100_000 {
        now = couple(now, &Stimuli::default(), &RATES, DT);
    }
    assert!((now.dopamine - 0.5).abs() < 1e-4 && (now.serotonin - 0.5).abs() < 1e-4, "{now:?}");
    assert!(now.norepinephrine < 1e-4, "{now:?}");
}

#[test]
fn effects_are_neutral_at_rest_and_have_the_right_sign() {
    assert_eq!(plasticity_rate(2.0, 0.5), 2.0);
    assert!((plasticity_rate(1.0, 1.0) - (1.0 + libm::tanh(0.5))).abs() < 1e-15);
    assert_eq!(elasticity_rate(2.0, 0.5), 1.0);
    assert_eq!(damping_scale(0.5), 1.0);
    assert_eq!((damping_scale(0.0), damping_scale(1.0)), (1.5, 0.5));
    assert_eq!(diffusion_scale(1.3, 0.0), 1.0);
    // ŝ = 1, N = 1: ŝ_eff = ½, c rises by 2/1.5.
    assert!((diffusion_scale(1.0, 1.0) - 16.0 / 9.0).abs() < 1e-15);
    assert_eq!(firing_threshold(0.0), 0.6);
    assert!((firing_threshold(1.0) - 0.3).abs() < 1e-15);
}

#[test]
fn entropy_of_known_distributions() {
    assert!((entropy(&[3.0; 4096]) - libm::log(4096.0)).abs() < 1e-12);
    let mut peak = [0.0; 4096];
    peak[17] = 5.0;
    assert!(entropy(&peak).abs() < 1e-15);
    peak[18] = 15.0;
    assert!((entropy(&peak) - (0.25 * libm::log(4.0) + 0.75 * libm::log(4.0 / 3.0))).abs() < 1e-14);
    assert_eq!(entropy(&[0.0; 8]), 0.0);
}

#[test]
fn boredom_grows_with_order_and_falls_with_surprise() {
    assert!((boredom(0.1, 0.0, 0.01, 0.25, 0.5, 0.0) - 0.11).abs() < 1e-15);
    let rich = boredom(0.1, 8.3, 0.01, 0.25, 0.5, 0.0) - 0.1;
    assert!((rich - 0.01 * (1.0 - libm::tanh(2.075))).abs() < 1e-15);
    assert!((boredom(0.5, 0.0, 0.0, 0.25, 0.5, -0.4) - 0.3).abs() < 1e-15);
    assert_eq!(boredom(0.5, 0.0, 9.0, 0.25, 0.5, 0.0), 1.0);
}

#[test]
fn atp_is_spent_by_work_and_recharged_at_rest() {
    assert!((atp(1.0, 2.5e8, 1e9, 0.05, DT, false) - 0.75).abs() < 1e-15);
    assert!((atp(0.2, 2.5e8, 1e9, 0.05, DT, true) - 0.2005).abs() < 1e-15);
    assert_eq!(atp(0.1, 1e12, 1e9, 0.05, DT, false), 0.0);
}
