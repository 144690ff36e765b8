//! A small laboratory: worlds from closures, and the complex fields they hold.
//! Invariant: fields are in canonical order (row-major r…z, z fastest), whatever the storage order.

use nikola_engine::systems::Simulation;
use nikola_engine::systems::components::fill::Profile;
use nikola_engine::systems::components::geometry::axis::Axis;
use nikola_engine::systems::components::setup::Setup;
use nikola_engine::systems::components::torus::{PageRule, Torus};
use nikola_engine::systems::components::wave::Page;
use nikola_engine::systems::state::StateError;
use nikola_engine::systems::world::BuildOptions;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A position r…z in model units.
pub type Position = [f64; 9];

/// A torus whose active axes have the given extents and lengths.
pub fn torus(axes: &[(Axis, usize, f64)]) -> Torus {
    let (mut extents, mut lengths) = ([1; 9], [1.0; 9]);
    for &(axis, extent, length) in axes {
        extents[axis.index()] = extent;
        lengths[axis.index()] = length;
    }
    Torus::new(extents, lengths, PageRule::Auto).expect("test tori are valid")
}

/// Double precision, Strang, closed, no potential, β = 0, Ψ = 1: what a test changes, it says.
pub fn setup(torus: Torus, dt: f64) -> Setup {
    Setup::free(torus, dt)
}

fn position(torus: &Torus, coordinates: &[usize; 9]) -> Position {
    let mut position = [0.0; 9];
    for axis in Axis::ALL {
        position[axis.index()] = torus.coordinate(axis, coordinates[axis.index()]);
    }
    position
}

/// Ψ(x) as an initial state.
pub fn initial(
    torus: &Torus,
    psi: impl Fn(&Position) -> (f64, f64) + Send + Sync + 'static,
) -> Arc<dyn nikola_engine::systems::components::fill::ComplexFill> {
    let torus = torus.clone();
    Arc::new(move |page: usize, re: &mut [f64], im: &mut [f64]| {
        torus.for_each_node(page, |i, coordinates| (re[i], im[i]) = psi(&position(&torus, coordinates)));
    })
}

/// V(x) or Γ(x) as a profile.
pub fn profile(torus: &Torus, value: impl Fn(&Position) -> f64 + Send + Sync + 'static) -> Profile {
    let torus = torus.clone();
    Profile::PerNode(Arc::new(move |page: usize, out: &mut [f64]| {
        torus.for_each_node(page, |i, coordinates| out[i] = value(&position(&torus, coordinates)));
    }))
}

/// A field as an initial state: the way a run continues from what another one ended with.
pub fn from_field(
    torus: &Torus,
    field: Field,
) -> Arc<dyn nikola_engine::systems::components::fill::ComplexFill> {
    let torus = torus.clone();
    Arc::new(move |page: usize, re: &mut [f64], im: &mut [f64]| {
        torus.for_each_node(page, |i, coordinates| {
            (re[i], im[i]) = field.values[canonical(&torus, coordinates)];
        });
    })
}

/// Builds the world on one thread.
pub fn build(setup: &Setup) -> Simulation {
    build_with(setup, &BuildOptions::default())
}

/// Builds the world with the given options.
pub fn build_with(setup: &Setup, options: &BuildOptions) -> Simulation {
    Simulation::new(setup, options).expect("test worlds are valid")
}

/// Runs `ticks` ticks.
pub fn advance(simulation: &mut Simulation, ticks: u64) {
    for _ in 0..ticks {
        simulation.tick();
    }
}

/// A complex field in canonical order.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// (re, im) per node.
    pub values: Vec<(f64, f64)>,
}

impl Field {
    /// Ψ of a world.
    pub fn of(simulation: &Simulation) -> Self {
        let torus = simulation.torus();
        let mut values = vec![(0.0, 0.0); torus.n_nodes()];
        let (mut re, mut im) = (vec![0.0; torus.page_nodes()], vec![0.0; torus.page_nodes()]);
        for page in 0..torus.n_pages() {
            simulation.read_page(page, &mut re, &mut im);
            torus.for_each_node(page, |i, coordinates| {
                values[canonical(torus, coordinates)] = (re[i], im[i]);
            });
        }
        Self { values }
    }

    /// A function of position on the nodes of a torus.
    pub fn exact(torus: &Torus, psi: impl Fn(&Position) -> (f64, f64)) -> Self {
        let mut values = vec![(0.0, 0.0); torus.n_nodes()];
        for page in 0..torus.n_pages() {
            torus.for_each_node(page, |_, coordinates| {
                values[canonical(torus, coordinates)] = psi(&position(torus, coordinates));
            });
        }
        Self { values }
    }

    /// ‖self − other‖₂ / ‖other‖₂.
    pub fn relative_error(&self, other: &Self) -> f64 {
        let square = |(re, im): (f64, f64)| re * re + im * im;
        let difference: f64 =
            self.values.iter().zip(&other.values).map(|(a, b)| square((a.0 - b.0, a.1 - b.1))).sum();
        (difference / other.values.iter().map(|&b| square(b)).sum::<f64>()).sqrt()
    }
}

/// Index of a node in canonical order.
pub fn canonical(torus: &Torus, coordinates: &[usize; 9]) -> usize {
    torus.extents().iter().zip(coordinates).fold(0, |index, (extent, i)| index * extent + i)
}

/// e^{iφ} as (re, im).
pub fn cis(phase: f64) -> (f64, f64) {
    (phase.cos(), phase.sin())
}

/// amplitude · e^{iφ}.
pub fn polar(amplitude: f64, phase: f64) -> (f64, f64) {
    (amplitude * phase.cos(), amplitude * phase.sin())
}

/// Nearest image of `x` in [−length/2, length/2).
pub fn nearest_image(x: f64, length: f64) -> f64 {
    x - length * (x / length + 0.5).floor()
}

/// What a world is saved as.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    /// Its pages, in storage order.
    pub pages: Vec<Page>,
    /// Everything outside the columns.
    pub scalars: Vec<u8>,
    /// Columns by Peano index of the page and column id.
    pub columns: BTreeMap<(u64, u8), Vec<u8>>,
}

/// Saves a world whole.
pub fn save(world: &mut Simulation) -> Saved {
    let mut columns = BTreeMap::new();
    world.save_columns(None, &mut |column| {
        assert!(column.is_touched);
        columns.insert((column.page.peano, column.kind.id), column.bytes.to_vec());
    });
    Saved { pages: world.pages(), scalars: world.save_scalars(), columns }
}

/// Continues from a saved world.
///
/// # Errors
/// As [`Simulation::load_state`].
pub fn restore(world: &mut Simulation, saved: &Saved) -> Result<(), StateError> {
    world.load_state(&saved.pages, &saved.scalars, |page, kind, bytes| {
        let column = saved.columns.get(&(page.peano, kind.id)).ok_or("missing")?;
        bytes.copy_from_slice(column);
        Ok::<(), &str>(())
    })
}

/// A world and whatever tells it what to do.
pub trait Led {
    /// The world.
    fn simulation(&mut self) -> &mut Simulation;
    /// One tick, with what enters it and the answers to what it asked for.
    ///
    /// # Errors
    /// What went wrong.
    fn tick(&mut self) -> Result<(), String>;
}

/// Goes on for `ahead` ticks from the state after each of `ticks` ticks, in a world that is new or still holds the state after
/// tick `held`, and compares each with those of a world that ran on, which it returns.
///
/// # Errors
/// The first difference: where it went on from, and when it came.
pub fn go_on_from_every_tick<W: Led>(
    begin: impl Fn() -> Result<W, String>,
    ticks: usize,
    held: usize,
    ahead: usize,
) -> Result<W, String> {
    let mut whole = begin()?;
    let mut states = Vec::new();
    for tick in 0..=ticks + ahead {
        if tick > 0 {
            whole.tick()?;
        }
        let world = whole.simulation();
        // An answer on its way is stored beside the state.
        let is_waiting = world.waiting_restore().is_some();
        states.push((save(world), world.checkpoints().cloned(), is_waiting));
    }
    for (tick, (state, kept, is_waiting)) in states.iter().enumerate().take(ticks + 1) {
        if *is_waiting {
            continue;
        }
        let mut part = begin()?;
        for _ in 0..if tick > held { held } else { 0 } {
            part.tick()?;
        }
        restore(part.simulation(), state).map_err(|error| format!("tick {tick}: {error}"))?;
        if let Some(kept) = kept {
            part.simulation().set_checkpoints(kept.clone());
        }
        for (later, (expected, ..)) in states.iter().enumerate().skip(tick + 1).take(ahead) {
            part.tick()?;
            if save(part.simulation()) != *expected {
                return Err(format!("gone on from tick {tick}, tick {later} differs"));
            }
        }
    }
    Ok(whole)
}
