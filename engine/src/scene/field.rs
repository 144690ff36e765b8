//! Named forms of a complex field: initial states, emitter profiles, injections.
//!
//! Invariant: distances are those to the nearest image on the ring, so that a packet may sit anywhere; a form with
//! a wave number or mode beyond what the grid resolves is refused.

use super::context::{Context, Names, axis_of};
use super::error::SceneError;
use super::evaluate::{ComplexExpression, Grid};
use super::expression::{Program, wrap};
use super::forms::{AxisForm, FieldForm};
use super::from_npy;
use super::limits::{LIST_MAX, MAGNITUDE_MAX, RANDOM_MODES_MAX};
use super::quantity::{PerAxis, Quantity};
use super::random::{Modes, White};
use super::separable::{ProductOf, Separable, SumOf, polar, times};
use core::f64::consts::{PI, TAU};
use nikola_components::fill::ComplexFill;
use nikola_components::geometry::axis::Axis;
use std::path::Path;
use std::sync::Arc;

/// Largest winding of a vortex.
const WINDING_MAX: i32 = 64;

/// What the forms need to know about the scene.
pub struct FieldBuilder<'a> {
    /// Constants and positions in the text.
    pub context: &'a Context<'a>,
    /// The torus.
    pub grid: Arc<Grid>,
    /// D^{dd}.
    pub diffusion: [f64; 9],
    /// β.
    pub beta: f64,
    /// Scene seed.
    pub seed: u64,
    /// Folder of the scene.
    pub base_dir: &'a Path,
}

type Built = Result<Arc<dyn ComplexFill>, SceneError>;

impl FieldBuilder<'_> {
    /// Builds the form found at `path`.
    ///
    /// # Errors
    /// Any value of the form that cannot be used, by field.
    pub fn build(&self, form: &FieldForm, path: &str) -> Built {
        match form {
            FieldForm::Uniform { amplitude, phase } => {
                let amplitude = self.context.number(amplitude, &format!("{path}.amplitude"))?;
                let phase = self.context.number(phase, &format!("{path}.phase"))?;
                Ok(Arc::new(Separable::new(self.grid.clone(), polar(amplitude, phase))))
            }
            FieldForm::PlaneWave { mode, amplitude, phase } => self.plane_wave(mode, amplitude, phase, path),
            FieldForm::Gaussian { width, centre, momentum, amplitude } => {
                self.gaussian(width, centre, momentum, amplitude, path)
            }
            FieldForm::BrightSoliton { axis, amplitude, centre, velocity, phase } => {
                self.bright_soliton(*axis, [amplitude, centre, velocity, phase], path)
            }
            FieldForm::DarkSoliton { axis, density, centre, separation, velocity } => {
                self.dark_soliton(*axis, [density, centre, velocity], separation.as_ref(), path)
            }
            FieldForm::Vortex { plane, winding, core, centre, amplitude } => {
                self.vortex(*plane, *winding, core, centre, amplitude, path)
            }
            FieldForm::Noise { rms, stream } => {
                let rms = self.context.bounded(
                    rms,
                    &format!("{path}.rms"),
                    0.0,
                    MAGNITUDE_MAX,
                    "a number from 0 on",
                )?;
                Ok(Arc::new(White { grid: self.grid.clone(), rms, seed: self.seed, stream: *stream }))
            }
            FieldForm::RandomModes { rms, mode_max, gap, stream } => {
                self.random_modes(rms, mode_max, gap, *stream, path)
            }
            FieldForm::Expr { re, im } => self.expression([re, im], ["re", "im"], false, path),
            FieldForm::Polar { amplitude, phase } => {
                self.expression([amplitude, phase], ["amplitude", "phase"], true, path)
            }
            FieldForm::FromNpy(file) => {
                from_npy::complex(self.context, &self.grid, self.base_dir, file, path)
            }
            FieldForm::Sum(parts) => Ok(Arc::new(SumOf(self.parts(parts, path)?))),
            FieldForm::Product(parts) => Ok(Arc::new(ProductOf(self.parts(parts, path)?))),
        }
    }

    fn parts(&self, parts: &[FieldForm], path: &str) -> Result<Vec<Arc<dyn ComplexFill>>, SceneError> {
        if parts.is_empty() || parts.len() > LIST_MAX {
            return Err(self.context.value(
                path,
                format!("{} parts", parts.len()),
                format!("1 to {LIST_MAX} fields"),
                "put the fields into the list, e.g. Sum([Uniform(), Noise(rms: 0.01)])",
            ));
        }
        parts.iter().enumerate().map(|(i, part)| self.build(part, &format!("{path}[{i}]"))).collect()
    }

    fn expression(&self, parts: [&Quantity; 2], names: [&str; 2], is_polar: bool, path: &str) -> Built {
        let first = self.context.node(parts[0], &format!("{path}.{}", names[0]), Names::Space)?;
        let second = self.context.node(parts[1], &format!("{path}.{}", names[1]), Names::Space)?;
        Ok(Arc::new(ComplexExpression {
            grid: self.grid.clone(),
            first: Program::new(&first),
            second: Program::new(&second),
            is_polar,
        }))
    }

    /// The index of an axis that has more than one node.
    fn active_axis(&self, form: AxisForm, path: &str) -> Result<usize, SceneError> {
        let axis = axis_of(form);
        if self.grid.torus.extents()[axis.index()] > 1 {
            return Ok(axis.index());
        }
        Err(self.context.inactive(path, axis, &self.grid.torus))
    }

    fn length(&self, d: usize) -> f64 {
        self.grid.torus.lengths()[d]
    }

    fn plane_wave(
        &self,
        mode: &PerAxis<Quantity>,
        amplitude: &Quantity,
        phase: &Quantity,
        path: &str,
    ) -> Built {
        let context = self.context;
        context.active(mode, &format!("{path}.mode"), &self.grid.torus)?;
        let amplitude = context.number(amplitude, &format!("{path}.amplitude"))?;
        let phase = context.number(phase, &format!("{path}.phase"))?;
        let mut wave = Separable::new(self.grid.clone(), polar(amplitude, phase));
        for (d, m) in
            self.modes(mode, &format!("{path}.mode"))?.into_iter().enumerate().filter(|(_, m)| *m != 0)
        {
            let k = TAU * m as f64 / self.length(d);
            wave = wave.along(d, |position| polar(1.0, k * position));
        }
        Ok(Arc::new(wave))
    }

    /// Whole modes per axis, within ±N/2.
    fn modes(&self, mode: &PerAxis<Quantity>, path: &str) -> Result<[i64; 9], SceneError> {
        let mut modes = [0; 9];
        for axis in Axis::ALL {
            let d = axis.index();
            let half = self.grid.torus.extents()[d] as i64 / 2;
            if let Some(quantity) = mode.get(axis)
                && half > 0
            {
                modes[d] =
                    self.context.whole(quantity, &format!("{path}.{}", mode.key(axis)), -half, half)?;
            }
        }
        Ok(modes)
    }

    fn gaussian(
        &self,
        width: &PerAxis<Quantity>,
        centre: &PerAxis<Quantity>,
        momentum: &PerAxis<Quantity>,
        amplitude: &Quantity,
        path: &str,
    ) -> Built {
        let context = self.context;
        for (values, name) in [(width, "width"), (centre, "centre"), (momentum, "momentum")] {
            context.active(values, &format!("{path}.{name}"), &self.grid.torus)?;
        }
        let amplitude = context.number(amplitude, &format!("{path}.amplitude"))?;
        let centres = context.per_axis(centre, &format!("{path}.centre"), 0.0)?;
        let momenta = context.per_axis(momentum, &format!("{path}.momentum"), 0.0)?;
        let mut packet = Separable::new(self.grid.clone(), (amplitude, 0.0));
        for axis in Axis::ALL {
            let d = axis.index();
            if self.grid.torus.extents()[d] == 1 {
                continue;
            }
            let k_max = PI / self.grid.torus.spacing(axis);
            let (c, k, length) = (centres[d], momenta[d], self.length(d));
            if k.abs() > k_max {
                return Err(context.value(
                    &format!("{path}.momentum.{}", momentum.key(axis)),
                    format!("{k}"),
                    format!(
                        "a wave number within ±{k_max:.6}, the largest this grid carries along {}",
                        axis.name()
                    ),
                    "use a smaller momentum, or more nodes on this axis",
                ));
            }
            if let Some(quantity) = width.get(axis) {
                let w = context.positive(quantity, &format!("{path}.width.{}", width.key(axis)))?;
                packet = packet.along(d, |position| {
                    let scaled = wrap(position - c, length) / w;
                    (libm::exp(-0.5 * scaled * scaled), 0.0)
                });
            }
            if k != 0.0 {
                packet = packet.along(d, |position| polar(1.0, k * wrap(position - c, length)));
            }
        }
        Ok(Arc::new(packet))
    }

    fn bright_soliton(&self, axis: AxisForm, values: [&Quantity; 4], path: &str) -> Built {
        let d = self.active_axis(axis, &format!("{path}.axis"))?;
        if self.beta >= 0.0 {
            return Err(self.context.value(
                path,
                format!("a bright soliton with β = {}", self.beta),
                "β < 0 (focusing)",
                "set equation.beta to a negative number, or use DarkSoliton",
            ));
        }
        let amplitude = self.context.positive(values[0], &format!("{path}.amplitude"))?;
        let centre = self.context.number(values[1], &format!("{path}.centre"))?;
        let velocity = self.context.number(values[2], &format!("{path}.velocity"))?;
        let phase = self.context.number(values[3], &format!("{path}.phase"))?;
        let diffusion = self.diffusion[d];
        let (kappa, k) = (amplitude * libm::sqrt(-self.beta / diffusion), velocity / diffusion);
        let length = self.length(d);
        let soliton = Separable::new(self.grid.clone(), polar(amplitude, phase));
        Ok(Arc::new(soliton.along(d, |position| {
            let distance = wrap(position - centre, length);
            polar(1.0 / libm::cosh(kappa * distance), k * distance)
        })))
    }

    fn dark_soliton(
        &self,
        axis: AxisForm,
        values: [&Quantity; 3],
        separation: Option<&Quantity>,
        path: &str,
    ) -> Built {
        let d = self.active_axis(axis, &format!("{path}.axis"))?;
        if self.beta <= 0.0 {
            return Err(self.context.value(
                path,
                format!("dark solitons with β = {}", self.beta),
                "β > 0 (defocusing)",
                "set equation.beta to a positive number, or use BrightSoliton",
            ));
        }
        let length = self.length(d);
        let density = self.context.positive(values[0], &format!("{path}.density"))?;
        let centre = self.context.number(values[1], &format!("{path}.centre"))?;
        let v = self.context.bounded(
            values[2],
            &format!("{path}.velocity"),
            -0.999,
            0.999,
            "a speed within ±0.999 of sound",
        )?;
        let half = match separation {
            None => 0.25 * length,
            Some(quantity) => {
                let field = format!("{path}.separation");
                0.5 * self.context.bounded(
                    quantity,
                    &field,
                    0.0,
                    length,
                    "a distance from 0 to the period",
                )?
            }
        };
        let depth = libm::sqrt(1.0 - v * v);
        let kappa = depth * libm::sqrt(self.beta * density / self.diffusion[d]);
        let kink = move |x: f64| (depth * libm::tanh(kappa * x), v);
        let pair = Separable::new(self.grid.clone(), (libm::sqrt(density), 0.0));
        Ok(Arc::new(pair.along(d, |position| {
            let distance = wrap(position - centre, length);
            times(kink(half + distance), kink(half - distance))
        })))
    }

    fn vortex(
        &self,
        plane: (AxisForm, AxisForm),
        winding: i32,
        core: &Quantity,
        centre: &PerAxis<Quantity>,
        amplitude: &Quantity,
        path: &str,
    ) -> Built {
        let context = self.context;
        let axes = [
            self.active_axis(plane.0, &format!("{path}.plane[0]"))?,
            self.active_axis(plane.1, &format!("{path}.plane[1]"))?,
        ];
        if axes[0] == axes[1] {
            return Err(context.value(
                &format!("{path}.plane"),
                "the same axis twice",
                "two different axes",
                "name the plane in which the phase winds, e.g. (x, y)",
            ));
        }
        if winding == 0 || winding.abs() > WINDING_MAX {
            return Err(context.value(
                &format!("{path}.winding"),
                format!("{winding}"),
                format!("a whole number from -{WINDING_MAX} to {WINDING_MAX}, not 0"),
                "use 1 or -1 for a single vortex",
            ));
        }
        let core = context.positive(core, &format!("{path}.core"))?;
        let amplitude = context.number(amplitude, &format!("{path}.amplitude"))?;
        context.active(centre, &format!("{path}.centre"), &self.grid.torus)?;
        let centres = context.per_axis(centre, &format!("{path}.centre"), 0.0)?;
        let grid = self.grid.clone();
        let lengths = axes.map(|d| self.length(d));
        Ok(Arc::new(move |page: usize, re: &mut [f64], im: &mut [f64]| {
            grid.torus.for_each_node(page, |i, node| {
                let [a, b] = [0, 1].map(|k| {
                    let d = axes[k];
                    wrap(grid.lines[d][node[d]] - centres[d], lengths[k])
                });
                let radius = libm::sqrt(a * a + b * b + core * core);
                let turn = (a / radius, f64::from(winding.signum()) * b / radius);
                let value = (0..winding.abs()).fold((amplitude, 0.0), |value, _| times(value, turn));
                (re[i], im[i]) = value;
            });
        }))
    }

    fn random_modes(
        &self,
        rms: &Quantity,
        mode_max: &PerAxis<Quantity>,
        gap: &Quantity,
        stream: u32,
        path: &str,
    ) -> Built {
        let context = self.context;
        context.active(mode_max, &format!("{path}.mode_max"), &self.grid.torus)?;
        let rms = context.bounded(rms, &format!("{path}.rms"), 0.0, MAGNITUDE_MAX, "a number from 0 on")?;
        let gap = context.positive(gap, &format!("{path}.gap"))?;
        let modes = self.modes(mode_max, &format!("{path}.mode_max"))?.map(i64::abs);
        let count = modes.iter().fold(1usize, |count, m| count.saturating_mul(2 * *m as usize + 1));
        if count > RANDOM_MODES_MAX {
            return Err(context.value(
                &format!("{path}.mode_max"),
                format!("{count} modes"),
                format!("at most {RANDOM_MODES_MAX} modes"),
                "lower mode_max, or use Noise",
            ));
        }
        Ok(Arc::new(Modes::new(&self.grid, modes, &self.diffusion, gap, rms, self.seed, stream)))
    }
}
