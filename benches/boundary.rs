//! Sparse tori: the whole tick of 5 to 40 active pages of 3^9 nodes, on 27^9 and on 9^9 nodes, with V, β, the ledger
//! and the look of stage boundary. The cost follows the active pages, not the torus.

use nikola_engine::bench::copy_bandwidth;
use nikola_engine::runner::now_nanos;
use nikola_engine::systems::Simulation;
use nikola_engine::systems::components::fill::Profile;
use nikola_engine::systems::components::growth::GrowthRule;
use nikola_engine::systems::components::noise;
use nikola_engine::systems::components::ports::Command;
use nikola_engine::systems::components::setup::{Precision, Setup};
use nikola_engine::systems::components::telemetry::Stage;
use nikola_engine::systems::components::torus::{PageRule, Torus};
use nikola_engine::systems::world::BuildOptions;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Nodes in `n` pages: crosses of a page and its eighteen face neighbours, one beside the other along the first axis,
/// then, where a round of it is full, one page further along the second.
fn crosses(torus: &Torus, n: usize) -> Vec<[usize; 9]> {
    let mut pages = BTreeSet::new();
    let [first, second, ..] = torus.extents();
    // Crosses that share arms have fewer pages than nineteen each.
    for cross in 0.. {
        if cross >= n.div_ceil(19) && pages.len() >= n {
            break;
        }
        let mut centre = torus.extents().map(|extent| extent / 2);
        centre[0] = (centre[0] + 9 * cross) % first;
        centre[1] = (centre[1] + 9 * cross / first * 3) % second;
        let (page, _) = torus.locate(centre);
        pages.insert(page);
        for &axis in torus.storage() {
            pages.extend([false, true].map(|is_upper| torus.neighbour(page, axis, is_upper)));
        }
    }
    pages.into_iter().take(n).map(|page| torus.node(page, 0)).collect()
}

fn setup(extent: usize, n_pages: usize) -> Setup {
    let torus = Torus::new([extent; 9], [extent as f64; 9], PageRule::AutoBlocks).expect("a native torus");
    let seeds = crosses(&torus, n_pages);
    let active: Vec<usize> = seeds.iter().map(|&node| torus.locate(node).0).collect();
    let random = |stream: u32, page: usize, out: &mut [f64]| {
        for (i, slot) in out.iter_mut().enumerate() {
            *slot = noise::uniform(1, stream, page as u64, i as u64) - 0.5;
        }
    };
    let initial = move |page: usize, re: &mut [f64], im: &mut [f64]| {
        if active.contains(&page) {
            random(1, page, re);
            random(2, page, im);
        }
    };
    let free = Setup::free(torus, 1e-3);
    let wave = nikola_engine::systems::components::setup::WaveParameters { beta: 1.0, ..free.wave };
    Setup {
        precision: Precision::F32,
        wave,
        potential: Profile::PerNode(Arc::new(move |page: usize, out: &mut [f64]| random(0, page, out))),
        initial: Arc::new(initial),
        growth: Some(GrowthRule { threshold: 0.5, pages_max: n_pages, seeds, ..GrowthRule::default() }),
        ..free
    }
}

fn main() {
    println!("nodes       pages  threads     p50 µs     p99 µs   floor µs  p50÷floor   stages (p50 µs)");
    for (extent, pages) in [(27, 5), (27, 10), (27, 20), (9, 20), (27, 40)] {
        for threads in [1, 2] {
            let options = BuildOptions { threads, now_nanos: Some(now_nanos), ..BuildOptions::default() };
            let mut world = Simulation::new(&setup(extent, pages), &options).expect("a valid world");
            world.push(Command::ThrottleGrowth(true)).expect("room");
            assert_eq!(world.active_pages().len(), pages);
            let mut ticks = Vec::new();
            let mut stages: [Vec<u64>; Stage::COUNT] = Default::default();
            // Beyond the ledger's settling, during which the norm is summed every tick.
            for tick in 0..1500 {
                let start = now_nanos();
                world.tick();
                if tick >= 100 {
                    ticks.push(now_nanos() - start);
                    let times = world.stage_times().nanos;
                    stages.iter_mut().zip(times).for_each(|(samples, nanos)| samples.push(nanos));
                }
            }
            let quantile = |samples: &mut Vec<u64>, q: f64| {
                samples.sort_unstable();
                samples[((samples.len() as f64 * q) as usize).min(samples.len() - 1)] as f64 * 1e-3
            };
            let (p50, p99) = (quantile(&mut ticks, 0.5), quantile(&mut ticks, 0.99));
            // Ψ in and out twice, V twice: 40 bytes per node.
            let bytes = 40.0 * (pages * world.torus().page_nodes()) as f64;
            let floor = 1e6 * bytes / copy_bandwidth(bytes as usize * 3 / 10, threads);
            let parts: Vec<String> = Stage::ALL
                .iter()
                .zip(&mut stages)
                .map(|(stage, samples)| format!("{} {:.0}", stage.name(), quantile(samples, 0.5)))
                .collect();
            println!(
                "{extent}^9{:<6}{pages:>7}{threads:>9}{p50:>11.0}{p99:>11.0}{floor:>11.1}{:>11.1}   {}",
                "",
                p50 / floor,
                parts.join(" · ")
            );
        }
    }
}
