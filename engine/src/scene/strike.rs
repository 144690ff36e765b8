//! A strike: an injection that arrives while a scene runs, as the text of a scene's own form without a tick.
//! Invariant: the text alone, with the scene, gives the same field again; that is what lets a journal replay it.

use super::context::Context;
use super::error::{Fault, Place, SceneError};
use super::evaluate::Grid;
use super::field::FieldBuilder;
use super::forms::StrikeForm;
use super::read::{Scene, options, syntax};
use super::separable::polar;
use super::source::Source;
use nikola_components::ports::Command;
use nikola_components::setup::Setup;

/// Longest text of a strike.
pub const STRIKE_BYTES_MAX: usize = 64 << 10;

/// Reads `(amplitude: 0.1, phase: 0, profile: Gaussian(width: {x: 1}))` for a scene that resolved to `setup`. The
/// scene's constants may be used.
///
/// # Errors
/// [`SceneError`] pointing into `text`.
pub fn strike(scene: &Scene, setup: &Setup, text: &str) -> Result<Command, SceneError> {
    const NAME: &str = "the injection";
    if text.len() > STRIKE_BYTES_MAX {
        return Err(SceneError::Limit {
            fault: Box::new(Fault {
                place: Place { file: NAME.into(), ..Place::default() },
                found: format!("{} bytes", text.len()),
                expected: format!("at most {STRIKE_BYTES_MAX} bytes"),
                remedy: "keep arrays in .npy files and load them with FromNpy".into(),
            }),
        });
    }
    let source = Source::new(NAME, text.to_string())?;
    let form: StrikeForm = options().from_str(&source.text).map_err(|error| syntax(&source, &error))?;
    let mut context = Context::new(&source, &scene.document)?;
    context.define_torus(&setup.torus, setup.wave.dt);
    let fields = FieldBuilder {
        context: &context,
        grid: Grid::new(setup.torus.clone(), setup.growth.clone()),
        diffusion: setup.wave.diffusion,
        beta: setup.wave.beta,
        seed: setup.seed,
        base_dir: &scene.base_dir,
    };
    let amplitude = context.number(&form.amplitude, "amplitude")?;
    let phase = context.number(&form.phase, "phase")?;
    let profile = fields.pattern(&form.profile, "profile")?;
    Ok(Command::Inject { amplitude: polar(amplitude, phase), profile })
}
