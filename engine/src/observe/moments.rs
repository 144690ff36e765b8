//! Centre of mass and width along each active axis.
//! Invariant: f64, pages in order. Coordinates run from −L/2 to L/2; the centre is ∫xρ/∫ρ and the width √(∫x²ρ/∫ρ − centre²), meaningful while the cloud does not straddle the box edge.

use nikola_systems::Simulation;
use nikola_systems::components::geometry::axis::Axis;

/// (axis, centre, width) per active axis, in r…z order.
pub fn centres_and_widths(simulation: &Simulation) -> Vec<(Axis, f64, f64)> {
    let torus = simulation.torus();
    let mut density: Vec<Vec<f64>> = torus.extents().iter().map(|&extent| vec![0.0; extent]).collect();
    let nodes = torus.page_nodes();
    let (mut re, mut im) = (vec![0.0; nodes], vec![0.0; nodes]);
    let active: Vec<usize> = torus.storage().iter().map(|axis| axis.index()).collect();
    for page in 0..torus.n_pages() {
        simulation.read_page(page, &mut re, &mut im);
        torus.for_each_node(page, |i, node| {
            let rho = re[i] * re[i] + im[i] * im[i];
            for &d in &active {
                density[d][node[d]] += rho;
            }
        });
    }
    let is_active = |axis: &Axis| torus.extents()[axis.index()] > 1;
    let moments = |axis: Axis| {
        let (mut mass, mut first, mut second) = (0.0, 0.0, 0.0);
        for (i, rho) in density[axis.index()].iter().enumerate() {
            let x = torus.coordinate(axis, i);
            mass += rho;
            first += x * rho;
            second += x * x * rho;
        }
        let centre = first / mass;
        (axis, centre, (second / mass - centre * centre).max(0.0).sqrt())
    };
    Axis::ALL.into_iter().filter(is_active).map(moments).collect()
}
