//! Counter-based random numbers: Philox 4×32-10.
//! Invariant: a number is a pure function of (scene seed, stream, tick, counter); nothing is advanced, so threads and
//! restarts cannot disturb it. Source: Salmon, Moraes, Dror & Shaw, SC'11 (2011), "Parallel random numbers: as easy
//! as 1, 2, 3"; known-answer vectors of the Random123 distribution.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// The bijection itself: 128-bit counter, 64-bit key.
pub fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..ROUNDS {
        let product = |m: u32, c: u32| u64::from(m) * u64::from(c);
        let (a, b) = (product(MULTIPLIERS[0], counter[0]), product(MULTIPLIERS[1], counter[2]));
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ key[1],
            a as u32,
        ];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

/// Two 64-bit words of (seed, stream, tick, counter). The counter has 48 bits, the tick 48, the stream 32.
fn words(seed: u64, stream: u32, tick: u64, counter: u64) -> [u64; 2] {
    let packed =
        [counter as u32, (counter >> 32) as u32 & 0xffff | (tick as u32) << 16, (tick >> 16) as u32, stream];
    let out = philox4x32(packed, [seed as u32, (seed >> 32) as u32]);
    [u64::from(out[0]) << 32 | u64::from(out[1]), u64::from(out[2]) << 32 | u64::from(out[3])]
}

fn unit(word: u64) -> f64 {
    (word >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// Uniform in [0, 1), 53 bits.
pub fn uniform(seed: u64, stream: u32, tick: u64, counter: u64) -> f64 {
    unit(words(seed, stream, tick, counter)[0])
}

/// Two independent standard normals (Box & Muller 1958).
pub fn normal_pair(seed: u64, stream: u32, tick: u64, counter: u64) -> (f64, f64) {
    let [a, b] = words(seed, stream, tick, counter);
    // 1 − u lies in (0, 1], where the logarithm is finite.
    let radius = libm::sqrt(-2.0 * libm::log(1.0 - unit(a)));
    let (sin, cos) = libm::sincos(core::f64::consts::TAU * unit(b));
    (radius * cos, radius * sin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers_of_random123() {
        assert_eq!(philox4x32([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox4x32([0xffff_ffff; 4], [0xffff_ffff; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox4x32([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn moments_of_both_distributions() {
        let n = 100_000;
        let (mut mean, mut square, mut gauss, mut gauss2, mut gauss4) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for i in 0..n {
            let u = uniform(42, 3, 7, i);
            mean += u;
            square += u * u;
            let (a, b) = normal_pair(42, 4, 7, i);
            gauss += a + b;
            gauss2 += a * a + b * b;
            gauss4 += a.powi(4) + b.powi(4);
        }
        let n = n as f64;
        assert!((mean / n - 0.5).abs() < 4.0 * 0.2887 / n.sqrt());
        assert!((square / n - 1.0 / 3.0).abs() < 0.004);
        assert!((gauss / (2.0 * n)).abs() < 4.0 / (2.0 * n).sqrt());
        assert!((gauss2 / (2.0 * n) - 1.0).abs() < 0.02);
        assert!((gauss4 / (2.0 * n) - 3.0).abs() < 0.15);
    }

    #[test]
    fn every_part_of_the_key_matters() {
        let reference = uniform(1, 2, 3, 4);
        for other in [uniform(2, 2, 3, 4), uniform(1, 3, 3, 4), uniform(1, 2, 4, 4), uniform(1, 2, 3, 5)] {
            assert_ne!(reference, other);
        }
        assert_ne!(uniform(1 << 32, 0, 0, 0), uniform(0, 0, 0, 0));
        assert_ne!(uniform(0, 0, 1 << 20, 0), uniform(0, 0, 0, 0));
    }
}
