//! Latencies in fixed memory: logarithmic buckets, 64 per factor of two.
//! Invariant: a quantile is at most 1.6 % above the true one; the maximum is exact; adding never allocates.

const SUB_BITS: u32 = 6;
const SUB: usize = 1 << SUB_BITS;

/// A histogram of nanoseconds.
#[derive(Debug, Clone)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; SUB * (65 - SUB_BITS as usize)], count: 0, max: 0 }
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < SUB as u64 {
        return nanos as usize;
    }
    let exponent = nanos.ilog2() - SUB_BITS;
    (exponent as usize) * SUB + (nanos >> exponent) as usize
}

fn upper(bucket: usize) -> u64 {
    if bucket < 2 * SUB {
        return bucket as u64;
    }
    let exponent = bucket / SUB - 1;
    let top = (bucket - exponent * SUB) as u128;
    (((top + 1) << exponent) - 1).min(u128::from(u64::MAX)) as u64
}

impl Histogram {
    /// Adds one latency.
    pub fn add(&mut self, nanos: u64) {
        self.buckets[bucket(nanos)] += 1;
        self.count += 1;
        self.max = self.max.max(nanos);
    }

    /// Adds all latencies of another histogram.
    pub fn absorb(&mut self, other: &Self) {
        self.buckets.iter_mut().zip(&other.buckets).for_each(|(own, other)| *own += other);
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    /// How many were added.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The latency that a share `quantile` of all does not exceed, in microseconds.
    pub fn quantile_micros(&self, quantile: f64) -> f64 {
        let wanted = ((self.count as f64 * quantile).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (index, &count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted && count > 0 {
                return upper(index).min(self.max) as f64 * 1e-3;
            }
        }
        self.max_micros()
    }

    /// The largest, in microseconds.
    pub fn max_micros(&self) -> f64 {
        self.max as f64 * 1e-3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_tile_the_range_without_gaps() {
        let mut previous = 0;
        for nanos in
            (0..5_000u64).chain((10..63).flat_map(|shift| [(1 << shift) - 1, 1 << shift, (1 << shift) + 1]))
        {
            let index = bucket(nanos);
            assert!(index >= previous || nanos < 5_000, "{nanos}");
            assert!(upper(index) >= nanos && upper(index) as f64 <= nanos as f64 * 1.016 + 1.0, "{nanos}");
            previous = index;
        }
        assert!(bucket(u64::MAX) < Histogram::default().buckets.len());
    }

    #[test]
    fn quantiles_of_a_known_distribution() {
        let mut histogram = Histogram::default();
        (1..=10_000u64).for_each(|i| histogram.add(i * 1_000));
        for quantile in [0.5, 0.9, 0.99, 0.999] {
            let exact = 10_000.0 * quantile;
            let found = histogram.quantile_micros(quantile);
            assert!(found >= exact && found <= exact * 1.016, "{quantile}: {found}");
        }
        assert_eq!(histogram.max_micros(), 10_000.0);
        assert_eq!(Histogram::default().quantile_micros(0.5), 0.0);
    }
}
