//! What the named forms are: values against their formulas, periodicity, independence of paging.

use super::resolved;
use crate::scene::{Resolved, Snapshots};
use core::f64::consts::{PI, TAU};
use nikola_components::fill::Profile;
use nikola_components::geometry::axis::Axis;

fn resolve(torus: &str, further: &str) -> Resolved {
    let text = format!("(version: 1, torus: ({torus}), ticks: 10, {further})");
    resolved(&text).map(|(_, resolved)| resolved).unwrap_or_else(|error| panic!("{error}"))
}

/// Ψ and position of every node, in canonical order.
fn field(resolved: &Resolved) -> Vec<([f64; 9], (f64, f64))> {
    let torus = &resolved.setup.torus;
    let mut nodes = vec![([0.0; 9], (0.0, 0.0)); torus.n_nodes()];
    let (mut re, mut im) = (vec![0.0; torus.page_nodes()], vec![0.0; torus.page_nodes()]);
    for page in 0..torus.n_pages() {
        resolved.setup.initial.fill(page, &mut re, &mut im);
        torus.for_each_node(page, |i, node| {
            let index = (0..9).fold(0, |index, d| index * torus.extents()[d] + node[d]);
            let position = Axis::ALL.map(|axis| torus.coordinate(axis, node[axis.index()]));
            nodes[index] = (position, (re[i], im[i]));
        });
    }
    nodes
}

fn initial(torus: &str, form: &str) -> Vec<([f64; 9], (f64, f64))> {
    field(&resolve(torus, &format!("initial: {form}")))
}

/// V at tick 0 … and at time `t`, in canonical order.
fn potential(torus: &str, form: &str, t: f64) -> Vec<([f64; 9], f64)> {
    let resolved = resolve(torus, &format!("initial: Uniform(), potential: {form}"));
    let torus = &resolved.setup.torus;
    let mut nodes = vec![([0.0; 9], 0.0); torus.n_nodes()];
    for page in 0..torus.n_pages() {
        let mut v = vec![0.0; torus.page_nodes()];
        match &resolved.setup.potential {
            Profile::Uniform(value) => v.fill(*value),
            Profile::PerNode(fill) => fill.fill(page, &mut v),
        }
        if let Some(drive) = &resolved.setup.drive {
            drive.add(t, page, &mut v);
        }
        torus.for_each_node(page, |i, node| {
            let index = (0..9).fold(0, |index, d| index * torus.extents()[d] + node[d]);
            nodes[index] = (Axis::ALL.map(|axis| torus.coordinate(axis, node[axis.index()])), v[i]);
        });
    }
    nodes
}

fn close(found: (f64, f64), expected: (f64, f64)) -> bool {
    (found.0 - expected.0).hypot(found.1 - expected.1) < 1e-12
}

const LINE: &str = "extents: {z: 32}, lengths: {z: 16}";

#[test]
fn plane_waves_and_packets_follow_their_formulas() {
    for (x, psi) in initial(
        "extents: {x: 9, z: 8}, lengths: {x: 3}",
        "PlaneWave(mode: {x: -2, z: 3}, amplitude: 2, phase: 0.5)",
    ) {
        let phase = TAU * (-2.0 * x[6] / 3.0 + 3.0 * x[8] / 8.0) + 0.5;
        assert!(close(psi, (2.0 * phase.cos(), 2.0 * phase.sin())), "{x:?}");
    }
    for (x, psi) in
        initial(LINE, "Gaussian(width: {z: 1.5}, centre: {z: 7}, momentum: {z: 0.3}, amplitude: 3)")
    {
        // The nearest image: 7 is one unit from the edge at 8 = −8.
        let d = if x[8] < -1.0 { x[8] - 7.0 + 16.0 } else { x[8] - 7.0 };
        let modulus = 3.0 * (-d * d / 4.5).exp();
        assert!(close(psi, (modulus * (0.3 * d).cos(), modulus * (0.3 * d).sin())), "{x:?}");
    }
    for (_, psi) in initial(LINE, "Uniform(amplitude: 2, phase: \"pi/2\")") {
        assert!(close(psi, (0.0, 2.0)));
    }
}

#[test]
fn every_axis_may_play_every_role() {
    let reference = initial("extents: {y: 5, z: 8}", "Gaussian(width: {y: 1, z: 2}, momentum: {z: 1})");
    for (a, b) in [("r", "s"), ("t", "u"), ("u", "z"), ("s", "x")] {
        let torus = format!("extents: {{{a}: 5, {b}: 8}}");
        let form = format!("Gaussian(width: {{{a}: 1, {b}: 2}}, momentum: {{{b}: 1}})");
        let found = initial(&torus, &form);
        assert!(found.iter().zip(&reference).all(|(found, expected)| found.1 == expected.1), "{a} {b}");
    }
}

#[test]
fn solitons_solve_their_stationary_equations() {
    // −½D Ψ'' + β|Ψ|²Ψ = µΨ by second differences on a fine grid, away from the images' seam.
    let residual = |further: &str, form: &str, mu: f64, beta: f64, diffusion: f64| {
        let resolved =
            resolve("extents: {z: 4096}, lengths: {z: 40}", &format!("{further}, initial: {form}"));
        let values = field(&resolved);
        let h = 40.0 / 4096.0;
        let psi = |i: usize| values[i].1.0;
        (600..3400).fold(0.0f64, |worst, i| {
            let second = (psi(i - 1) - 2.0 * psi(i) + psi(i + 1)) / (h * h);
            worst.max((-0.5 * diffusion * second + beta * psi(i).powi(3) - mu * psi(i)).abs())
        })
    };
    let bright = residual(
        "equation: Schrodinger(beta: -3, c0: 2)",
        "BrightSoliton(axis: z, amplitude: 1.5, centre: 1)",
        -0.5 * 3.0 * 1.5 * 1.5,
        -3.0,
        4.0,
    );
    assert!(bright < 1e-3, "{bright}");
    let dark = residual(
        "equation: Schrodinger(beta: 2, metric: {z: 4})",
        "DarkSoliton(axis: z, density: 1.5, separation: 18)",
        3.0,
        2.0,
        4.0,
    );
    assert!(dark < 1e-3, "{dark}");
}

#[test]
fn the_dark_pair_is_periodic_and_its_depth_is_the_speed() {
    let torus = "extents: {z: 800}, lengths: {z: 80}";
    let further =
        "equation: Schrodinger(beta: 1), initial: DarkSoliton(axis: z, velocity: 0.6, separation: 30)";
    let values = field(&resolve(torus, further));
    let (first, last) = (values[0].1, values[799].1);
    assert!((first.0 - last.0).hypot(first.1 - last.1) < 1e-6);
    let least = values.iter().map(|(_, psi)| psi.0 * psi.0 + psi.1 * psi.1).fold(f64::INFINITY, f64::min);
    assert!((least - 0.36).abs() < 1e-3, "{least}");
}

#[test]
fn the_phase_winds_around_a_vortex() {
    for winding in [-2, 1, 3] {
        let form =
            format!("Vortex(plane: (y, z), winding: {winding}, core: 0.5, centre: {{y: 0.5, z: 0.5}})");
        let values = initial("extents: {y: 32, z: 32}", &form);
        let at = |y: usize, z: usize| values[y * 32 + z].1;
        let mut ring: Vec<(usize, usize)> = Vec::new();
        ring.extend((8..24).map(|i| (8, i)));
        ring.extend((8..24).map(|i| (i, 24)));
        ring.extend((8..24).map(|i| (24, 32 - i)));
        ring.extend((8..24).map(|i| (32 - i, 8)));
        let turned: f64 = (0..ring.len())
            .map(|i| {
                let (a, b) = (
                    at(ring[i].0, ring[i].1),
                    at(ring[(i + 1) % ring.len()].0, ring[(i + 1) % ring.len()].1),
                );
                (a.0 * b.1 - a.1 * b.0).atan2(a.0 * b.0 + a.1 * b.1)
            })
            .sum();
        // The ring runs against the sense from y to z.
        assert!((turned / TAU + f64::from(winding)).abs() < 1e-9, "{winding}: {}", turned / TAU);
    }
}

#[test]
fn noise_has_its_strength_and_does_not_know_pages() {
    let torus = |page: &str| format!("extents: {{y: 16, z: 64}}, page: {page}");
    let white = initial(&torus("Auto"), "Noise(rms: 2)");
    assert_eq!(white, initial(&torus("Shape({y: 16, z: 4})"), "Noise(rms: 2)"));
    assert_ne!(white, initial(&torus("Auto"), "Noise(rms: 2, stream: 1)"));
    let mean: f64 = white.iter().map(|(_, psi)| psi.0 * psi.0 + psi.1 * psi.1).sum::<f64>() / 1024.0;
    assert!((mean / 4.0 - 1.0).abs() < 0.1, "{mean}");
    let mean = (0..40).fold(0.0, |sum, stream| {
        let form = format!("RandomModes(rms: 1, mode_max: {{y: 2, z: 2}}, stream: {stream})");
        let values = initial(&torus("Auto"), &form);
        sum + values.iter().map(|(_, psi)| psi.0 * psi.0 + psi.1 * psi.1).sum::<f64>() / 1024.0 / 40.0
    });
    assert!((mean - 1.0).abs() < 0.2, "{mean}");
}

#[test]
fn sums_products_and_formulas_combine() {
    let values = initial(
        LINE,
        "Sum([Uniform(amplitude: 2), Product([Expr(re: \"z\", im: 1), Polar(amplitude: 3, phase: \"pi*z\")])])",
    );
    for (x, psi) in values {
        let (c, s) = ((PI * x[8]).cos(), (PI * x[8]).sin());
        assert!(close(psi, (2.0 + 3.0 * (x[8] * c - s), 3.0 * (x[8] * s + c))), "{x:?}");
    }
}

#[test]
fn potentials_follow_their_formulas() {
    for (x, v) in potential("extents: {y: 8, z: 16}", "Harmonic(omega: {y: 2, z: 1}, centre: {z: 7})", 0.0) {
        let d = if x[8] < -1.0 { x[8] + 9.0 } else { x[8] - 7.0 };
        assert!((v - 0.5 * (4.0 * x[7] * x[7] + d * d)).abs() < 1e-12);
    }
    for (x, v) in potential(LINE, "Lattice(depth: 3, periods: {z: 4})", 0.0) {
        assert!((v - 3.0 * (PI * 4.0 * x[8] / 16.0).sin().powi(2)).abs() < 1e-12);
    }
    for (x, v) in potential("extents: {y: 8, z: 16}", "Box(height: 5, width: {z: 6}, centre: {z: 1})", 0.0) {
        assert_eq!(v, if (x[8] - 1.0).abs() > 3.0 { 5.0 } else { 0.0 });
    }
    let form = "Sum([Expr(\"1 + 2\"), Expr(\"0.5*(z - sin(t))^2 + z - t*z\"), Zero])";
    for t in [0.0, 0.005] {
        for (x, v) in potential(LINE, form, t) {
            let z = x[8];
            assert!((v - (3.0 + 0.5 * (z - t.sin()).powi(2) + z - t * z)).abs() < 1e-12);
        }
    }
    let constant = resolve(LINE, "initial: Uniform(), potential: Expr(\"2 + L_z\")");
    assert!(matches!(constant.setup.potential, Profile::Uniform(18.0)) && constant.setup.drive.is_none());
}

#[test]
fn wave_parameters_come_from_the_equation() {
    let further = "initial: Uniform(), equation: Schrodinger(c0: 3, alpha: 2, metric: {all: 2, z: 0.5}), state: 0.5, resonance: 0.25";
    let setup = resolve(LINE, further).setup;
    assert_eq!((setup.wave.diffusion[8], setup.wave.diffusion[0]), (2.0, 8.0));
    assert!(matches!(setup.damping, Profile::Uniform(1.5)));
    let setup =
        resolve(LINE, "initial: Uniform(), equation: Schrodinger(alpha: 2), resonance: \"(z + 8)/16\"").setup;
    let Profile::PerNode(fill) = setup.damping else { panic!("the damping varies") };
    let mut gamma = vec![0.0; 32];
    fill.fill(0, &mut gamma);
    assert_eq!((gamma[0], gamma[16]), (2.0, 1.0));
}

#[test]
fn golden_ratio_emitters_have_the_published_frequencies() {
    let emitters = resolve(
        LINE,
        "initial: Uniform(), emitters: [GoldenRatio(amplitude: 1, delta_phi: 2, profile: Uniform())]",
    )
    .setup
    .emitters;
    let published = [5.083, 8.225, 13.308, 21.532, 34.840, 56.371, 91.210, 147.58, 3.25];
    let degrees = [23.0, 19.0, 17.0, 13.0, 11.0, 7.0, 5.0, 3.0, 0.0];
    assert_eq!(emitters.len(), 9);
    for (i, emitter) in emitters.iter().enumerate() {
        assert!((emitter.frequency_hz / published[i] - 1.0).abs() < 2e-3, "{emitter:?}");
        assert!((emitter.phase_turns - 2.0 * degrees[i] / 360.0).abs() < 1e-15, "{emitter:?}");
    }
    let sum = emitters[0].frequency_hz + emitters[1].frequency_hz;
    assert!((sum - emitters[2].frequency_hz).abs() < 1e-13);
}

#[test]
fn observables_reduce_over_the_torus() {
    let further = "initial: Gaussian(width: {z: 1}, centre: {z: 2}, amplitude: 3), observables: [\"<z>\", \"<(z - 2)^2>\", \
                   \"norm = integral(rho)\", \"max(abs)\", \"low = min(z)\", \"late = max(t)\", \"right = mean(z > 2)\", \"is = max(z == 2)\"]";
    let resolved = resolve(LINE, further);
    let names: Vec<&str> =
        resolved.plan.observables.iter().map(|observable| observable.name.as_str()).collect();
    assert_eq!(names, ["<z>", "<(z - 2)^2>", "norm", "max(abs)", "low", "late", "right", "is"]);
    let read = |page: usize, re: &mut [f64], im: &mut [f64]| resolved.setup.initial.fill(page, re, im);
    let pages: Vec<usize> = (0..resolved.setup.torus.n_pages()).collect();
    let values: Vec<f64> =
        resolved.plan.observables.iter().map(|observable| observable.evaluate(1.5, &pages, read)).collect();
    let expected = [2.0, 0.5, 9.0 * PI.sqrt(), 3.0, -8.0, 1.5, 0.5 * (1.0 - 0.5 / PI.sqrt()), 1.0];
    for ((name, value), expected) in names.iter().zip(&values).zip(expected) {
        let tolerance = if *name == "right" { 1e-2 } else { 1e-9 };
        assert!((value - expected).abs() < tolerance, "{name}: {value} against {expected}");
    }
}

#[test]
fn means_of_nothing_are_not_a_number() {
    let resolved = resolve(LINE, "initial: Uniform(amplitude: 0), observables: [\"<z>\"]");
    let read = |page: usize, re: &mut [f64], im: &mut [f64]| resolved.setup.initial.fill(page, re, im);
    let pages: Vec<usize> = (0..resolved.setup.torus.n_pages()).collect();
    assert!(resolved.plan.observables[0].evaluate(0.0, &pages, read).is_nan());
}

#[test]
fn warnings_rest_on_figures() {
    let codes = |further: &str| -> Vec<&'static str> {
        let warnings = resolve(LINE, &format!("initial: Uniform(), {further}")).warnings;
        warnings.iter().map(|warning| warning.code).collect()
    };
    assert!(codes("equation: Schrodinger(beta: 1)").is_empty());
    assert_eq!(codes("equation: Schrodinger(beta: 1), dt: 0.2"), ["split-step-resonance"]);
    assert!(codes("dt: 0.2").is_empty(), "without a nonlinearity every phase is exact");
    assert_eq!(codes("integrator: Yoshida4, equation: Schrodinger(alpha: 1)"), ["negative-substeps"]);
    assert_eq!(codes("equation: Schrodinger(alpha: 4e3)"), ["strong-damping"]);
    assert_eq!(codes("potential: Expr(\"1e3*z\")"), ["potential-phase"]);
    assert!(codes("equation: Wave(beta: -1)").is_empty());
    assert_eq!(codes("equation: Wave(beta: 1)"), ["unbounded-energy"]);
    assert_eq!(codes("equation: Wave(beta: -1), dt: 1"), ["split-step-resonance"]);
    let stiff = "state: \"0.1 + 0.1*cos(2*pi*z/L_z)\", equation: Wave(beta: -600), dt: 0.05";
    assert_eq!(codes(stiff), ["leapfrog-interaction"]);
    let fast = "emitters: [Custom(frequency_hz: 500, amplitude: 1, profile: Uniform())]";
    assert_eq!(codes(fast), ["fast-emitter"]);
    let late = "injections: [(tick: 9, profile: Uniform()), (tick: 10, profile: Uniform())], outputs: (snapshots: At([10, 11]))";
    let found = resolve(LINE, &format!("initial: Uniform(), {late}")).warnings;
    assert_eq!(found[0].code, "beyond-the-end");
    for part in ["injections[1] at tick 10", "(and 1 more)", "ends at tick 10", "raise `ticks`"] {
        assert!(found[0].message.contains(part), "{part} in {}", found[0].message);
    }
    let lattice = resolve("extents: {y: 3, z: 27}", "initial: Uniform()").warnings;
    assert_eq!(lattice[0].code, "lattice-axes");
}

#[test]
fn snapshots_are_due_when_asked_for() {
    let due = |form: &str| -> Vec<u64> {
        let plan = resolve(LINE, &format!("initial: Uniform(), outputs: (snapshots: {form})")).plan;
        (0..=10).filter(|tick| plan.snapshots.is_due(*tick, 10)).collect()
    };
    assert_eq!(due("Last"), [10]);
    assert_eq!(due("Never"), [0; 0]);
    assert_eq!(due("Every(4)"), [0, 4, 8, 10]);
    assert_eq!(due("At([7, 3, 3, 0])"), [0, 3, 7]);
    assert_eq!(Snapshots::Every(4).count(10), 4);
}

#[test]
fn arrays_come_from_npy_files() {
    let folder = std::env::temp_dir().join(format!("nikola-scene-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let write = |name: &str, descr: &str, shape: &str, numbers: &[f64]| {
        let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
        header.push_str(&" ".repeat(63 - (10 + header.len()) % 64));
        header.push('\n');
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        std::fs::write(folder.join(name), bytes).expect("a writable temporary folder");
    };
    let numbers: Vec<f64> = (0..12).map(f64::from).collect();
    write("field.npy", "<c16", "(2, 3)", &numbers);
    write("full.npy", "<c16", "(1, 1, 1, 1, 1, 1, 1, 2, 3)", &numbers);
    write("v.npy", "<f8", "(2, 3)", &numbers[..6]);
    write("other.npy", "<f8", "(3, 2)", &numbers[..6]);
    write("nan.npy", "<f8", "(2, 3)", &[0.0, 1.0, f64::NAN, 3.0, 4.0, 5.0]);
    let scene = |form: &str| {
        let text = format!("(version: 1, torus: (extents: {{y: 2, z: 3}}), ticks: 1, {form})");
        let scene = crate::scene::load_str("test.ron", &text, &[]).unwrap_or_else(|error| panic!("{error}"));
        crate::scene::resolve(&scene, &folder)
    };
    for name in ["field.npy", "full.npy"] {
        let resolved =
            scene(&format!("initial: FromNpy(\"{name}\")")).unwrap_or_else(|error| panic!("{error}"));
        let values: Vec<(f64, f64)> = field(&resolved).into_iter().map(|(_, psi)| psi).collect();
        assert_eq!(
            values,
            (0..6).map(|i| (2.0 * f64::from(i), 2.0 * f64::from(i) + 1.0)).collect::<Vec<_>>()
        );
    }
    let resolved = scene("initial: FromNpy(\"v.npy\"), potential: FromNpy(\"v.npy\")")
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(resolved.figures.potential, (0.0, 5.0));
    for (form, found) in [
        ("initial: FromNpy(\"other.npy\")", "shape [3, 2]"),
        ("initial: Uniform(), potential: FromNpy(\"field.npy\")", "complex"),
        ("initial: FromNpy(\"nan.npy\")", "NaN"),
        ("initial: FromNpy(\".\")", "."),
    ] {
        let error = scene(form).map(|_| ()).expect_err(form);
        assert!(error.fault().found.contains(found), "{form}: {error}");
    }
    std::fs::remove_dir_all(&folder).expect("the temporary folder goes");
}
