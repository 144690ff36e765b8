//! What of the energy balance survives a tick. Invariant: see [`crate::state`]. The tally, on which no tick depends, is
//! stored beside the table.

use super::watch::Watch;
use crate::device::balance::DeviceLog;
use crate::ingress::InputLog;
use crate::state::{StateError, StateReader, StateWriter, Survives};
use bevy_ecs::prelude::World;
use nikola_components::column::Scalar;
use nikola_components::ledger::EnergyFlows;
use nikola_components::oracle::{OracleReport, OracleTally};
use nikola_kernels::Real;

/// What every check and booking goes on from; the profiles of the sources follow from the setup.
impl<T: Real + Scalar> Survives for Watch<T> {
    fn save(&self, out: &mut StateWriter) {
        self.account.save(out);
        self.guard.save(out);
        let numbers = [self.booked, self.deficit.energy, self.deficit.norm, self.deficit_total, self.leak];
        numbers.into_iter().for_each(|number| out.put_f64(number));
        out.put_u64(self.sampled_at);
        out.put_u64(self.skip as u64);
    }

    fn load(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        self.account.load(from)?;
        self.guard.load(from)?;
        self.booked = from.take_f64()?;
        self.deficit.energy = from.take_f64()?;
        self.deficit.norm = from.take_f64()?;
        self.deficit_total = from.take_f64()?;
        self.leak = from.take_f64()?;
        self.sampled_at = from.take_u64()?;
        self.skip = from.take_u64()? as usize;
        Ok(())
    }
}

/// The watch, where there is one, and what a device has shown it since it last judged.
pub(crate) fn save_watch<T: Real + Scalar>(world: &World, out: &mut StateWriter) {
    let Some(watch) = world.get_resource::<Watch<T>>() else { return };
    watch.save(out);
    if let Some(log) = world.get_resource::<DeviceLog>() {
        let (max_abs2, n_nonfinite) = log.seen;
        [max_abs2, watch.last_totals.max_abs2].into_iter().for_each(|number| out.put_f64(number));
        [n_nonfinite, watch.last_totals.n_nonfinite].into_iter().for_each(|number| out.put_u64(number));
    }
}

/// Takes them back; states from before have nothing of the device's.
pub(crate) fn load_watch<T: Real + Scalar>(
    world: &mut World,
    from: &mut StateReader<'_>,
) -> Result<(), StateError> {
    let Some(mut watch) = world.get_resource_mut::<Watch<T>>() else { return Ok(()) };
    watch.load(from)?;
    if from.is_at_end() {
        return Ok(());
    }
    let max_abs2 = [from.take_f64()?, from.take_f64()?];
    let n_nonfinite = [from.take_u64()?, from.take_u64()?];
    (watch.last_totals.max_abs2, watch.last_totals.n_nonfinite) = (max_abs2[1], n_nonfinite[1]);
    if let Some(mut log) = world.get_resource_mut::<DeviceLog>() {
        log.seen = (max_abs2[0], n_nonfinite[0]);
    }
    Ok(())
}

/// What the oracle counted and measured last, where there is one.
pub(crate) fn tally<T: Real + Scalar>(world: &World) -> Option<OracleTally> {
    let (watch, report) = (world.get_resource::<Watch<T>>()?, world.get_resource::<OracleReport>()?);
    Some(OracleTally {
        energy_drift_worst: report.energy_drift_worst,
        n_renormalisations: report.n_renormalisations,
        n_scrams: report.n_scrams,
        n_resets: report.n_resets,
        norm: watch.last.norm,
        energy: watch.last.energy,
        max_abs2: watch.last_totals.max_abs2,
        n_nonfinite: watch.last_totals.n_nonfinite,
    })
}

/// Tells of a loaded state what was told of it when it was saved. Without a tally counts begin here, and until the next
/// check H counts as what the account expects.
pub(crate) fn recall<T: Real + Scalar>(world: &mut World, tally: Option<OracleTally>) {
    let Some(mut watch) = world.get_resource_mut::<Watch<T>>() else { return };
    let report = watch.recall(tally);
    world.insert_resource(report);
}

/// The sums; what belongs to one tick is empty at its border.
impl Survives for EnergyFlows {
    fn save(&self, out: &mut StateWriter) {
        self.totals().iter().for_each(|&total| out.put_f64(total));
    }

    fn load(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        for total in self.totals_mut() {
            *total = from.take_f64()?;
        }
        Ok(())
    }
}

/// What may lead to a reset, and what did.
impl Survives for InputLog {
    fn save(&self, out: &mut StateWriter) {
        for digests in [&self.recent, &self.blacklist] {
            out.put_u64(digests.len() as u64);
            digests.iter().for_each(|&digest| out.put_u64(digest));
        }
    }

    fn load(&mut self, from: &mut StateReader<'_>) -> Result<(), StateError> {
        for digests in [&mut self.recent, &mut self.blacklist] {
            digests.clear();
            for _ in 0..from.take_u64()? {
                digests.push_back(from.take_u64()?);
            }
        }
        Ok(())
    }
}
