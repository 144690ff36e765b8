//! NumPy's `.npy` files: headers of real and complex arrays, and records of f64 columns written and read.
//!
//! Invariant: data begin at a multiple of 64 bytes, numbers are little-endian, arrays in C order. Format: NumPy
//! enhancement proposal 1, the lowest version that can express the header.

use super::npy::{MAGIC, NpyError, for_each_element, format_error, header, open, payload};
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

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

/// Columns of a record array: name and values.
pub type Columns = Vec<(String, Vec<f64>)>;

/// Reads a one-dimensional array of records with f64 fields, as [`write_record_header`] begins it.
///
/// # Errors
/// [`NpyError`] for an unreadable file or another type.
pub fn read_records(path: &Path) -> Result<Columns, NpyError> {
    let (file, length) = open(path)?;
    records_from(&mut BufReader::new(file), length).map_err(|error| error.at(path))
}

/// Reads records from `length` bytes of `source`.
///
/// # Errors
/// As [`read_records`].
pub fn records_from(source: &mut impl Read, length: u64) -> Result<Columns, NpyError> {
    let (header, header_bytes) = header(source)?;
    let names = fields(&header.descr)?;
    if header.shape.len() != 1 || header.fortran_order {
        return Err(format_error("the shape", format!("{:?}", header.shape), "one axis"));
    }
    let rows = payload(&header.shape, 8 * names.len(), length.saturating_sub(header_bytes))?;
    // The payload is as long as it says, so that the columns take no more memory than the file.
    let mut columns: Columns = names.into_iter().map(|name| (name, Vec::with_capacity(rows))).collect();
    let record_bytes = 8 * columns.len();
    for_each_element(source, record_bytes, rows, |record| {
        for ((_, values), bytes) in columns.iter_mut().zip(record.chunks_exact(8)) {
            values.push(f64::from_le_bytes(bytes.try_into().unwrap_or_default()));
        }
    })?;
    Ok(columns)
}

/// Names of `[('a', '<f8'), ('b', '<f8')]`.
fn fields(descr: &str) -> Result<Vec<String>, NpyError> {
    let wrong = || format_error("the header's descr", format!("{descr:.60}"), "records of '<f8' fields");
    let mut rest = descr.strip_prefix('[').ok_or_else(wrong)?;
    let mut names = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', ',']);
        if rest.starts_with(']') && !names.is_empty() {
            return Ok(names);
        }
        rest = rest.strip_prefix("('").ok_or_else(wrong)?;
        let mut name = String::new();
        let mut letters = rest.char_indices();
        loop {
            match letters.next().ok_or_else(wrong)?.1 {
                '\'' => break,
                '\\' => name.push(letters.next().ok_or_else(wrong)?.1),
                letter => name.push(letter),
            }
        }
        rest = letters.as_str().strip_prefix(", '<f8')").ok_or_else(wrong)?;
        names.push(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nikola_components::noise;

    fn file(names: &[&str], rows: usize) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        let mut file = Vec::new();
        write_record_header(&mut file, &names, rows).expect("memory");
        (0..names.len() * rows).for_each(|i| file.extend((i as f64).to_le_bytes()));
        file
    }

    fn parse(file: &[u8]) -> Result<Columns, NpyError> {
        records_from(&mut &file[..], file.len() as u64)
    }

    #[test]
    fn records_are_read_back() {
        let columns = parse(&file(&["a", "it\'s \\ Ψ, <x>"], 3)).expect("valid");
        assert_eq!(columns[0], ("a".into(), vec![0., 2., 4.]));
        assert_eq!(columns[1], ("it\'s \\ Ψ, <x>".into(), vec![1., 3., 5.]));
    }

    #[test]
    fn mutated_records_never_panic() {
        let seed = file(&["tick", "norm"], 2);
        for round in 0..2_000 {
            let random = |i: u64| noise::uniform(12, 0, round, i);
            let mut file = seed.clone();
            for i in 0..1 + (random(0) * 4.0) as u64 {
                let at = (random(2 * i + 1) * 90.0) as usize;
                file[at] = (random(2 * i + 2) * 256.0) as u8;
            }
            if let Ok(columns) = parse(&file) {
                assert!(columns.iter().all(|(_, values)| values.len() == columns[0].1.len()));
            }
        }
    }
}
