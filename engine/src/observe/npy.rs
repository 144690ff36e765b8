//! NumPy's `.npy` files: reader and writer for real and complex floats, and for records of f64 columns.
//!
//! Invariant: nothing in a file makes the reader panic or allocate more than the bytes that are really there; every
//! refusal names what was found and what was expected. Format: NumPy enhancement proposal 1 (versions 1, 2 and 3).

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 6] = b"\x93NUMPY";

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

fn format_error(place: &'static str, found: impl Into<String>, expected: &'static str) -> NpyError {
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
    let io_error = |reason| NpyError::Io { path: path.to_path_buf(), reason };
    let file = File::open(path).map_err(io_error)?;
    let length = file.metadata().map_err(io_error)?.len();
    read_from(&mut BufReader::new(file), length).map_err(|error| match error {
        NpyError::Io { reason, .. } => io_error(reason),
        other => other,
    })
}

/// Reads an array from `length` bytes of `source`.
///
/// # Errors
/// As [`read`].
pub fn read_from(source: &mut impl Read, length: u64) -> Result<NpyArray, NpyError> {
    let (header, header_bytes) = header(source)?;
    let element = Element::parse(&header.descr)?;
    let count = header.shape.iter().try_fold(1usize, |count, &extent| count.checked_mul(extent));
    let bytes = count.and_then(|count| count.checked_mul(element.bytes()));
    let available = length.saturating_sub(header_bytes);
    if bytes.is_none_or(|bytes| bytes as u64 != available) {
        let found = format!("{available} bytes of data for shape {:?}", header.shape);
        return Err(format_error("the data", found, "as many bytes as shape and type say"));
    }
    let mut data = vec![0; bytes.unwrap_or(0)];
    source.read_exact(&mut data).map_err(|reason| NpyError::Io { path: PathBuf::new(), reason })?;
    let values = element.decode(&data);
    let values = if header.fortran_order { values.transposed(&header.shape) } else { values };
    Ok(NpyArray { shape: header.shape, values })
}

struct Header {
    descr: String,
    fortran_order: bool,
    shape: Vec<usize>,
}

fn header(source: &mut impl Read) -> Result<(Header, u64), NpyError> {
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
    let whole = || format_error("the header", format!("{:.200}", text.trim()), "descr, fortran_order and shape");
    let behind = |key: &str| -> Result<&str, NpyError> {
        let at = text.find(&format!("'{key}'")).ok_or_else(whole)?;
        let rest = text[at + key.len() + 2..].trim_start();
        Ok(rest.strip_prefix(':').ok_or_else(whole)?.trim_start())
    };
    let descr = behind("descr")?;
    let descr = match descr.strip_prefix('\'').and_then(|rest| rest.split_once('\'')) {
        Some((descr, _)) => descr.to_string(),
        None => {
            let found = format!("{descr:.60}");
            return Err(format_error("the header's descr", found, "a plain type such as '<c8', no record"));
        }
    };
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

    fn decode(self, data: &[u8]) -> Values {
        let scalar = |bytes: &[u8]| -> f64 {
            let mut le = [0; 8];
            le[..bytes.len()].copy_from_slice(bytes);
            if self.is_big_endian {
                le[..bytes.len()].reverse();
            }
            match self.scalar_bytes {
                4 => f64::from(f32::from_le_bytes([le[0], le[1], le[2], le[3]])),
                _ => f64::from_le_bytes(le),
            }
        };
        let n = self.scalar_bytes;
        if self.is_complex {
            Values::Complex(data.chunks_exact(2 * n).map(|z| (scalar(&z[..n]), scalar(&z[n..]))).collect())
        } else {
            Values::Real(data.chunks_exact(n).map(scalar).collect())
        }
    }
}

impl Values {
    /// From Fortran to C order.
    fn transposed(self, shape: &[usize]) -> Self {
        fn reorder<T: Copy>(values: &[T], shape: &[usize]) -> Vec<T> {
            let mut strides = Vec::with_capacity(shape.len());
            let mut stride = 1;
            for &extent in shape {
                strides.push(stride);
                stride *= extent;
            }
            let mut position = vec![0; shape.len()];
            let mut out = Vec::with_capacity(values.len());
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
            out
        }
        match self {
            Self::Real(values) => Self::Real(reorder(&values, shape)),
            Self::Complex(values) => Self::Complex(reorder(&values, shape)),
        }
    }
}

/// Types the writer knows, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// float32
    F4,
    /// float64
    F8,
    /// complex64
    C8,
    /// complex128
    C16,
}

impl Dtype {
    fn descr(self) -> &'static str {
        match self {
            Self::F4 => "'<f4'",
            Self::F8 => "'<f8'",
            Self::C8 => "'<c8'",
            Self::C16 => "'<c16'",
        }
    }
}

/// Writes the header of a C-order array; the elements follow as little-endian bytes.
///
/// # Errors
/// What the sink says.
pub fn write_header(sink: &mut impl Write, dtype: Dtype, shape: &[usize]) -> io::Result<()> {
    header_with(sink, dtype.descr(), shape)
}

/// Writes the header of a one-dimensional array of records with f64 fields: `pandas.DataFrame(np.load(file))`.
///
/// # Errors
/// What the sink says.
pub fn write_record_header(sink: &mut impl Write, fields: &[String], rows: usize) -> io::Result<()> {
    let escaped = |name: &String| name.replace('\\', "\\\\").replace('\'', "\\'");
    let fields: Vec<String> = fields.iter().map(|name| format!("('{}', '<f8')", escaped(name))).collect();
    header_with(sink, &format!("[{}]", fields.join(", ")), &[rows])
}

fn header_with(sink: &mut impl Write, descr: &str, shape: &[usize]) -> io::Result<()> {
    let extents: Vec<String> = shape.iter().map(|extent| format!("{extent},")).collect();
    let mut text =
        format!("{{'descr': {descr}, 'fortran_order': False, 'shape': ({}), }}", extents.join(" "));
    // Version 2 where the header outgrows 16 bits; UTF-8 names need version 3.
    let version: u8 = match (text.is_ascii(), text.len() < 60_000) {
        (false, _) => 3,
        (true, true) => 1,
        (true, false) => 2,
    };
    let before = 8 + if version == 1 { 2 } else { 4 };
    let padding = (before + text.len() + 1).next_multiple_of(64) - (before + text.len() + 1);
    text.extend(std::iter::repeat_n(' ', padding));
    text.push('\n');
    sink.write_all(MAGIC)?;
    sink.write_all(&[version, 0])?;
    if version == 1 {
        sink.write_all(&(text.len() as u16).to_le_bytes())?;
    } else {
        sink.write_all(&(text.len() as u32).to_le_bytes())?;
    }
    sink.write_all(text.as_bytes())
}

#[cfg(test)]
#[path = "npy_tests.rs"]
mod tests;
