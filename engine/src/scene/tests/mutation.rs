//! Mutated scenes: whatever the text, the reader gives a scene or an error that says something, and soon.

use crate::scene::{check, load_str, resolve};
use nikola_components::noise::philox4x32;
use std::path::Path;

/// A text that uses most forms, on few nodes.
const SEED: &str = r#"// comment
(
    version: 1, title: "t", constants: {k: 2, g: 1.5e-1},
    torus: (extents: {y: 4, z: 8}, lengths: {z: "2*pi"}, page: Auto),
    equation: Schrodinger(c0: 1, beta: -1, alpha: 0.1, metric: {y: 2}),
    time: Real, dt: 1e-3, ticks: 20, precision: F64, integrator: Strang,
    potential: Sum([Harmonic(omega: {z: 1}), Lattice(depth: 1, periods: {z: 2}), Expr("g*z*sin(k*t) + if(y < 0, 1, 0)")]),
    resonance: "clamp(gauss(z, 1), 0, 1)", state: 0,
    initial: Sum([Gaussian(width: {z: 1}, momentum: {z: 0.5}), Product([Uniform(), Noise(rms: 0.1)]),
        Vortex(plane: (y, z)), BrightSoliton(axis: z), Polar(amplitude: "exp(-z^2)", phase: "k*z")]),
    normalise: 1,
    emitters: [GoldenRatio(n: [1, 9], amplitude: 0.1, profile: Uniform()),
        Custom(frequency_hz: 2, amplitude: 1, profile: Uniform(), envelope: Window(rise_secs: 0.1))],
    injections: [(tick: 3, profile: PlaneWave(mode: {z: 1}))],
    observables: ["<z>", "peak = max(abs)", "integral(rho^2*cos(t))"],
    outputs: (series_every: 2, snapshots: At([0, 20]), marginals: [Project([z]), Slice(keep: [y], at: {z: 0.5})], formats: [Csv, Npy]),
    seed: 3,
)"#;

/// Pieces that a scene's grammar gives meaning to, and some that it does not.
const PIECES: [&str; 30] = [
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "\"",
    "'",
    "//",
    "/*",
    "#",
    "r#\"",
    "\\",
    "0",
    "-1",
    "1e309",
    "NaN",
    "inf",
    "^",
    "*",
    "t",
    "sqrt(",
    "Sum([",
    "None",
    "\u{0}",
    "é",
    "99999999999999999999",
    "all",
];

fn mutate(text: &str, round: u32) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    let mut counter = 0;
    let mut draw = |bound: usize| {
        counter += 1;
        philox4x32([round, counter, 0, 0], [17, 4])[0] as usize % bound.max(1)
    };
    for _ in 0..=draw(3) {
        let at = draw(characters.len());
        match draw(12) {
            0 => drop(characters.drain(at..(at + 1 + draw(4)).min(characters.len()))),
            1 => drop(characters.splice(at..at, PIECES[draw(PIECES.len())].chars())),
            2 => characters.truncate(at),
            3 => {
                let end = (at + 1 + draw(40)).min(characters.len());
                let copied: Vec<char> = characters[at..end].to_vec();
                let target = draw(characters.len());
                drop(characters.splice(target..target, copied));
            }
            4 => {
                let other = draw(characters.len());
                characters.swap(at, other);
            }
            // Numbers: the scene often stays readable, so that values are exercised too.
            5..=9 => {
                let digits: Vec<usize> =
                    (0..characters.len()).filter(|&i| characters[i].is_ascii_digit()).collect();
                if let Some(&digit) = digits.get(draw(digits.len())) {
                    characters[digit] = ['0', '1', '7', '9', '.', '-'][draw(6)];
                }
            }
            _ => characters[at] = char::from(b' ' + draw(95) as u8),
        }
        if characters.is_empty() {
            break;
        }
    }
    characters.into_iter().collect()
}

#[test]
fn no_mutation_makes_the_reader_panic() {
    let whole = load_str("seed.ron", SEED, &[]).unwrap_or_else(|error| panic!("{error}"));
    resolve(&whole, Path::new(".")).unwrap_or_else(|error| panic!("{error}"));
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..5000 {
        let text = mutate(SEED, round);
        let outcome = load_str("mutated.ron", &text, &[]).and_then(|scene| resolve(&scene, Path::new(".")));
        match outcome {
            Ok(resolved) => {
                accepted += 1;
                assert!(!check(&resolved, None).to_string().is_empty());
            }
            Err(error) => {
                refused += 1;
                let fault = error.fault();
                for part in [&fault.found, &fault.expected, &fault.remedy] {
                    assert!(!part.trim().is_empty(), "round {round}: {error}\n{text}");
                }
            }
        }
    }
    assert!(
        accepted > 100 && refused > 2000,
        "{accepted} accepted, {refused} refused: the mutations are too mild or wild"
    );
}

#[test]
fn no_mutation_of_an_override_makes_the_reader_panic() {
    for round in 0..1000 {
        let set = mutate("potential[2]=Expr(\"0.5*z^2\")", round);
        let _ = load_str("seed.ron", SEED, &[set]).and_then(|scene| resolve(&scene, Path::new(".")));
    }
}
