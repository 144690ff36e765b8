//! What of the neurochemistry survives a tick, and what follows from it. Invariant: see [`crate::state`].

use super::effects::rescale;
use super::{Engs, Inbox};
use crate::damping::set_damping;
use crate::metric_update::PlasticMetric;
use crate::propagators::Propagators;
use crate::state::{StateError, StateReader, StateWriter, Survives};
use crate::world::{Compute, Environment};
use bevy_ecs::prelude::*;
use bevy_ecs::system::SystemState;
use nikola_components::chemistry::{Chemistry, Effects, Goal, Horizon, Stimulus, Work};
use nikola_components::column::Scalar;
use nikola_components::metric::MetricCells;
use nikola_components::ports::Ingress;
use nikola_components::setup::WaveParameters;
use nikola_components::wave::{Damping, Psi};
use nikola_kernels::Real;

impl Survives for Chemistry {
    fn save(&self, out: &mut StateWriter) {
        self.scalars().iter().for_each(|&scalar| out.put_f64(scalar));
    }

    fn load(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        let mut scalars = [0.0; 5];
        for scalar in &mut scalars {
            *scalar = from.take_f64()?;
        }
        *self = Self::from_scalars(scalars);
        Ok(())
    }
}

impl Survives for Effects {
    fn save(&self, out: &mut StateWriter) {
        [self.damping_scale, self.diffusion_scale, self.firing_threshold]
            .into_iter()
            .for_each(|value| out.put_f64(value));
    }

    fn load(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        self.damping_scale = from.take_f64()?;
        self.diffusion_scale = from.take_f64()?;
        self.firing_threshold = from.take_f64()?;
        Ok(())
    }
}

impl Survives for Work {
    fn save(&self, out: &mut StateWriter) {
        out.put_u64(self.node_steps);
        out.put_u64(self.plasticity_updates);
    }

    fn load(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        self.node_steps = from.take_u64()?;
        self.plasticity_updates = from.take_u64()?;
        Ok(())
    }
}

fn put_goal(goal: &Goal, out: &mut StateWriter) {
    out.put_u64(goal.id);
    out.put_u64(goal.horizon as u64);
    out.put_f64(goal.reward);
}

fn take_goal(from: &mut StateReader<'_>) -> Result<Goal, StateError> {
    let id = from.take_u64()?;
    let horizon = match from.take_u64()? {
        0 => Horizon::Short,
        1 => Horizon::Mid,
        2 => Horizon::Long,
        other => return Err(strange("a goal of horizon", other)),
    };
    Ok(Goal { id, horizon, reward: from.take_f64()? })
}

fn strange(what: &'static str, found: u64) -> StateError {
    StateError::Mismatch { what, found: found.to_string(), expected: "a kind this build knows".into() }
}

impl Survives for Inbox {
    fn save(&self, out: &mut StateWriter) {
        out.put_u64(self.stimuli.len() as u64);
        for stimulus in &self.stimuli {
            let (kind, number) = match *stimulus {
                Stimulus::Reward(reward) => (0, Some(reward)),
                Stimulus::Alert => (1, None),
                Stimulus::Stress(stress) => (2, Some(stress)),
                Stimulus::Work(work) => (3, Some(work)),
                Stimulus::AddGoal(_) => (4, None),
                Stimulus::ReachGoal(_) => (5, None),
                Stimulus::Nap => (6, None),
            };
            out.put_u64(kind);
            match stimulus {
                Stimulus::AddGoal(goal) => put_goal(goal, out),
                Stimulus::ReachGoal(id) => out.put_u64(*id),
                _ => number.into_iter().for_each(|number| out.put_f64(number)),
            }
        }
    }

    fn load(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        self.stimuli.clear();
        for _ in 0..from.take_u64()? {
            self.stimuli.push(match from.take_u64()? {
                0 => Stimulus::Reward(from.take_f64()?),
                1 => Stimulus::Alert,
                2 => Stimulus::Stress(from.take_f64()?),
                3 => Stimulus::Work(from.take_f64()?),
                4 => Stimulus::AddGoal(take_goal(from)?),
                5 => Stimulus::ReachGoal(from.take_u64()?),
                6 => Stimulus::Nap,
                other => return Err(strange("a stimulus of kind", other)),
            });
        }
        Ok(())
    }
}

/// What the next update goes on from; the reservoir's nodes follow from the setup.
impl Survives for Engs {
    fn save(&self, out: &mut StateWriter) {
        out.put_f64_or_none(self.expected_energy);
        out.put_f64_or_none(self.napped_secs);
        for number in [self.reward_error, self.entropy, self.pending_reward, self.fatigue_secs] {
            out.put_f64(number);
        }
        let flags = u64::from(self.is_curious) | u64::from(self.is_atp_low) << 1;
        for word in [self.n_curiosities, flags, self.damping_step as u64, self.diffusion_step as u64] {
            out.put_u64(word);
        }
        out.put_u64(self.densities.len() as u64);
        self.densities.iter().for_each(|&density| out.put_f64(density));
        out.put_u64(self.goals.len() as u64);
        self.goals.iter().for_each(|goal| put_goal(goal, out));
    }

    fn load(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        self.expected_energy = from.take_f64_or_none()?;
        self.napped_secs = from.take_f64_or_none()?;
        self.reward_error = from.take_f64()?;
        self.entropy = from.take_f64()?;
        self.pending_reward = from.take_f64()?;
        self.fatigue_secs = from.take_f64()?;
        self.n_curiosities = from.take_u64()?;
        let flags = from.take_u64()?;
        (self.is_curious, self.is_atp_low) = (flags & 1 != 0, flags & 2 != 0);
        self.damping_step = from.take_u64()? as i64;
        self.diffusion_step = from.take_u64()? as i64;
        self.densities.clear();
        for _ in 0..from.take_u64()? {
            self.densities.push(from.take_f64()?);
        }
        self.goals.clear();
        for _ in 0..from.take_u64()? {
            self.goals.push(take_goal(from)?);
        }
        Ok(())
    }
}

type Modulated<T> = SystemState<(
    Query<'static, 'static, Option<&'static mut Damping<T>>, With<Psi<T>>>,
    ResMut<'static, Environment>,
    ResMut<'static, Propagators<T>>,
    (Option<ResMut<'static, PlasticMetric>>, Query<'static, 'static, &'static MetricCells>),
    ResMut<'static, WaveParameters>,
    ResMut<'static, Ingress>,
    Option<Res<'static, Engs>>,
    Option<Res<'static, Effects>>,
    Res<'static, Compute>,
)>;

/// After a load: Γ, D and the closed door follow from the loaded scalars, whatever the world had before.
pub(crate) fn restore<T: Real + Scalar>(world: &mut World) {
    let mut state = Modulated::<T>::new(world);
    let Ok((
        mut damping,
        mut environment,
        mut propagators,
        (mut metric, cells),
        mut wave,
        mut ingress,
        engs,
        effects,
        compute,
    )) = state.get_mut(world)
    else {
        return;
    };
    let (scale, extra) = (environment.damping_law.scale, environment.damping_law.extra);
    set_damping(damping.iter_mut(), &mut environment, scale, extra);
    let (Some(engs), Some(effects)) = (engs, effects) else { return };
    ingress.set_closed(engs.door());
    let scale = effects.diffusion_scale;
    wave.diffusion = engs.diffusion.map(|d| d * scale);
    if !propagators.has_scale(&engs.terms, scale) {
        let metric = metric.as_deref_mut();
        let means = (compute.level, compute.long_threads());
        rescale(&mut propagators, metric, cells.iter(), means, &engs.terms, scale);
    }
}
