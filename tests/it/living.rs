//! The living tick: the balance with a metric that varies, a set of pages that grows, chemistry and a scan, in every
//! combination; what each of them does to the others.

use nikola_engine::observe::digest::state_digest;
use nikola_engine::scene::{load, resolve};
use nikola_engine::systems::Simulation;
use nikola_engine::systems::components::chemistry::{Chemistry, EngsSettings};
use nikola_engine::systems::components::emitter::{Emitter, Envelope};
use nikola_engine::systems::components::fill::Profile;
use nikola_engine::systems::components::geometry::axis::Axis;
use nikola_engine::systems::components::geometry::traversal::Traversal;
use nikola_engine::systems::components::growth::{Change, GrowthRule};
use nikola_engine::systems::components::ledger::Flow;
use nikola_engine::systems::components::metric::{CellRule, MetricProfile, Plasticity};
use nikola_engine::systems::components::oracle::{Health, OracleSettings};
use nikola_engine::systems::components::scan::{STATE, ScanSetup};
use nikola_engine::systems::components::setup::{Precision, Setup};
use nikola_engine::systems::components::torus::{PageRule, Torus};
use nikola_engine::systems::kernels::metric_update::component;
use nikola_engine::systems::world::BuildOptions;
use nikola_tests::lab::{advance, build, build_with, initial, nearest_image, polar, profile, setup};

/// What is on in a scene.
#[derive(Debug, Clone, Copy, Default)]
pub struct On {
    pub emitters: bool,
    pub uniform_damping: bool,
    pub damping: bool,
    pub interaction: bool,
    pub plasticity: bool,
    pub metric: bool,
    pub growth: bool,
    pub engs: bool,
}

pub const OPEN: On = On {
    emitters: true,
    uniform_damping: false,
    damping: true,
    interaction: true,
    plasticity: false,
    metric: false,
    growth: false,
    engs: false,
};

const LENGTH: f64 = 18.0;

fn torus(is_sparse: bool) -> Torus {
    let (mut extents, mut lengths, mut sides) = ([1; 9], [1.0; 9], [1; 9]);
    for (axis, extent, length) in [(Axis::Y, 9, LENGTH), (Axis::Z, 9, LENGTH)] {
        extents[axis.index()] = extent;
        lengths[axis.index()] = length;
        sides[axis.index()] = 3;
    }
    Torus::new(extents, lengths, if is_sparse { PageRule::Blocks(sides) } else { PageRule::Auto })
        .expect("valid")
}

fn plasticity() -> Plasticity {
    Plasticity {
        eta: 0.003,
        lambda: 0.02,
        cell: CellRule::Node,
        every: 32,
        tolerance: 1e-3,
        gradient_floor: 1e-4,
        ..Plasticity::default()
    }
}

fn growth() -> GrowthRule {
    GrowthRule { threshold: 0.05, vacuum: 0.07, quiet_ticks: 100, every: 4, ..GrowthRule::default() }
}

/// A small torus with everything that may change its energy: two emitters whose beat makes pages come and go, damping.
pub fn world(precision: Precision, on: On) -> Setup {
    let torus = torus(on.growth);
    let mut scene = setup(torus.clone(), 1e-3);
    scene.precision = precision;
    scene.wave.beta = if on.interaction { 0.2 } else { 0.0 };
    scene.potential = profile(&torus, |p| 0.5 + 0.1 * (0.35 * p[7]).cos() + 0.004 * p[8] * p[8]);
    if on.uniform_damping {
        scene.damping = Profile::Uniform(0.12);
    }
    if on.damping {
        scene.damping = profile(&torus, |p| 0.1 + 0.05 * (0.35 * p[8]).cos());
    }
    scene.initial = initial(&torus, |p| polar(0.8 * (-(p[7] * p[7] + p[8] * p[8]) / 4.0).exp(), 0.4 * p[8]));
    if on.emitters {
        let shape = initial(&torus, |p| {
            let z = nearest_image(p[8] - 1.0, LENGTH);
            ((-(z * z + p[7] * p[7]) / 2.0).exp(), 0.0)
        });
        scene.emitters = [(0.16, 0.2), (0.20, 0.2)]
            .map(|(frequency_hz, amplitude)| Emitter {
                name: format!("{frequency_hz} Hz"),
                frequency_hz,
                phase_turns: 0.1,
                amplitude,
                profile: shape.clone(),
                envelope: Envelope::Window { start_secs: 0.5, end_secs: f64::INFINITY, rise_secs: 1.0 },
            })
            .to_vec();
    }
    if on.plasticity {
        scene.plasticity = Some(plasticity());
    }
    if on.metric {
        let d = profile(&torus, |p| 1.0 + 0.3 * (0.35 * p[8]).cos());
        let mut diagonal = [const { Profile::Uniform(1.0) }; 9];
        diagonal[8] = d;
        let off = profile(&torus, |p| 0.2 * (0.35 * p[8]).sin());
        scene.wave.diffusion[8] = 1.3;
        scene.metric = Some(MetricProfile { diagonal, off_diagonal: vec![(Axis::Y, Axis::Z, off)] });
    }
    if on.growth {
        scene.growth = Some(growth());
    }
    if on.engs {
        let initial = Chemistry { serotonin: 0.2, norepinephrine: 0.8, ..Chemistry::default() };
        let slow = EngsSettings::default();
        scene.engs = Some(EngsSettings { initial, state: 0.3, serotonin_decay_per_sec: 0.2, ..slow });
    }
    scene.oracle = Some(OracleSettings { memory_ticks: 1_000_000_000, ..OracleSettings::default() });
    scene
}

/// A world after `ticks` ticks: the largest residual of any check, all unexplained energy, and the sum of what went through
/// relative to |H|.
fn residual(scene: &Setup, ticks: u64) -> (Simulation, [f64; 3]) {
    let mut world = build(scene);
    advance(&mut world, ticks);
    let energy = world.sample().energy.abs();
    let report = *world.oracle().expect("watched");
    assert_eq!(report.health, Health::Nominal, "{report:?}");
    let flows = world.energy_flows().expect("booked");
    let throughput: f64 = Flow::ALL.iter().map(|flow| flows.of(*flow).abs()).sum();
    let figures = [report.energy_drift_worst, report.energy_drift_total.abs(), throughput / energy];
    (world, figures)
}

fn describe(world: &Simulation) -> String {
    let flows = world.energy_flows().expect("booked");
    let parts: Vec<String> =
        Flow::ALL.iter().map(|flow| format!("{} {:.2e}", flow.name(), flows.of(*flow))).collect();
    let pages = world.growth().map_or_else(String::new, |growth| {
        format!(
            ", {} births, {} prunings, {} pages",
            growth.n_births,
            growth.n_prunings,
            world.active_pages().len()
        )
    });
    format!("{}{pages}", parts.join(", "))
}

#[test]
fn every_combination_is_booked() {
    let linear = On { emitters: true, uniform_damping: true, ..On::default() };
    let grown = On { growth: true, ..OPEN };
    let cases = [
        ("plasticity alone", On { plasticity: true, interaction: true, ..On::default() }),
        ("plasticity, emitters", On { plasticity: true, ..linear }),
        ("plasticity", On { plasticity: true, ..OPEN }),
        ("a metric that varies", On { metric: true, ..OPEN }),
        ("emitters, β", On { damping: false, ..OPEN }),
        ("damping, β", On { emitters: false, ..OPEN }),
        ("open, constant metric", OPEN),
        ("growth alone", On { growth: true, interaction: true, ..On::default() }),
        ("growth, emitters", On { growth: true, ..linear }),
        ("growth", grown),
        ("growth with a metric", On { metric: true, ..grown }),
        ("growth, plasticity", On { plasticity: true, ..grown }),
        ("growth, chemistry", On { engs: true, ..grown }),
        ("plasticity, chemistry", On { plasticity: true, engs: true, ..OPEN }),
        ("everything", On { plasticity: true, engs: true, ..grown }),
    ];
    let mut failed = Vec::new();
    for (name, on) in cases {
        let (world, [worst, total, throughput]) = residual(&world(Precision::F64, on), 5_000);
        println!(
            "{name:<24} worst {worst:.1e}, total {total:.1e}, {throughput:.2} of |H|: {}",
            describe(&world)
        );
        // Where Γ varies, the power with which it takes what a new page's given metric brings is sampled only later.
        let bound = if on.metric && on.growth { 4e-6 } else { 2e-6 };
        if worst.max(total) >= bound {
            failed.push(name);
        }
        if on.plasticity {
            assert!(
                world.energy_flows().expect("booked").of(Flow::Metric).abs() > 1e-4,
                "{name}: the metric moves"
            );
        }
    }
    assert!(failed.is_empty(), "not booked: {failed:?}");
}

#[test]
fn the_balance_closes_over_a_hundred_thousand_ticks_of_everything() {
    let on = On { growth: true, plasticity: true, ..OPEN };
    for (precision, bound) in [(Precision::F64, 1e-6), (Precision::F32, 1e-4)] {
        let (world, [worst, total, throughput]) = residual(&world(precision, on), 100_000);
        println!(
            "{precision:?}: worst {worst:.1e}, total {total:.1e}, {throughput:.2} of |H|: {}",
            describe(&world)
        );
        assert!(worst < bound && total < bound, "{precision:?}: worst {worst:e}, total {total:e}");
        let growth = world.growth().expect("it grows");
        assert!(growth.n_births >= 5 && growth.n_prunings >= 1, "{growth:?}");
    }
}

#[test]
fn a_closed_world_keeps_its_norm_while_metric_and_pages_change() {
    let on = On { growth: true, plasticity: true, interaction: true, ..On::default() };
    let mut world = build(&world(Precision::F64, on));
    let before = world.sample().norm;
    advance(&mut world, 8_000);
    let growth = world.growth().expect("it grows").clone();
    assert!(growth.n_births > 0, "{growth:?}");
    let drift = (world.sample().norm + growth.pruned_norm - before) / before;
    assert!(drift.abs() < 1e-11, "{drift:e}");
    assert!(world.metric_counts().expect("plastic").n_factorised > 100);
}

#[test]
fn a_new_page_has_the_metric_of_its_neighbours() {
    let on = On { growth: true, plasticity: true, interaction: true, ..On::default() };
    let mut scene = world(Precision::F64, on);
    scene = spreading(scene);
    scene.plasticity = Some(Plasticity { eta: 0.5, every: 4, ..plasticity() });
    let mut world = build(&scene);
    let axes = world.torus().storage().len();
    let diagonal = |world: &Simulation, position: usize, cell: usize| -> Vec<f64> {
        let g = world.read_metric(position, cell).expect("plastic");
        (0..axes).map(|i| g[component(axes, i, i)]).collect()
    };
    let mut has_moved = false;
    let mut n_born = 0;
    for tick in 0..4_000 {
        let before = world.active_pages().to_vec();
        world.tick();
        let pages = world.active_pages().to_vec();
        let Some(k) = pages.iter().position(|page| !before.contains(page)).filter(|_| tick > 100) else {
            continue;
        };
        n_born += 1;
        // A page is three by three cells over y, z; the torus is three by three pages.
        for cell in 0..9 {
            let found = diagonal(&world, k, cell);
            let (mut least, mut greatest) = (vec![f64::INFINITY; axes], vec![0.0_f64; axes]);
            for (axis, stride) in [(Axis::Y, 3), (Axis::Z, 1)] {
                for is_upper in [false, true] {
                    let beside = world.torus().neighbour(pages[k], axis, is_upper);
                    let known =
                        pages.iter().position(|page| *page == beside).filter(|_| before.contains(&beside));
                    let Some(position) = known else { continue };
                    let place = cell / stride % 3;
                    let touched = cell - place * stride + if is_upper { 0 } else { 2 * stride };
                    for (i, g) in diagonal(&world, position, touched).into_iter().enumerate() {
                        (least[i], greatest[i]) = (least[i].min(g), greatest[i].max(g));
                    }
                }
            }
            for i in 0..axes {
                // What is inherited is g as it was last factorised.
                let range = least[i] - 2e-3..greatest[i] + 2e-3;
                assert!(range.contains(&found[i]), "{found:?} outside {least:?}…{greatest:?}");
                has_moved |= (found[i] - 1.0).abs() > 0.02;
            }
        }
    }
    assert!(n_born > 0 && has_moved, "{n_born} pages were born");
}

/// A narrow packet that spreads: pages are called for one after the other.
fn spreading(mut scene: Setup) -> Setup {
    scene.initial = initial(&scene.torus, |p| polar((-(p[7] * p[7] + p[8] * p[8]) / 1.5).exp(), 0.0));
    scene.growth = Some(GrowthRule { vacuum: 0.05, ..growth() });
    scene.emitters.clear();
    scene
}

#[test]
fn arousal_lowers_the_threshold_of_births() {
    let births = |norepinephrine: f64| {
        let mut scene = spreading(world(Precision::F64, On { growth: true, ..OPEN }));
        let initial = Chemistry { norepinephrine, ..Chemistry::default() };
        scene.engs =
            Some(EngsSettings { initial, norepinephrine_decay_per_sec: 0.0, ..EngsSettings::default() });
        let mut world = build(&scene);
        let mut ticks = Vec::new();
        for _ in 0..4_000 {
            world.tick();
            while let Some(event) = world.pop_growth() {
                if let Change::Born { .. } = event.change {
                    ticks.push(event.tick);
                }
            }
        }
        (ticks, world.effects().expect("published").firing_threshold)
    };
    let (calm, calm_threshold) = births(0.0);
    let (aroused, low_threshold) = births(1.0);
    assert!(low_threshold < 0.51 * calm_threshold, "{low_threshold} against {calm_threshold}");
    // The packet calls for its first neighbours at once in any case.
    assert!(aroused.len() > calm.len() && aroused[2] < calm[2], "born at {aroused:?} and {calm:?}");
    // Without chemistry the scene's threshold is what it is with N at rest.
    let mut without = build(&spreading(world(Precision::F64, On { growth: true, ..OPEN })));
    advance(&mut without, calm[0] - 1);
    assert_eq!(without.growth().map(|growth| growth.n_births), Some(0));
    without.tick();
    assert!(without.growth().is_some_and(|growth| growth.n_births > 0));
}

#[test]
fn dopamine_speeds_learning_and_serotonin_holds_the_metric() {
    let moved = |dopamine: f64, serotonin: f64, eta: f64, lambda: f64| {
        let mut scene = world(Precision::F64, On { plasticity: true, ..OPEN });
        scene.plasticity = Some(Plasticity { eta, lambda, tolerance: 1e-12, ..plasticity() });
        let initial = Chemistry { dopamine, serotonin, ..Chemistry::default() };
        let still = EngsSettings { every: 10_000, ..EngsSettings::default() };
        scene.engs = Some(EngsSettings { initial, ..still });
        let mut world = build(&scene);
        advance(&mut world, 320);
        let g = world.read_metric(0, 40).expect("plastic");
        let axes = world.torus().storage().len();
        (0..axes).map(|i| 1.0 - g[component(axes, i, i)]).sum::<f64>()
    };
    // Ten updates: the trace of g falls by η(1 + tanh(D − ½))·t where nothing returns.
    let rest = moved(0.5, 0.5, 1e-3, 0.0);
    let ratio = moved(1.0, 0.5, 1e-3, 0.0) / rest;
    assert!((ratio - (1.0 + 0.5_f64.tanh())).abs() < 1e-3, "{ratio}");
    // Where it returns fast, it stays at (η/λ)C, λ = λ₀(½ + ½ tanh(S − ½)).
    let ratio = moved(0.5, 1.0, 1.0, 2e3) / moved(0.5, 0.5, 1.0, 2e3);
    assert!((ratio - 1.0 / (1.0 + 0.5_f64.tanh())).abs() < 1e-2, "{ratio}");
}

#[test]
fn updates_of_cells_are_paid_for() {
    let spent = |is_plastic: bool| {
        let mut scene = world(Precision::F64, On { plasticity: is_plastic, ..OPEN });
        scene.engs =
            Some(EngsSettings { atp_capacity: 1e6, atp_recharge_per_sec: 0.0, ..EngsSettings::default() });
        let mut world = build(&scene);
        advance(&mut world, 320);
        1.0 - world.chemistry().expect("it has neurochemistry").atp
    };
    // 81 cells, every one of them ten times, two node-steps each.
    let difference = spent(true) - spent(false);
    assert!((difference * 1e6 / (2.0 * 81.0 * 10.0) - 1.0).abs() < 1e-9, "{difference}");
}

fn scan(torus: &Torus) -> ScanSetup {
    ScanSetup {
        step: 0.01,
        density_weight: 10.0,
        input_weight: 0.3,
        openness: profile(torus, |p| 0.5 + 0.3 * (0.4 * p[8]).sin()),
        metric: [1.0; STATE],
        inverse_metric: None,
        traversals: Traversal::ALL.to_vec(),
        every: 1,
        readout: None,
    }
}

/// G of the node at these coordinates, on the page at a position, of this index.
type MetricAt<'a> = &'a dyn Fn(&[usize; 9], usize, usize) -> [[f64; STATE]; STATE];

/// G of the node's cell, as it was learnt.
fn learnt(world: &Simulation, position: usize, i: usize) -> [[f64; STATE]; STATE] {
    let torus = world.torus();
    let packed = world.read_metric(position, i).expect("a cell per node");
    let mut g = [[0.0; STATE]; STATE];
    (0..STATE).for_each(|d| g[d][d] = 1.0);
    for (a, x) in torus.storage().iter().enumerate() {
        for (b, y) in torus.storage().iter().enumerate() {
            g[x.index()][y.index()] = packed[component(torus.storage().len(), a.min(b), a.max(b))];
        }
    }
    g
}

/// The inverse of the metric that [`world`] can have, at z.
fn inverse_at(z: f64) -> [[f64; STATE]; STATE] {
    let (yz, zz) = (0.2 * (0.35 * z).sin(), 1.0 + 0.3 * (0.35 * z).cos());
    let determinant = zz - yz * yz;
    let mut g = [[0.0; STATE]; STATE];
    (0..STATE).for_each(|d| g[d][d] = 1.0);
    (g[7][7], g[8][8]) = (zz / determinant, 1.0 / determinant);
    (g[7][8], g[8][7]) = (-yz / determinant, -yz / determinant);
    g
}

/// The raster traversal by its definition over the active pages.
fn raster(world: &Simulation, metric_at: MetricAt<'_>) -> [[f64; STATE]; 2] {
    let torus = world.torus();
    let nodes = torus.page_nodes();
    let mut seen = Vec::new();
    for (position, &page) in world.active_pages().iter().enumerate() {
        let (mut re, mut im) = (vec![0.0; nodes], vec![0.0; nodes]);
        world.read_page(page, &mut re, &mut im);
        torus.for_each_node(page, |i, coordinates| seen.push((*coordinates, position, i, re[i], im[i])));
    }
    seen.sort_unstable_by_key(|(coordinates, ..)| *coordinates);
    let mut h = [[0.0; STATE]; 2];
    for (coordinates, position, i, re, im) in seen {
        let g = metric_at(&coordinates, position, i);
        let trace: f64 = (0..STATE).map(|d| g[d][d]).sum();
        let openness = 0.5 + 0.3 * (0.4 * torus.coordinate(Axis::Z, coordinates[8])).sin();
        let step = 0.01 / (1.0 + 10.0 * (re * re + im * im) * trace) * openness;
        for (h, x) in h.iter_mut().zip([re, im]) {
            let old = *h;
            for (d, h) in h.iter_mut().enumerate() {
                let image: f64 = (0..STATE).map(|e| g[d][e] * old[e]).sum();
                *h = old[d] - step * image + 0.3 * x;
            }
        }
    }
    h
}

#[test]
fn the_scan_reads_the_metric_of_every_cell_on_whole_and_sparse_tori() {
    for is_sparse in [false, true] {
        for precision in [Precision::F64, Precision::F32] {
            let mut scene = world(precision, On { plasticity: true, growth: is_sparse, ..OPEN });
            // g as it is read is g as it was last factorised.
            scene.plasticity = Some(Plasticity { eta: 0.5, every: 1, tolerance: 1e-15, ..plasticity() });
            scene.scan = Some(scan(&scene.torus));
            let mut world = build(&scene);
            for _ in 0..6 {
                advance(&mut world, 150);
                let expected = raster(&world, &|_, position, i| learnt(&world, position, i));
                let scanned = &world.scan().expect("the scene has a scan").traversals[0];
                let bound = if precision == Precision::F64 { 1e-11 } else { 1e-3 };
                for d in 0..STATE {
                    let error = (scanned.re[d] - expected[0][d]).hypot(scanned.im[d] - expected[1][d]);
                    assert!(error < bound, "{is_sparse} {precision:?} component {d}: {error:e}");
                }
            }
            let differs = scan_differs(&world);
            assert!(differs > 1e-3, "components differ because the metric does: {differs:e}");
        }
    }
}

#[test]
fn the_scan_reads_a_metric_given_by_expressions_on_whole_and_sparse_tori() {
    for is_sparse in [false, true] {
        for precision in [Precision::F64, Precision::F32] {
            let mut scene = world(precision, On { metric: true, growth: is_sparse, ..OPEN });
            scene.scan = Some(ScanSetup { inverse_metric: scene.metric.clone(), ..scan(&scene.torus) });
            let mut world = build(&scene);
            let first_pages = world.active_pages().to_vec();
            for _ in 0..6 {
                advance(&mut world, 150);
                let z = |coordinates: &[usize; 9]| world.torus().coordinate(Axis::Z, coordinates[8]);
                let expected = raster(&world, &|coordinates, _, _| inverse_at(z(coordinates)));
                let scanned = &world.scan().expect("the scene has a scan").traversals[0];
                let bound = if precision == Precision::F64 { 1e-11 } else { 1e-3 };
                for d in 0..STATE {
                    let error = (scanned.re[d] - expected[0][d]).hypot(scanned.im[d] - expected[1][d]);
                    assert!(error < bound, "{is_sparse} {precision:?} component {d}: {error:e}");
                }
            }
            assert!(!is_sparse || world.active_pages() != first_pages, "the set of pages changes");
            let differs = scan_differs(&world);
            assert!(differs > 1e-3, "components differ because the metric does: {differs:e}");
        }
    }
}

/// How far the components of the first traversal's state are apart.
fn scan_differs(world: &Simulation) -> f64 {
    let state = &world.scan().expect("the scene has a scan").traversals[0].re;
    state.iter().fold(0.0, |most: f64, x| most.max((x - state[8]).abs()))
}

/// The scene that shows everything at once.
fn scene() -> Setup {
    let path = super::tidy::root().join("scenes/living_torus.ron");
    let scene = load(&path, &[]).unwrap_or_else(|error| panic!("{error}"));
    resolve(&scene, &scene.base_dir).unwrap_or_else(|error| panic!("{error}")).setup
}

#[test]
fn the_living_scene_has_everything_on_and_stays_nominal() {
    let scene = scene();
    let is_on = [
        scene.scan.is_some(),
        scene.engs.is_some(),
        scene.oracle.is_some(),
        scene.plasticity.is_some(),
        scene.growth.is_some(),
        !scene.emitters.is_empty(),
    ];
    assert_eq!(is_on, [true; 6]);
    let mut world = build(&scene);
    advance(&mut world, 800);
    println!("{} {:?}", describe(&world), world.oracle());
    let growth = world.growth().expect("it grows");
    assert!(growth.n_births > 0 && growth.n_prunings > 0, "{growth:?}");
    let report = world.oracle().expect("watched");
    assert_eq!(report.health, Health::Nominal);
    assert!(report.energy_drift_worst < 1e-4, "{report:?}");
    assert!(world.metric_counts().expect("plastic").n_factorised > 100);
}

#[test]
fn threads_do_not_change_a_bit_of_the_living_scene() {
    for precision in [Precision::F32, Precision::F64] {
        let scene = Setup { precision, ..scene() };
        let run = |threads| {
            let mut world = build_with(&scene, &BuildOptions { threads, ..BuildOptions::default() });
            advance(&mut world, 250);
            let flows = *world.energy_flows().expect("booked");
            (
                state_digest(&world),
                world.active_pages().to_vec(),
                flows,
                world.scan().cloned(),
                world.save_scalars(),
            )
        };
        let one = run(1);
        for threads in [2, 4] {
            assert!(run(threads) == one, "{precision:?} on {threads} threads");
        }
    }
}
