//! The three things taken from libsodium directly: SHA-256, random bytes, comparison in constant time.
//! Invariant: nothing secret is compared with `==`.

#![allow(unsafe_code)] // declarations of a C library

use std::sync::Once;

/// libsodium chooses its implementations once per process.
fn ready() {
    static READY: Once = Once::new();
    READY.call_once(|| {
        // SAFETY: takes no arguments and may be called from any thread.
        let code = unsafe { libsodium_sys::sodium_init() };
        assert!(code >= 0, "libsodium cannot start");
    });
}

/// SHA-256 (FIPS 180-4).
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    ready();
    let mut digest = [0; 32];
    // SAFETY: the pointers and the length describe the two slices; the output has 32 bytes.
    unsafe { libsodium_sys::crypto_hash_sha256(digest.as_mut_ptr(), bytes.as_ptr(), bytes.len() as u64) };
    digest
}

/// Bytes from the operating system's generator.
pub fn random<const N: usize>() -> [u8; N] {
    ready();
    let mut bytes = [0; N];
    // SAFETY: the pointer and the length describe the array.
    unsafe { libsodium_sys::randombytes_buf(bytes.as_mut_ptr().cast(), N) };
    bytes
}

/// Whether two digests are equal, in a time that does not depend on where they differ.
pub fn equal(a: &[u8; 32], b: &[u8; 32]) -> bool {
    ready();
    // SAFETY: both arrays have 32 bytes.
    unsafe { libsodium_sys::sodium_memcmp(a.as_ptr().cast(), b.as_ptr().cast(), 32) == 0 }
}

/// The two lower-case hexadecimal digits of a byte, in ASCII.
pub fn hex_digits(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [byte >> 4, byte & 15].map(|nibble| DIGITS[usize::from(nibble)])
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|&byte| hex_digits(byte).map(char::from)).collect()
}

/// The bytes of a hexadecimal string; none when it is not one.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |c: u8| (c as char).to_digit(16).map(|digit| digit as u8);
    text.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_gives_the_published_digest() {
        // FIPS 180-4 example: "abc".
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&sha256(b"abc")), expected);
        assert_eq!(from_hex(expected).as_deref(), Some(&sha256(b"abc")[..]));
        assert_eq!(from_hex("0g"), None);
        assert_eq!(from_hex("abc"), None);
    }

    #[test]
    fn random_bytes_differ_and_compare() {
        let (a, b) = (random::<32>(), random::<32>());
        assert!(equal(&a, &a));
        assert!(!equal(&a, &b));
    }
}
