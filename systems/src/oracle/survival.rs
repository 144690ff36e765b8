//! What of the energy balance survives a tick. Invariant: see [`crate::state`].

use super::watch::Watch;
use crate::ingress::InputLog;
use crate::state::{StateError, StateReader, StateWriter, Survives};
use nikola_components::column::Scalar;
use nikola_components::ledger::EnergyFlows;
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
