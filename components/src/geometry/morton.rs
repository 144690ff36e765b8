//! 128-bit Morton keys: 14 bits per axis, bit k of axis d at position 9k + d.
//! Invariant: 126 bits carry the address, the top two are zero; 16 big-endian bytes wherever a key leaves the process.

use super::axis::Axis;

/// Bits per axis.
pub const BITS_PER_AXIS: u32 = 14;

/// An interleaved address of a node or of a page's first node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MortonKey(u128);

/// Why there is no such key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MortonError {
    /// A coordinate needs more than 14 bits.
    #[error("coordinate {found} along {axis} needs more than {BITS_PER_AXIS} bits; expected less than 16384")]
    Coordinate {
        /// The axis.
        axis: Axis,
        /// The coordinate.
        found: u16,
    },
    /// Bytes whose top two bits are set.
    #[error("the key's top two bits are set (0x{found:032x}); expected a 126-bit key")]
    TopBits {
        /// The number read.
        found: u128,
    },
}

impl MortonKey {
    /// Interleaves grid coordinates r…z.
    ///
    /// # Errors
    /// [`MortonError::Coordinate`] for a coordinate of 2^14 or more.
    pub fn encode(coordinates: [u16; 9]) -> Result<Self, MortonError> {
        let mut key = 0u128;
        for axis in Axis::ALL {
            let found = coordinates[axis.index()];
            if found >> BITS_PER_AXIS != 0 {
                return Err(MortonError::Coordinate { axis, found });
            }
            for bit in 0..BITS_PER_AXIS {
                key |= u128::from(found >> bit & 1) << (9 * bit + axis.index() as u32);
            }
        }
        Ok(Self(key))
    }

    /// Grid coordinates r…z.
    pub fn decode(self) -> [u16; 9] {
        let mut coordinates = [0; 9];
        for (d, coordinate) in coordinates.iter_mut().enumerate() {
            for bit in 0..BITS_PER_AXIS {
                *coordinate |= ((self.0 >> (9 * bit + d as u32) & 1) as u16) << bit;
            }
        }
        coordinates
    }

    /// The key as a number.
    pub fn value(self) -> u128 {
        self.0
    }

    /// The key as it leaves the process.
    pub fn to_be_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// A key from outside.
    ///
    /// # Errors
    /// [`MortonError::TopBits`] when the number has more than 126 bits.
    pub fn from_be_bytes(bytes: [u8; 16]) -> Result<Self, MortonError> {
        let found = u128::from_be_bytes(bytes);
        if found >> (9 * BITS_PER_AXIS) != 0 { Err(MortonError::TopBits { found }) } else { Ok(Self(found)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_lands_at_nine_k_plus_d() {
        for d in 0..9 {
            for k in 0..BITS_PER_AXIS {
                let mut coordinates = [0; 9];
                coordinates[d] = 1 << k;
                let key = MortonKey::encode(coordinates).expect("14 bits");
                assert_eq!(key.value(), 1 << (9 * k + d as u32));
                assert_eq!(key.decode(), coordinates);
                assert_eq!(MortonKey::from_be_bytes(key.to_be_bytes()), Ok(key));
            }
        }
    }

    #[test]
    fn keys_invert_and_order_like_their_bytes() {
        let mut state = 1u64;
        let mut previous: Option<MortonKey> = None;
        for _ in 0..10_000 {
            let coordinates = [0; 9].map(|_: u16| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 50) as u16
            });
            let key = MortonKey::encode(coordinates).expect("14 bits");
            assert_eq!(key.decode(), coordinates);
            if let Some(previous) = previous {
                assert_eq!(previous.cmp(&key), previous.to_be_bytes().cmp(&key.to_be_bytes()));
            }
            previous = Some(key);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut coordinates = [0; 9];
        coordinates[4] = 1 << 14;
        assert_eq!(
            MortonKey::encode(coordinates),
            Err(MortonError::Coordinate { axis: Axis::V, found: 1 << 14 })
        );
        let top = MortonKey::from_be_bytes([0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert!(matches!(top, Err(MortonError::TopBits { .. })));
    }
}
