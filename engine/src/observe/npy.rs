//! NumPy's `.npy` files: the reader of real and complex floats.
//!
//! Invariant: nothing in a file makes the reader panic or allocate more than the bytes that are really there; every
//! refusal names what was found and what was expected. Format: NumPy enhancement proposal 1 (versions 1, 2 and 3).

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

pub(super) const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// Longest header that is read: NumPy's own limit is 10,000 bytes.
const HEADER_MAX: usize = 10_000;

/// Most axes of an array.
const AXES_MAX: usize = 32;

/// Why a file is not an array that can be used.
#[derive(Debug, thiserror::Error)]
pub enum NpyError {
    /// The file cannot be opened or read.
    #[error("{}: {reason}; expected a readable .npy file", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// The bytes are not what the format asks for.
    #[error("{place}: found {found}, expected {expected}")]
    Format {
        /// Which part of the file.
        place: &'static str,
        /// What is there.
        found: String,
        /// What should be there.
        expected: &'static str,
    },
}

impl NpyError {
    /// The same with the file's path where the reader did not know it.
    pub(super) fn at(self, path: &Path) -> Self {
        match self {
            Self::Io { reason, .. } => Self::Io { path: path.to_path_buf(), reason },
            other => other,
        }
    }
}

pub(super) fn format_error(
    place: &'static str,
    found: impl Into<String>,
    expected: &'static str,
) -> NpyError {
    NpyError::Format { place, found: found.into(), expected }
}

/// Values of an array in C order.
#[derive(Debug, Clone, PartialEq)]
enum Values {
    Real(Vec<f64>),
    Complex(Vec<(f64, f64)>),
}

/// An array read from a file: C order, widened to f64.
#[derive(Debug, Clone, PartialEq)]
pub struct NpyArray {
    shape: Vec<usize>,
    values: Values,
}

impl NpyArray {
    /// Extents, slowest axis first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Elements.
    pub fn len(&self) -> usize {
        match &self.values {
            Values::Real(values) => values.len(),
            Values::Complex(values) => values.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the elements are complex.
    pub fn is_complex(&self) -> bool {
        matches!(self.values, Values::Complex(_))
    }

    /// Element `index` in C order as (re, im).
    pub fn at(&self, index: usize) -> (f64, f64) {
        match &self.values {
            Values::Real(values) => (values[index], 0.0),
            Values::Complex(values) => values[index],
        }
    }
}

/// Reads an array of f4, f8, c8 or c16, either byte order, C or Fortran order.
///
/// # Errors
/// [`NpyError`] for an unreadable file or anything the format does not allow.
pub fn read(path: &Path) -> Result<NpyArray, NpyError> {
    let (file, length) = open(path)?;
    read_from(&mut BufReader::new(file), length).map_err(|error| error.at(path))
}

/// Shape of an array, from its header alone.
///
/// # Errors
/// As [`read`].
pub fn shape_of(path: &Path) -> Result<Vec<usize>, NpyError> {
    let (file, _) = open(path)?;
    Ok(header(&mut BufReader::new(file)).map_err(|error| error.at(path))?.0.shape)
}

/// Opens a regular file: opening a pipe would wait for its writer, and a device has no length.
pub(super) fn open(path: &Path) -> Result<(File, u64), NpyError> {
    let io_error = |reason| NpyError::Io { path: path.to_path_buf(), reason };
    let about = std::fs::metadata(path).map_err(io_error)?;
    if !about.is_file() {
        let what = if about.is_dir() { "it is a folder" } else { "it is no regular file" };
        return Err(io_error(io::Error::new(io::ErrorKind::InvalidInput, what)));
    }
    Ok((File::open(path).map_err(io_error)?, about.len()))
}

/// Reads an array from `length` bytes of `source`.
///
/// # Errors
/// As [`read`].
pub fn read_from(source: &mut impl Read, length: u64) -> Result<NpyArray, NpyError> {
    let (header, header_bytes) = header(source)?;
    let element = Element::parse(header.plain_descr()?)?;
    let count = payload(&header.shape, element.bytes(), length.saturating_sub(header_bytes))?;
    let values = element.decode(source, count)?;
    let values = if header.fortran_order { values.transposed(&header.shape)? } else { values };
    Ok(NpyArray { shape: header.shape, values })
}

/// Elements of a shape, if they take exactly the `available` bytes.
pub(super) fn payload(shape: &[usize], element_bytes: usize, available: u64) -> Result<usize, NpyError> {
    let count = shape.iter().try_fold(1usize, |count, &extent| count.checked_mul(extent));
    let bytes = count.and_then(|count| count.checked_mul(element_bytes));
    match count.filter(|_| bytes.is_some_and(|bytes| bytes as u64 == available)) {
        Some(count) => Ok(count),
        None => {
            let found = format!("{available} bytes of data for shape {shape:?}");
            Err(format_error("the data", found, "as many bytes as shape and type say"))
        }
    }
}

/// An empty list with room for `count` elements, or a refusal where memory does not suffice.
pub(super) fn room<T>(count: usize) -> Result<Vec<T>, NpyError> {
    let mut values = Vec::new();
    match values.try_reserve_exact(count) {
        Ok(()) => Ok(values),
        Err(_) => {
            Err(format_error("the data", format!("{count} elements"), "an array that fits into memory"))
        }
    }
}

/// What stands before the data.
pub(super) struct Header {
    /// The value of `descr` as it is written, from its first character to the end of the header.
    pub(super) descr: String,
    pub(super) fortran_order: bool,
    pub(super) shape: Vec<usize>,
}

impl Header {
    fn plain_descr(&self) -> Result<&str, NpyError> {
        let inside = self.descr.strip_prefix('\'').and_then(|rest| rest.split_once('\''));
        inside.map(|(descr, _)| descr).ok_or_else(|| {
            let found = format!("{:.60}", self.descr);
            format_error("the header's descr", found, "a plain type such as '<c8', no record")
        })
    }
}

/// The header and the number of bytes it takes.
pub(super) fn header(source: &mut impl Read) -> Result<(Header, u64), NpyError> {
    let mut take = |n: usize, what: &'static str| {
        let mut bytes = vec![0; n];
        match source.read_exact(&mut bytes) {
            Ok(()) => Ok(bytes),
            Err(reason) if reason.kind() == io::ErrorKind::UnexpectedEof => {
                Err(format_error(what, "the end of the file", "a whole .npy header"))
            }
            Err(reason) => Err(NpyError::Io { path: PathBuf::new(), reason }),
        }
    };
    let start = take(8, "the first eight bytes")?;
    if &start[..6] != MAGIC {
        return Err(format_error("the magic", format!("{:02x?}", &start[..6]), "\\x93NUMPY"));
    }
    let size_bytes = match start[6] {
        1 => 2,
        2 | 3 => 4,
        version => return Err(format_error("the version", format!("{version}.{}", start[7]), "1, 2 or 3")),
    };
    let size = take(size_bytes, "the header's length")?;
    let size = size.iter().rev().fold(0usize, |size, &byte| size << 8 | usize::from(byte));
    if size > HEADER_MAX {
        return Err(format_error("the header's length", format!("{size} bytes"), "at most 10000 bytes"));
    }
    let text = take(size, "the header")?;
    let text = String::from_utf8(text)
        .map_err(|_| format_error("the header", "bytes that are no UTF-8", "a Python dictionary"))?;
    Ok((parse_header(&text)?, (8 + size_bytes + size) as u64))
}

/// Parses `{'descr': '<c8', 'fortran_order': False, 'shape': (3, 4), }`.
fn parse_header(text: &str) -> Result<Header, NpyError> {
    let whole =
        || format_error("the header", format!("{:.200}", text.trim()), "descr, fortran_order and shape");
    let behind = |key: &str| -> Result<&str, NpyError> {
        let at = text.find(&format!("'{key}'")).ok_or_else(whole)?;
        let rest = text[at + key.len() + 2..].trim_start();
        Ok(rest.strip_prefix(':').ok_or_else(whole)?.trim_start())
    };
    let descr = behind("descr")?.to_string();
    let fortran_order = match behind("fortran_order")? {
        rest if rest.starts_with("True") => true,
        rest if rest.starts_with("False") => false,
        rest => return Err(format_error("fortran_order", format!("{rest:.20}"), "True or False")),
    };
    let shape = behind("shape")?;
    let inside = shape.strip_prefix('(').and_then(|rest| rest.split_once(')')).ok_or_else(whole)?.0;
    let parts = inside.split(',').map(str::trim).filter(|part| !part.is_empty());
    let extent = |part: &str| {
        part.parse::<usize>().map_err(|_| format_error("the shape", format!("{part:.20}"), "extents"))
    };
    let shape: Vec<usize> = parts.map(extent).collect::<Result<_, _>>()?;
    if shape.len() > AXES_MAX {
        return Err(format_error("the shape", format!("{} axes", shape.len()), "at most 32 axes"));
    }
    Ok(Header { descr, fortran_order, shape })
}

#[derive(Clone, Copy)]
struct Element {
    is_big_endian: bool,
    is_complex: bool,
    scalar_bytes: usize,
}

impl Element {
    fn parse(descr: &str) -> Result<Self, NpyError> {
        let wrong = || format_error("the type", format!("{descr:.40}"), "f4, f8, c8 or c16 with < or >");
        let (order, kind) = descr.split_at_checked(1).ok_or_else(wrong)?;
        let is_big_endian = match order {
            "<" => false,
            ">" => true,
            "=" => cfg!(target_endian = "big"),
            _ => return Err(wrong()),
        };
        let (is_complex, scalar_bytes) = match kind {
            "f4" => (false, 4),
            "f8" => (false, 8),
            "c8" => (true, 4),
            "c16" => (true, 8),
            _ => return Err(wrong()),
        };
        Ok(Self { is_big_endian, is_complex, scalar_bytes })
    }

    fn bytes(self) -> usize {
        self.scalar_bytes * if self.is_complex { 2 } else { 1 }
    }

    /// Reads `count` elements chunk by chunk, so that the raw bytes are never held beside the values.
    fn decode(self, source: &mut impl Read, count: usize) -> Result<Values, NpyError> {
        let n = self.scalar_bytes;
        let scalar = |bytes: &[u8]| -> f64 {
            let mut le = [0; 8];
            le[..n].copy_from_slice(&bytes[..n]);
            if self.is_big_endian {
                le[..n].reverse();
            }
            match n {
                4 => f64::from(f32::from_le_bytes([le[0], le[1], le[2], le[3]])),
                _ => f64::from_le_bytes(le),
            }
        };
        if self.is_complex {
            let mut values = room(count)?;
            for_each_element(source, 2 * n, count, |z| values.push((scalar(z), scalar(&z[n..]))))?;
            Ok(Values::Complex(values))
        } else {
            let mut values = room(count)?;
            for_each_element(source, n, count, |x| values.push(scalar(x)))?;
            Ok(Values::Real(values))
        }
    }
}

/// Calls `take` with the bytes of each of `count` elements.
pub(super) fn for_each_element(
    source: &mut impl Read,
    element_bytes: usize,
    count: usize,
    mut take: impl FnMut(&[u8]),
) -> Result<(), NpyError> {
    const CHUNK: usize = 4096;
    let mut data = vec![0; element_bytes * CHUNK.min(count)];
    let mut left = count;
    while left > 0 {
        let chunk = &mut data[..element_bytes * left.min(CHUNK)];
        source.read_exact(chunk).map_err(|reason| NpyError::Io { path: PathBuf::new(), reason })?;
        chunk.chunks_exact(element_bytes).for_each(&mut take);
        left -= left.min(CHUNK);
    }
    Ok(())
}

impl Values {
    /// From Fortran to C order.
    fn transposed(self, shape: &[usize]) -> Result<Self, NpyError> {
        fn reorder<T: Copy>(values: &[T], shape: &[usize]) -> Result<Vec<T>, NpyError> {
            let mut strides = Vec::with_capacity(shape.len());
            let mut stride = 1;
            for &extent in shape {
                strides.push(stride);
                stride *= extent;
            }
            let mut position = vec![0; shape.len()];
            let mut out = room(values.len())?;
            for _ in 0..values.len() {
                out.push(values[position.iter().zip(&strides).map(|(i, stride)| i * stride).sum::<usize>()]);
                for (i, &extent) in position.iter_mut().zip(shape).rev() {
                    *i += 1;
                    if *i < extent {
                        break;
                    }
                    *i = 0;
                }
            }
            Ok(out)
        }
        Ok(match self {
            Self::Real(values) => Self::Real(reorder(&values, shape)?),
            Self::Complex(values) => Self::Complex(reorder(&values, shape)?),
        })
    }
}

#[cfg(test)]
#[path = "npy_tests.rs"]
mod tests;
