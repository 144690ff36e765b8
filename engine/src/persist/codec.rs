//! How a column's bytes are stored.
//!
//! Invariant: lossless unless the codec is [`NONARY`]; decoding writes exactly as many bytes as the column has, and no
//! length that is read from a file is ever allocated.
//!
//! Numbers are split into byte planes first (all first bytes, then all second bytes, …): signs and exponents of
//! neighbours are alike, low mantissa bytes are noise. Each plane is then stored raw or as an LZ4 block, whichever is
//! smaller; planes in which samples do not shrink enough are not even tried, so noise costs no more than a copy.

use super::nrle;

/// Codec byte of a raw payload.
pub const RAW: u8 = 0;
/// Byte planes, each raw or LZ4.
pub const PLANES: u8 = 1;
/// Balanced nonary digits, run-length encoded. Lossy.
pub const NONARY: u8 = 2;

/// Bytes before each plane: method, length.
const PLANE_HEAD: usize = 5;
const METHOD_RAW: u8 = 0;
const METHOD_LZ4: u8 = 1;

/// Bytes of a sample.
const SAMPLE: usize = 1024;

/// How much of a sample must go for its plane to be compressed. LZ4 takes some 10 ns for a byte of a plane that hardly
/// shrinks, a disk 2 ns: what would gain less is stored faster as it is.
const SAMPLE_GAIN: usize = 3 * SAMPLE / 8;

/// Different bytes in a sample from which on it is taken for noise without a trial.
const NOISE_VALUES: u32 = 128;

/// Buffers of one encoder or decoder.
#[derive(Debug, Default)]
pub struct Scratch {
    plane: Vec<u8>,
    packed: Vec<u8>,
}

/// Encodes `content`, numbers of `width` bytes: appends the planes to `out` and returns [`PLANES`], or leaves `out` as
/// it is and returns [`RAW`] where the content itself is no longer.
pub fn encode(content: &[u8], width: usize, scratch: &mut Scratch, out: &mut Vec<u8>) -> u8 {
    let begin = out.len();
    if width == 0 || width > 8 || !content.len().is_multiple_of(width) {
        return RAW;
    }
    let n = content.len() / width;
    let Scratch { plane, packed } = scratch;
    packed.resize(lz4_flex::block::get_maximum_output_size(n.max(SAMPLE)), 0);
    let mut is_tried = [false; 8];
    for byte in 0..width {
        is_tried[byte] = is_promising(content, width, byte, packed);
    }
    if !is_tried.contains(&true) {
        return RAW;
    }
    plane.resize(n, 0);
    for byte in 0..width {
        gather(content, width, byte, plane);
        let len = if is_tried[byte] {
            lz4_flex::block::compress_into(plane, packed).ok().filter(|len| *len < n)
        } else {
            None
        };
        let (method, stored) = match len {
            Some(len) => (METHOD_LZ4, &packed[..len]),
            None => (METHOD_RAW, &plane[..]),
        };
        out.push(method);
        out.extend_from_slice(&(stored.len() as u32).to_le_bytes());
        out.extend_from_slice(stored);
    }
    if out.len() - begin < content.len() {
        return PLANES;
    }
    out.truncate(begin);
    RAW
}

/// Byte `byte` of every number. The two widths that columns have are compiled for themselves.
fn gather(content: &[u8], width: usize, byte: usize, plane: &mut [u8]) {
    // Shifts of whole numbers, which compile to vectors where loads of single bytes would not.
    let shift = 8 * byte;
    match width {
        4 => {
            let numbers = content.as_chunks::<4>().0.iter().map(|number| u32::from_le_bytes(*number));
            plane.iter_mut().zip(numbers).for_each(|(slot, number)| *slot = (number >> shift) as u8);
        }
        8 => {
            let numbers = content.as_chunks::<8>().0.iter().map(|number| u64::from_le_bytes(*number));
            plane.iter_mut().zip(numbers).for_each(|(slot, number)| *slot = (number >> shift) as u8);
        }
        _ => {
            plane.iter_mut().zip(content.chunks_exact(width)).for_each(|(slot, number)| *slot = number[byte])
        }
    }
}

/// Sets byte `byte` of every number.
fn scatter(plane: &[u8], width: usize, byte: usize, out: &mut [u8]) {
    fn every<const W: usize>(plane: &[u8], byte: usize, out: &mut [u8]) {
        let numbers = out.as_chunks_mut::<W>().0;
        numbers.iter_mut().zip(plane).for_each(|(number, value)| number[byte] = *value);
    }
    match width {
        4 => every::<4>(plane, byte, out),
        8 => every::<8>(plane, byte, out),
        _ => out.chunks_exact_mut(width).zip(plane).for_each(|(number, value)| number[byte] = *value),
    }
}

/// Whether one of three samples of a plane shrinks enough.
fn is_promising(content: &[u8], width: usize, byte: usize, packed: &mut [u8]) -> bool {
    let n = content.len() / width;
    if n <= 3 * SAMPLE {
        return true;
    }
    let mut sample = [0; SAMPLE];
    [0, (n - SAMPLE) / 2, n - SAMPLE].into_iter().any(|at| {
        gather(&content[at * width..(at + SAMPLE) * width], width, byte, &mut sample);
        let mut values = [0_u64; 4];
        sample.iter().for_each(|value| values[usize::from(*value) / 64] |= 1 << (value % 64));
        values.iter().map(|word| word.count_ones()).sum::<u32>() < NOISE_VALUES
            && lz4_flex::block::compress_into(&sample, packed).is_ok_and(|len| len + SAMPLE_GAIN <= SAMPLE)
    })
}

/// Decodes `stored` into the whole of `out`, numbers of `width` bytes.
///
/// # Errors
/// What is wrong with the encoding.
pub fn decode(
    codec: u8,
    stored: &[u8],
    width: usize,
    scratch: &mut Scratch,
    out: &mut [u8],
) -> Result<(), String> {
    match codec {
        RAW if stored.len() == out.len() => {
            out.copy_from_slice(stored);
            Ok(())
        }
        RAW => Err(format!("{} bytes for a column of {}", stored.len(), out.len())),
        PLANES => decode_planes(stored, width, scratch, out),
        NONARY => nrle::decode_column(stored, width, out),
        other => Err(format!("codec {other}, which this build does not know")),
    }
}

fn decode_planes(stored: &[u8], width: usize, scratch: &mut Scratch, out: &mut [u8]) -> Result<(), String> {
    if width == 0 || !out.len().is_multiple_of(width) {
        return Err(format!("byte planes for {} bytes of numbers of {width}", out.len()));
    }
    let n = out.len() / width;
    let mut rest = stored;
    for byte in 0..width {
        let (head, tail) = rest.split_at_checked(PLANE_HEAD).ok_or("an encoding that ends early")?;
        let len = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let (body, tail) = tail.split_at_checked(len).ok_or("a plane that ends early")?;
        rest = tail;
        let plane = match head[0] {
            METHOD_RAW if len == n => body,
            METHOD_LZ4 => {
                scratch.plane.resize(n, 0);
                match lz4_flex::block::decompress_into(body, &mut scratch.plane) {
                    Ok(found) if found == n => &scratch.plane[..],
                    Ok(found) => return Err(format!("a plane of {found} bytes for {n} numbers")),
                    Err(error) => return Err(format!("a broken LZ4 block: {error}")),
                }
            }
            METHOD_RAW => return Err(format!("a plane of {len} bytes for {n} numbers")),
            other => return Err(format!("plane method {other}")),
        };
        scatter(plane, width, byte, out);
    }
    if rest.is_empty() { Ok(()) } else { Err(format!("{} bytes after the last plane", rest.len())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nikola_systems::components::noise;

    fn columns() -> Vec<(usize, Vec<u8>)> {
        let n = 19_683;
        let smooth = |i: usize| (1.0 / (0.001 * i as f64 - 9.0).cosh()) as f32;
        let noise = |i: usize| noise::uniform(1, 2, 3, i as u64) as f32;
        vec![
            (4, (0..n).flat_map(|i| smooth(i).to_le_bytes()).collect()),
            (4, (0..n).flat_map(|i| noise(i).to_le_bytes()).collect()),
            (8, (0..n).flat_map(|i| f64::from(noise(i)).to_le_bytes()).collect()),
            (4, vec![0; 4 * n]),
            (4, Vec::new()),
            (8, (0..3).flat_map(|i| f64::NAN.to_bits().wrapping_add(i).to_le_bytes()).collect()),
            (0, vec![1, 2, 3]),
        ]
    }

    #[test]
    fn every_bit_comes_back() {
        let mut scratch = Scratch::default();
        for (width, content) in columns() {
            let mut stored = vec![0xAA];
            let codec = encode(&content, width, &mut scratch, &mut stored);
            if codec == RAW {
                assert_eq!(stored, [0xAA], "nothing is appended to what is stored as it is");
                stored.extend_from_slice(&content);
            }
            let mut out = vec![1; content.len()];
            decode(codec, &stored[1..], width, &mut scratch, &mut out).expect("as written");
            assert!(out == content, "width {width}, {} bytes, codec {codec}", content.len());
            assert!(stored.len() - 1 <= content.len(), "never larger than raw");
        }
    }

    #[test]
    fn zeros_shrink_two_hundred_times() {
        let mut stored = Vec::new();
        encode(&vec![0; 4 * 19_683], 4, &mut Scratch::default(), &mut stored);
        assert!(stored.len() * 200 < 4 * 19_683, "{} bytes", stored.len());
    }

    #[test]
    fn broken_encodings_are_errors() {
        let mut scratch = Scratch::default();
        let (width, content) = columns().swap_remove(0);
        let mut stored = Vec::new();
        let codec = encode(&content, width, &mut scratch, &mut stored);
        let mut out = vec![0; content.len()];
        for len in (0..stored.len()).step_by(97) {
            assert!(decode(codec, &stored[..len], width, &mut scratch, &mut out).is_err(), "{len} bytes");
        }
        assert!(decode(9, &stored, width, &mut scratch, &mut out).is_err());
        assert!(decode(RAW, &stored[1..], width, &mut scratch, &mut out).is_err());
        let huge = [METHOD_LZ4, 0xFF, 0xFF, 0xFF, 0xFF, 0];
        assert!(decode(PLANES, &huge, width, &mut scratch, &mut out).is_err());
    }
}
