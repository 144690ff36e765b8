//! `nikola export`: the last snapshot of a `.nik` file or state directory in another format.
//! Invariant: the source is not changed; nothing damaged is exported.

use super::Failure;
use super::info::StoredArguments;
use crate::exit;
use crate::observe::snapshot::write_field;
use crate::persist::capture::About;
use crate::persist::compact::rewrite;
use crate::persist::disk::RealDisk;
use crate::persist::page::PageKey;
use crate::persist::reader::{Buffers, Log};
use crate::persist::writer::Encoding;
use crate::persist::{Fault, PersistError, Result as Persisted};
use clap::{Args, ValueEnum};
use nikola_systems::components::setup::Precision;
use nikola_systems::components::torus::{PageRule, Torus};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Column ids of Ψ.
const PSI: [u8; 2] = [1, 2];

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Format {
    /// Ψ as a NumPy array in canonical order.
    Npy,
    /// A .nik file whose columns are balanced nonary digits (lossy).
    Nonary,
    /// A .nik file with this snapshot alone, bit for bit.
    Nik,
}

#[derive(Args, Debug)]
pub(super) struct ExportArguments {
    #[command(flatten)]
    pub(super) stored: StoredArguments,
    /// Format of the result.
    #[arg(long, value_enum)]
    pub(super) format: Format,
    /// Where to write it.
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,
}

pub(super) fn execute(arguments: &ExportArguments) -> Result<(), Failure> {
    let log = arguments.stored.open()?;
    let key = arguments.stored.request().key()?;
    match arguments.format {
        Format::Npy => write_npy(&log, arguments)?,
        Format::Nonary => drop(rewrite(&RealDisk, &log, &arguments.out, key, Encoding::Nonary)?),
        Format::Nik => drop(rewrite(&RealDisk, &log, &arguments.out, key, Encoding::Lossless)?),
    }
    let bytes = std::fs::metadata(&arguments.out).map_or(0, |about| about.len());
    arguments.stored.print(&json!({
        "file": arguments.out.display().to_string(),
        "tick": log.last().tick,
        "bytes": bytes,
    }))
}

fn write_npy(log: &Log, arguments: &ExportArguments) -> Result<(), Failure> {
    let mut buffers = Buffers::default();
    let about = About::read(log, &mut buffers)?;
    let torus = torus(log, &about)?;
    let mut peano = vec![None; torus.n_pages()];
    for (index, first) in &about.pages {
        if first.iter().zip(torus.extents()).all(|(at, extent)| at < extent) {
            peano[torus.locate(*first).0] = Some(*index);
        }
    }
    // Everything is checked before the first byte is written.
    log.read_all(|key| about.shape(key), |_, _, _| {})?;
    let width = log.header.precision.bytes();
    let mut bytes = vec![0; log.column_bytes(width)];
    let mut failed = None;
    let read = |page: usize, re: &mut [f64], im: &mut [f64]| {
        // A page that a sparse state doesn't hold is vacuum.
        let Some(page_id) = peano[page] else { return };
        for (column, out) in PSI.into_iter().zip([re, im]) {
            match log.read_into(PageKey { page_id, column }, width, &mut buffers, &mut bytes) {
                Ok(_) => widen(&bytes, log.header.precision, out),
                Err(error) => failed = Some(error),
            }
        }
    };
    write_field(&torus, log.header.precision, read, &arguments.out)
        .map_err(|error| Failure::new(&error, exit::OUTPUT))?;
    failed.map_or(Ok(()), |error| Err(error.into()))
}

fn widen(bytes: &[u8], precision: Precision, out: &mut [f64]) {
    for (slot, number) in out.iter_mut().zip(bytes.chunks_exact(precision.bytes())) {
        *slot = match *number {
            [a, b, c, d] => f64::from(f32::from_le_bytes([a, b, c, d])),
            _ => number.try_into().map_or(f64::NAN, f64::from_le_bytes),
        };
    }
}

fn torus(log: &Log, about: &About) -> Persisted<Torus> {
    let wrong = |found: String| {
        let expected = "extents, lengths and page_shape of a torus";
        PersistError::new(Fault::Damaged, log.path(), "the description", found, expected, "restore a copy")
    };
    let list = |name: &str| -> Persisted<[f64; 9]> {
        let items = about.value[name].as_array().map(Vec::as_slice).unwrap_or_default();
        let numbers: Vec<f64> = items.iter().filter_map(Value::as_f64).collect();
        numbers.try_into().map_err(|_| wrong(format!("{name} {}", about.value[name])))
    };
    let whole = |numbers: [f64; 9]| numbers.map(|number| number as usize);
    let rule = PageRule::Shape(whole(list("page_shape")?));
    let torus = Torus::new(whole(list("extents")?), list("lengths")?, rule)
        .map_err(|error| wrong(error.to_string()))?;
    let page_nodes = log.header.page_nodes as usize;
    if torus.page_nodes() == page_nodes {
        Ok(torus)
    } else {
        Err(wrong(format!("pages of {page_nodes} nodes")))
    }
}
