//! Sparse tori: what active pages compute is what a dense torus computes; pages come and go where the wave does.
//! Invariant: the dense twin of a world has the same nodes, positions and profiles, in the pages of a dense torus.

use nikola_engine::observe::digest::state_digest;
use nikola_engine::scene::{load, resolve};
use nikola_engine::systems::Simulation;
use nikola_engine::systems::components::emitter::{Emitter, Envelope, Injection};
use nikola_engine::systems::components::fill::ComplexFill;
use nikola_engine::systems::components::geometry::axis::Axis;
use nikola_engine::systems::components::growth::{Change, GrowthRule};
use nikola_engine::systems::components::ports::Command;
use nikola_engine::systems::components::setup::{Precision, Setup};
use nikola_engine::systems::components::torus::{PageRule, Torus};
use nikola_engine::systems::world::BuildOptions;
use nikola_tests::lab::{
    Field, Position, advance, build, build_with, initial, nearest_image, polar, profile, restore, save, setup,
};
use std::sync::Arc;

/// A torus of z × x × y nodes in blocks, or its dense twin.
fn torus(extents: [usize; 3], spacing: f64, block: Option<[usize; 3]>) -> Torus {
    let axes = [Axis::Z, Axis::X, Axis::Y];
    let (mut all, mut lengths, mut sides) = ([1; 9], [1.0; 9], [1; 9]);
    for (k, axis) in axes.into_iter().enumerate() {
        all[axis.index()] = extents[k];
        lengths[axis.index()] = extents[k] as f64 * spacing;
        sides[axis.index()] = block.map_or(1, |block| block[k]);
    }
    let rule = if block.is_some() { PageRule::Blocks(sides) } else { PageRule::Auto };
    Torus::new(all, lengths, rule).expect("test tori are valid")
}

fn sech_wave(length: f64, velocity: f64) -> impl Fn(&Position) -> (f64, f64) + Send + Sync + Copy + 'static {
    move |p| {
        let z = nearest_image(p[Axis::Z.index()], length);
        polar(1.0 / z.cosh(), velocity * z)
    }
}

/// A soliton that moves along z, with the rule of growth or dense.
fn soliton(extents: [usize; 3], block: [usize; 3], velocity: f64, growth: Option<GrowthRule>) -> Setup {
    let torus = torus(extents, 0.4, growth.as_ref().map(|_| block));
    let mut scene = setup(torus.clone(), 1e-2);
    scene.wave.beta = -1.0;
    scene.initial = initial(&torus, sech_wave(torus.lengths()[Axis::Z.index()], velocity));
    scene.growth = growth;
    scene
}

fn rule(threshold: f64) -> GrowthRule {
    GrowthRule { threshold, vacuum: 2.0 * threshold, ..GrowthRule::default() }
}

/// The row order of pages is the storage order.
fn assert_rows_in_order(world: &Simulation) {
    let rows: Vec<usize> = world.pages().iter().map(|page| page.index as usize).collect();
    assert_eq!(rows, world.active_pages(), "queries visit pages in storage order");
    assert!(rows.is_sorted_by(|a, b| a < b));
}

#[test]
fn a_travelling_soliton_needs_a_quarter_of_the_pages() {
    let (extents, block) = ([243, 9, 9], [3, 9, 9]);
    let mut sparse = build(&soliton(extents, block, 1.0, Some(rule(1e-4))));
    let mut dense = build(&soliton(extents, block, 1.0, None));
    let before = sparse.sample();
    let mut most = 0;
    for _ in 0..1500 {
        sparse.tick();
        most = most.max(sparse.active_pages().len());
    }
    advance(&mut dense, 1500);
    assert_rows_in_order(&sparse);
    let error = Field::of(&sparse).relative_error(&Field::of(&dense));
    let share = most as f64 / sparse.torus().n_pages() as f64;
    let after = sparse.sample();
    let growth = sparse.growth().expect("a sparse world");
    println!(
        "soliton: {:.1} % of the pages, L2 error {error:.2e}, {} births, {} prunings, ∫leak dt {:.2e}",
        100.0 * share,
        growth.n_births,
        growth.n_prunings,
        growth.leaked
    );
    assert!(share <= 0.25, "{most} pages");
    assert!(error <= 1e-3, "{error:e}");
    assert!(growth.n_births >= 10 && growth.n_prunings >= 10, "it crosses about twelve pages");
    assert_eq!(growth.n_refusals, 0);
    let norm = after.norm + growth.pruned_norm - before.norm;
    assert!(norm.abs() < 1e-11 * before.norm, "what is not there was pruned: {norm:e}");
    let energy = after.energy + growth.pruned_energy - before.energy;
    assert!(energy.abs() < 1e-5 * before.energy.abs(), "{energy:e}");
}

/// Everything at once: potential, damping, β, an emitter.
fn rich(block: Option<[usize; 3]>) -> Setup {
    let torus = torus([18, 9, 9], 1.0, block);
    let mut scene = setup(torus.clone(), 5e-3);
    scene.wave.beta = 0.7;
    scene.potential = profile(&torus, |p| (0.4 * p[8]).cos() + (0.7 * p[6]).sin());
    scene.damping = profile(&torus, |p| 0.02 * (1.0 + (0.7 * p[7]).cos()));
    scene.initial = initial(&torus, |p| polar(1.0 + 0.3 * (0.7 * p[6]).cos(), 0.35 * p[8]));
    let everywhere: Arc<dyn ComplexFill> = initial(&torus, |p| polar(0.5, 0.7 * p[7]));
    scene.emitters = vec![Emitter {
        name: "all".into(),
        frequency_hz: 0.8,
        phase_turns: 0.1,
        amplitude: 0.2,
        envelope: Envelope::Constant,
        profile: everywhere,
    }];
    scene.growth = block.map(|_| rule(1e-6));
    scene
}

#[test]
fn a_set_of_all_pages_equals_the_dense_torus() {
    let mut sparse = build(&rich(Some([6, 3, 3])));
    let mut dense = build(&rich(None));
    assert_eq!(sparse.active_pages().len(), sparse.torus().n_pages());
    advance(&mut sparse, 100);
    advance(&mut dense, 100);
    assert_eq!(sparse.active_pages().len(), sparse.torus().n_pages());
    let error = Field::of(&sparse).relative_error(&Field::of(&dense));
    assert!(error < 1e-12, "{error:e}");
    let (a, b) = (sparse.sample(), dense.sample());
    for (a, b) in [(a.norm, b.norm), (a.energy, b.energy), (a.momentum[8], b.momentum[8]), (a.mu, b.mu)] {
        assert!((a - b).abs() < 1e-11 * (1.0 + b.abs()), "{a} {b}");
    }
}

#[test]
fn throttled_and_capped_growth_waits_and_says_so() {
    let scene = soliton([81, 3, 3], [3, 3, 3], 3.0, Some(rule(1e-3)));
    let mut world = build(&scene);
    let n_start = world.active_pages().len();
    advance(&mut world, 120);
    assert!(world.growth().is_some_and(|growth| growth.n_births > 0));
    while world.pop_growth().is_some() {}
    world.push(Command::ThrottleGrowth(true)).expect("room");
    let held = world.growth().map(|growth| growth.n_births);
    advance(&mut world, 300);
    assert_eq!(world.growth().map(|growth| growth.n_births), held, "nothing is born while throttled");
    let events: Vec<_> = std::iter::from_fn(|| world.pop_growth()).collect();
    assert!(events.iter().any(|event| event.change == Change::Throttled));
    let mut kept = build(&scene);
    restore(&mut kept, &save(&mut world)).expect("the same scene");
    assert!(kept.growth().is_some_and(|growth| growth.is_throttled), "the throttle is part of the state");
    world.push(Command::ThrottleGrowth(false)).expect("room");
    advance(&mut world, 30);
    assert!(world.growth().map(|growth| growth.n_births) > held, "growth goes on");
    let capped = Setup {
        growth: Some(GrowthRule { pages_max: n_start, ..rule(1e-3) }),
        ..soliton([81, 3, 3], [3, 3, 3], 3.0, Some(rule(1e-3)))
    };
    let mut world = build(&capped);
    let mut told = false;
    for _ in 0..400 {
        world.tick();
        assert!(world.active_pages().len() <= n_start, "the memory cap holds");
        while let Some(event) = world.pop_growth() {
            told |= event.change == Change::Capped;
        }
    }
    assert!(told && world.sample().n_nonfinite == 0);
}

#[test]
fn injections_make_the_pages_they_need() {
    let (extents, block) = ([54, 9, 9], [3, 3, 3]);
    let strike = |torus: &Torus| -> Arc<dyn ComplexFill> {
        let length = torus.lengths()[Axis::Z.index()];
        initial(torus, move |p| {
            let z = nearest_image(p[Axis::Z.index()] - 9.0, length);
            polar((-0.5 * (z * z + p[6] * p[6] + p[7] * p[7])).exp(), 0.0)
        })
    };
    let scene = |growth: Option<GrowthRule>| {
        let mut scene = soliton(extents, block, 1.0, growth);
        let profile = strike(&scene.torus);
        scene.injections = vec![Injection { tick: 7, amplitude: (0.3, 0.1), profile }];
        if let Some(growth) = &mut scene.growth {
            growth.seeds = vec![[0, 0, 0, 0, 0, 0, 4, 4, 49]];
        }
        scene
    };
    let mut sparse = build(&scene(Some(rule(1e-4))));
    let mut dense = build(&scene(None));
    advance(&mut sparse, 40);
    advance(&mut dense, 40);
    let error = Field::of(&sparse).relative_error(&Field::of(&dense));
    assert!(error < 1e-3, "{error:e}");
    // A field that is sent acts at the end of its tick, which is the beginning of the next.
    let inject = |world: &mut Simulation| {
        let profile = strike(world.torus());
        world.push(Command::Inject { amplitude: (0.2, 0.0), profile }).expect("finite");
    };
    inject(&mut sparse);
    sparse.tick();
    dense.tick();
    inject(&mut dense);
    advance(&mut sparse, 20);
    advance(&mut dense, 20);
    let error = Field::of(&sparse).relative_error(&Field::of(&dense));
    assert!(error < 1e-3, "{error:e}");
}

#[test]
fn threads_change_neither_the_pages_nor_a_bit() {
    for precision in [Precision::F32, Precision::F64] {
        let run = |threads: usize| {
            let mut scene = soliton([81, 9, 9], [3, 3, 3], 3.0, Some(rule(1e-3)));
            scene.precision = precision;
            let mut world = build_with(&scene, &BuildOptions { threads, ..BuildOptions::default() });
            advance(&mut world, 150);
            assert_rows_in_order(&world);
            let births = world.growth().map(|growth| growth.n_births);
            (world.active_pages().to_vec(), births, state_digest(&world))
        };
        let one = run(1);
        assert!(one.1 > Some(0), "pages were born");
        for threads in [2, 4] {
            assert_eq!(run(threads), one, "{precision:?} on {threads} threads");
        }
    }
}

#[test]
fn seven_trillion_nodes_open_and_tick() {
    let path = super::tidy::root().join("scenes/torus_27_9.ron");
    let scene = load(&path, &[]).unwrap_or_else(|error| panic!("{error}"));
    let resolved = resolve(&scene, &scene.base_dir).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(resolved.setup.torus.n_nodes(), 7_625_597_484_987);
    let mut world = build(&resolved.setup);
    advance(&mut world, 12);
    let pages = world.active_pages().len();
    assert!((1..=64).contains(&pages), "{pages} pages");
    let sample = world.sample();
    assert!((sample.norm + world.growth().map_or(0.0, |growth| growth.pruned_norm) - 1.0).abs() < 1e-5);
    assert_eq!(sample.n_nonfinite, 0);
}
