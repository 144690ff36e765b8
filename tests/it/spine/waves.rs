//! Sparse waves: what is sent, what is left out, and that it is said.

use nikola_engine::scene;
use nikola_engine::spine::sparse::{NODES_MAX, THETA, sparse_waveform};
use nikola_engine::systems::Simulation;
use nikola_engine::systems::components::geometry::morton::MortonKey;
use nikola_engine::systems::world::BuildOptions;

fn simulation(file: &str, sets: &[&str]) -> Simulation {
    let sets: Vec<_> = sets.iter().map(|set| (*set).to_string()).collect();
    let path = super::super::tidy::root().join("scenes").join(file);
    let scene = scene::load(&path, &sets).expect("a scene of the house");
    let resolved = scene::resolve(&scene, &scene.base_dir).expect("resolves");
    Simulation::new(&resolved.setup, &BuildOptions::default()).expect("builds")
}

#[test]
fn listed_nodes_carry_their_values_under_their_keys() {
    let mut simulation = simulation("bright_soliton.ron", &[]);
    for _ in 0..5 {
        simulation.tick();
    }
    let wave = sparse_waveform(&simulation, THETA);
    let torus = simulation.torus().clone();
    let n = torus.page_nodes();
    let (mut re, mut im) = (vec![0.0; n], vec![0.0; n]);
    let (mut total, mut listed) = (0.0, 0.0);
    let keys: Vec<[u8; 16]> = wave.keys.as_chunks().0.to_vec();
    assert!(keys.is_sorted_by(|a, b| a < b) && keys.len() == wave.re.len());
    for page in 0..torus.n_pages() {
        simulation.read_page(page, &mut re, &mut im);
        torus.for_each_node(page, |i, coordinates| {
            let density = re[i] * re[i] + im[i] * im[i];
            total += density;
            let key = MortonKey::encode(coordinates.map(|x| x as u16)).expect("14 bits").to_be_bytes();
            match keys.binary_search(&key) {
                Ok(at) => {
                    assert_eq!((wave.re[at], wave.im[at]), (re[i] as f32, im[i] as f32));
                    listed += density;
                }
                Err(_) => assert!(density.sqrt() < wave.threshold),
            }
        });
    }
    assert_eq!(wave.tick, 5);
    assert!((wave.total_energy - total * torus.cell_volume()).abs() < 1e-12 * wave.total_energy);
    assert!((wave.omitted_fraction - (1.0 - listed / total)).abs() < 1e-12);
}

#[test]
fn a_soliton_in_a_large_ring_is_a_hundredth_of_its_dense_wave() {
    let simulation = simulation("bright_soliton.ron", &["torus.extents.z=16384", "torus.lengths.z=8000"]);
    let wave = sparse_waveform(&simulation, THETA);
    let dense = 2 * size_of::<f32>() * simulation.torus().n_nodes();
    let sparse = wave.keys.len() + size_of::<f32>() * (wave.re.len() + wave.im.len());
    let ratio = dense as f64 / sparse as f64;
    println!(
        "{} of {} nodes, {ratio:.0} : 1 against dense f32, {:.2e} of the energy left out",
        wave.re.len(),
        simulation.torus().n_nodes(),
        wave.omitted_fraction
    );
    assert!(ratio >= 100.0, "{ratio}");
    assert!(wave.omitted_fraction < 1e-2, "{}", wave.omitted_fraction);
}

#[test]
fn a_wave_that_is_large_everywhere_is_cut_to_the_largest_and_says_so() {
    let simulation = simulation(
        "bright_soliton.ron",
        &["torus.extents={z: 512, y: 128}", "initial=Uniform(amplitude: 1)"],
    );
    let wave = sparse_waveform(&simulation, THETA);
    assert_eq!(wave.re.len(), NODES_MAX);
    assert!((wave.omitted_fraction - (1.0 - NODES_MAX as f64 / 65_536.0)).abs() < 1e-12);
}
