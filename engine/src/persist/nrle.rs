//! The nonary encoding: amplitudes as balanced nonary digits −4…4, runs of vacuum by length. Lossy.
//!
//! Invariant: NRLE gives back every digit sequence exactly, whatever its runs; a decoder never writes more digits than
//! it was asked for. A digit is stored as 0…8 in a nibble (4 is vacuum).
//!
//! ```text
//! token    0 nnnnnnn   a run of n vacuum digits        1 nnnnnnn   n digits follow as nibbles, low nibble first
//! n = 127: a varint follows (7 bits a byte, least first, top bit for more) and counts on from 127
//! column   scale (f64: the number that digit 1 stands for) ‖ tokens
//! ```

use nikola_systems::components::geometry::nonary::{DIGIT_MAX, Digit};

/// A vacuum digit as stored.
const VACUUM: u8 = DIGIT_MAX as u8;

/// The largest stored digit.
const STORED_MAX: u8 = 2 * VACUUM;

/// From this length on a run of vacuum is worth a token of its own within digits.
const RUN_MIN: usize = 4;

const LITERAL: u8 = 0x80;
const LENGTH_MAX: usize = 127;

fn put_token(out: &mut Vec<u8>, control: u8, n: usize) {
    out.push(control | n.min(LENGTH_MAX) as u8);
    if n >= LENGTH_MAX {
        let mut rest = n - LENGTH_MAX;
        while rest >= 0x80 {
            out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
    }
}

fn take_token(rest: &mut &[u8]) -> Result<(bool, usize), String> {
    let (&token, tail) = rest.split_first().ok_or("a token stream that ends early")?;
    *rest = tail;
    let mut n = usize::from(token & 0x7F);
    if n == LENGTH_MAX {
        for shift in (0..).step_by(7) {
            let (&byte, tail) = rest.split_first().ok_or("a length that ends early")?;
            *rest = tail;
            if shift > 42 {
                return Err("a length beyond 2^49".into());
            }
            n += usize::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    Ok((token & LITERAL != 0, n))
}

/// Appends the tokens of stored digits (0…8 each).
pub fn encode(digits: &[u8], out: &mut Vec<u8>) {
    let run_at = |at: usize| digits[at..].iter().take_while(|digit| **digit == VACUUM).count();
    let mut at = 0;
    while at < digits.len() {
        let run = run_at(at);
        if run > 0 {
            put_token(out, 0, run);
            at += run;
            continue;
        }
        let begin = at;
        while at < digits.len() {
            let run = run_at(at);
            if run >= RUN_MIN || at + run == digits.len() && run > 0 {
                break;
            }
            at += run.max(1);
        }
        put_token(out, LITERAL, at - begin);
        out.extend(digits[begin..at].chunks(2).map(|pair| pair[0] | pair.get(1).unwrap_or(&0) << 4));
    }
}

/// Decodes exactly `out.len()` stored digits.
///
/// # Errors
/// What is wrong with the tokens.
pub fn decode(tokens: &[u8], out: &mut [u8]) -> Result<(), String> {
    let mut rest = tokens;
    let mut at = 0;
    while at < out.len() {
        let (is_literal, n) = take_token(&mut rest)?;
        let slots = out.get_mut(at..).and_then(|slots| slots.get_mut(..n)).filter(|slots| !slots.is_empty());
        let slots = slots.ok_or_else(|| format!("a token for {n} digits after {at}"))?;
        at += n;
        if !is_literal {
            slots.fill(VACUUM);
            continue;
        }
        let (nibbles, tail) = rest.split_at_checked(n.div_ceil(2)).ok_or("digits that end early")?;
        rest = tail;
        for (pair, byte) in slots.chunks_mut(2).zip(nibbles) {
            for (slot, digit) in pair.iter_mut().zip([byte & 0xF, byte >> 4]) {
                if digit > STORED_MAX {
                    return Err(format!("a digit {digit}; at most {STORED_MAX} exists"));
                }
                *slot = digit;
            }
        }
    }
    if rest.is_empty() { Ok(()) } else { Err(format!("{} bytes after the last digit", rest.len())) }
}

fn number(bytes: &[u8]) -> f64 {
    match bytes {
        [a, b, c, d] => f64::from(f32::from_le_bytes([*a, *b, *c, *d])),
        bytes => bytes.try_into().map_or(f64::NAN, f64::from_le_bytes),
    }
}

/// Appends a column of numbers of `width` 4 or 8: scale and tokens. Numbers that are not finite become vacuum.
pub fn encode_column(content: &[u8], width: usize, out: &mut Vec<u8>) {
    let numbers = || content.chunks_exact(width).map(number);
    let largest = numbers().filter(|x| x.is_finite()).fold(0.0, |largest: f64, x| largest.max(x.abs()));
    let scale = largest / f64::from(DIGIT_MAX);
    let digit = |x: f64| match Digit::quantise(if scale > 0.0 { x / scale } else { 0.0 }) {
        Some(digit) if x.is_finite() => (digit.value() + DIGIT_MAX) as u8,
        _ => VACUUM,
    };
    let digits: Vec<u8> = numbers().map(digit).collect();
    out.extend_from_slice(&scale.to_le_bytes());
    encode(&digits, out);
}

/// The column that its nonary encoding gives back; encoding that again changes nothing more.
pub fn quantise(content: &[u8], width: usize) -> Vec<u8> {
    let mut stored = Vec::new();
    encode_column(content, width, &mut stored);
    let mut out = vec![0; content.len()];
    decode_column(&stored, width, &mut out).expect("what was just encoded");
    out
}

/// Decodes a column of numbers of `width` 4 or 8: digit times scale.
///
/// # Errors
/// What is wrong with the encoding.
pub fn decode_column(stored: &[u8], width: usize, out: &mut [u8]) -> Result<(), String> {
    if width != 4 && width != 8 || !out.len().is_multiple_of(width) {
        return Err(format!("nonary digits for numbers of {width} bytes"));
    }
    let (scale, tokens) = stored.split_at_checked(8).ok_or("a scale that ends early")?;
    let scale = number(scale);
    let mut digits = vec![0; out.len() / width];
    decode(tokens, &mut digits)?;
    for (slot, digit) in out.chunks_exact_mut(width).zip(digits) {
        let value = f64::from(digit as i8 - DIGIT_MAX) * scale;
        match width {
            4 => slot.copy_from_slice(&(value as f32).to_le_bytes()),
            _ => slot.copy_from_slice(&value.to_le_bytes()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nikola_systems::components::noise;

    fn round_trip(digits: &[u8]) {
        let mut tokens = Vec::new();
        encode(digits, &mut tokens);
        let mut out = vec![0; digits.len()];
        decode(&tokens, &mut out).expect("as written");
        assert_eq!(out, digits);
    }

    #[test]
    fn every_short_sequence_comes_back() {
        // All sequences of up to seven digits over {vacuum, 0, 8}: every arrangement of runs of 1 to 7.
        for len in 0..=7u32 {
            for code in 0..3usize.pow(len) {
                let digits: Vec<u8> = (0..len).map(|i| [VACUUM, 0, 8][code / 3usize.pow(i) % 3]).collect();
                round_trip(&digits);
            }
        }
    }

    #[test]
    fn random_sequences_with_runs_of_every_length_come_back() {
        for case in 0..400u64 {
            let random = |i: u64| noise::uniform(case, 1, 2, i);
            let mut digits = Vec::new();
            for i in 0..40 {
                let run = (random(3 * i) * [3.0, 9.0, 200.0, 20_000.0][i as usize % 4]) as usize;
                digits.extend(std::iter::repeat_n(VACUUM, run));
                let n = (random(3 * i + 1) * 130.0) as u64;
                digits.extend((0..n).map(|k| (random(1000 * i + k + 7) * 9.0) as u8));
            }
            round_trip(&digits);
        }
    }

    #[test]
    fn every_broken_stream_is_an_error_and_writes_nothing_beyond() {
        let digits: Vec<u8> = (0..300).map(|i| if i % 50 < 20 { VACUUM } else { (i % 9) as u8 }).collect();
        let mut tokens = Vec::new();
        encode(&digits, &mut tokens);
        let mut out = vec![0; digits.len()];
        for len in 0..tokens.len() {
            assert!(decode(&tokens[..len], &mut out).is_err());
        }
        let huge = [0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F];
        assert!(decode(&huge, &mut out).is_err());
        assert!(decode(&[0x82, 0x99, 0x00], &mut out[..2]).is_err(), "digit 9");
    }

    #[test]
    fn a_column_keeps_its_digits() {
        let values: Vec<f32> = (0..50).map(|i| f32::from((i % 9) as i8 - 4) * 0.25).collect();
        let content: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let mut stored = Vec::new();
        encode_column(&content, 4, &mut stored);
        let mut out = vec![0; content.len()];
        decode_column(&stored, 4, &mut out).expect("as written");
        assert_eq!(out, content, "numbers that are digits already come back exactly");
        for width in [4, 8] {
            let noise = |i: u64| noise::uniform(3, 1, 4, i) - 0.5;
            let content: Vec<u8> = match width {
                4 => (0..999).flat_map(|i| (noise(i) as f32).to_le_bytes()).collect(),
                _ => (0..999).flat_map(|i| noise(i).to_le_bytes()).collect(),
            };
            let once = quantise(&content, width);
            assert!(quantise(&once, width) == once && once != content, "width {width}");
        }
    }
}
