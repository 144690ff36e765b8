//! What a checkpoint holds: every column of every page, the scalars, and a description that makes the file readable
//! without the scene.
//!
//! Invariant: taken at a tick border; copies only columns that a system could have written to since the mark given, so
//! that the tick goes on while the copy is stored.

use super::checkpoints::{self, Held, Slots, Stored, hold};
use super::merkle::Hash;
use super::page::{ABOUT, NO_PAGE, PageKey, SCALARS};
use super::reader::{Buffers, Log};
use super::writer::Content;
use super::{Fault, PersistError, Result};
use super::{scanned, tally};
use nikola_systems::Simulation;
use nikola_systems::components::geometry::axis::Axis;
use nikola_systems::components::oracle::OracleTally;
use nikola_systems::components::scan::ScanOutput;
use nikola_systems::components::torus::Torus;
use nikola_systems::components::wave::Page;
use nikola_systems::state::Mark;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Version of the description of a state without an oracle.
const ABOUT_VERSION: u64 = 1;

/// Version of a state with an oracle: its checkpoints, where there are some, and its tally.
const ABOUT_VERSION_ORACLE: u64 = 3;

/// All that are read. Version 2 has the checkpoints without the tally, version 1 of a state with an oracle neither.
const ABOUT_VERSIONS: [u64; 3] = [ABOUT_VERSION, 2, ABOUT_VERSION_ORACLE];

/// Most numbers of a column in a page; a payload has less than 4 GiB.
const NUMBERS_MAX: u64 = 1 << 29;

/// The copy of a state at a tick border.
#[derive(Debug)]
pub struct Capture {
    /// Ticks done.
    pub tick: u64,
    /// What may have changed.
    pub contents: Vec<Content>,
    /// Payloads that cannot have changed.
    pub untouched: Vec<PageKey>,
    /// For the next capture.
    pub mark: Mark,
    checkpoints: Vec<Held>,
}

impl Capture {
    /// Adds the oracle's checkpoints that `stored` does not name; on the thread that writes, because it takes as long as
    /// copying them.
    pub fn complete(&mut self, stored: &mut Slots) {
        for held in std::mem::take(&mut self.checkpoints) {
            held.put(stored, &mut self.contents, &mut self.untouched);
        }
    }
}

/// Copies the state; [`Capture::complete`] does the rest. `buffers` are reused for the copies.
pub fn capture(simulation: &mut Simulation, since: Option<Mark>, buffers: &mut Vec<Vec<u8>>) -> Capture {
    let mut contents = Vec::new();
    let mut untouched = Vec::new();
    let mut numbers = BTreeMap::new();
    let mark = simulation.save_columns(since, &mut |column| {
        let key = PageKey { page_id: column.page.peano, column: column.kind.id };
        numbers.insert(key.column, column.bytes.len() / column.kind.scalar_bytes.max(1));
        if !column.is_touched {
            untouched.push(key);
            return;
        }
        let mut bytes = buffers.pop().unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(column.bytes);
        contents.push(Content { key, width: column.kind.scalar_bytes, bytes });
    });
    let own = |column, bytes| Content { key: PageKey { page_id: NO_PAGE, column }, width: 0, bytes };
    contents.push(own(SCALARS, simulation.save_scalars()));
    contents.push(own(ABOUT, about(simulation, &numbers).to_string().into_bytes()));
    Capture { tick: simulation.tick_count(), contents, untouched, mark, checkpoints: hold(simulation) }
}

/// BLAKE3 over the whole state: scalars, then every column in storage order.
pub fn state_hash(simulation: &mut Simulation) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&simulation.save_scalars());
    simulation.save_columns(None, &mut |column| {
        hasher.update(&column.page.peano.to_le_bytes()).update(&[column.kind.id]).update(column.bytes);
    });
    *hasher.finalize().as_bytes()
}

/// Bytes of the columns that a system could have written to since `since`.
pub fn touched_bytes(simulation: &mut Simulation, since: Option<Mark>) -> u64 {
    let mut bytes = 0;
    simulation.save_columns(since, &mut |column| {
        bytes += if column.is_touched { column.bytes.len() as u64 } else { 0 };
    });
    bytes
}

/// What a reader needs to know besides the numbers; see docs/FORMATS.md. `numbers` says how many a column has in a page.
fn about(simulation: &Simulation, numbers: &BTreeMap<u8, usize>) -> Value {
    let torus = simulation.torus();
    let mut columns = Vec::new();
    for kind in simulation.column_kinds() {
        let mut column = json!({"id": kind.id, "name": kind.name, "bytes": kind.scalar_bytes});
        if let Some(&other) = numbers.get(&kind.id).filter(|numbers| **numbers != torus.page_nodes()) {
            column["numbers"] = other.into();
        }
        columns.push(column);
    }
    let pages: Vec<Value> = simulation.pages().iter().map(|page| page_row(torus, page)).collect();
    let has_oracle = simulation.oracle().is_some();
    let mut about = json!({
        "about": if has_oracle { ABOUT_VERSION_ORACLE } else { ABOUT_VERSION },
        "axes": Axis::ALL.map(Axis::name),
        "extents": torus.extents(),
        "lengths": torus.lengths(),
        "page_shape": torus.page_shape(),
        "storage_order": torus.storage().iter().map(|axis| axis.name()).collect::<Vec<_>>(),
        "columns": columns,
        "pages": pages,
    });
    checkpoints::describe(simulation, &mut about);
    tally::describe(simulation, &mut about);
    scanned::describe(simulation, &mut about);
    about
}

/// Peano index and first node of a page.
pub(super) fn page_row(torus: &Torus, page: &Page) -> Value {
    let mut row = vec![page.peano];
    row.extend(torus.node(page.index as usize, 0).map(|coordinate| coordinate as u64));
    json!(row)
}

/// A whole number of the description.
pub(super) fn number(value: &Value) -> std::result::Result<u64, String> {
    value.as_u64().ok_or_else(|| format!("{value}"))
}

pub(super) fn list(value: &Value) -> std::result::Result<&[Value], String> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| "no list".into())
}

/// Peano index and first node of each page of a list.
fn page_rows(value: &Value) -> std::result::Result<Vec<(u64, [usize; 9])>, String> {
    let mut pages = Vec::new();
    for row in list(value)? {
        let row: Vec<u64> = list(row)?.iter().map(number).collect::<std::result::Result<_, _>>()?;
        let [peano, first @ ..] = &row[..] else { return Err("an empty row of pages".into()) };
        let first: [u64; 9] = first.try_into().map_err(|_| "a page without nine coordinates")?;
        pages.push((*peano, first.map(|coordinate| coordinate as usize)));
    }
    Ok(pages)
}

/// What the description says of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnShape {
    id: u8,
    /// Bytes of a number.
    pub width: usize,
    /// Numbers in a page, where they are not as many as its nodes.
    pub numbers: Option<usize>,
}

/// The description in a file, as far as restoring needs it.
#[derive(Debug, Clone)]
pub struct About {
    /// The whole object.
    pub value: Value,
    columns: Vec<ColumnShape>,
    /// Peano index and first node of each page, in storage order.
    pub pages: Vec<(u64, [usize; 9])>,
    /// The oracle's checkpoints.
    pub checkpoints: Vec<Stored>,
    /// What the oracle had counted; not in earlier versions.
    pub tally: Option<OracleTally>,
    /// What the last scan had given; not in earlier versions.
    pub scan: Option<ScanOutput>,
}

impl About {
    /// Reads the description of `log`.
    ///
    /// # Errors
    /// Damage, or another version of the description.
    pub fn read(log: &Log, buffers: &mut Buffers) -> Result<Self> {
        let key = PageKey { page_id: NO_PAGE, column: ABOUT };
        let (bytes, _) = log.read_raw(key, buffers)?;
        let expected = format!("version {ABOUT_VERSION} to {ABOUT_VERSION_ORACLE} of the description, whole");
        let wrong = |found: &str| PersistError::damaged(log.path(), key.to_string(), found, &expected);
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| wrong(&error.to_string()))?;
        if !value["about"].as_u64().is_some_and(|version| ABOUT_VERSIONS.contains(&version)) {
            return Err(wrong(&format!("version {}", value["about"])));
        }
        Self::parse(value).map_err(|found| wrong(&found))
    }

    fn parse(value: Value) -> std::result::Result<Self, String> {
        let mut columns = Vec::new();
        for column in list(&value["columns"])? {
            let (id, width) = (number(&column["id"])?, number(&column["bytes"])?);
            let numbers = column.get("numbers").map(number).transpose()?;
            if id > 0xFD || !matches!(width, 1 | 2 | 4 | 8) || numbers.is_some_and(|n| n > NUMBERS_MAX) {
                let numbers = numbers.map_or_else(String::new, |numbers| format!(", {numbers} a page"));
                return Err(format!("column {id} of numbers of {width} bytes{numbers}"));
            }
            let numbers = numbers.map(|numbers| numbers as usize);
            columns.push(ColumnShape { id: id as u8, width: width as usize, numbers });
        }
        let pages = page_rows(&value["pages"])?;
        let checkpoints = checkpoints::parse(&value, page_rows)?;
        let (tally, scan) = (tally::parse(&value)?, scanned::parse(&value)?);
        Ok(Self { columns, pages, checkpoints, tally, scan, value })
    }

    /// What it says of a column; a number of eight bytes on each node where it doesn't name it.
    pub fn shape(&self, key: PageKey) -> ColumnShape {
        let unnamed = ColumnShape { id: key.column, width: 8, numbers: None };
        self.columns.iter().find(|column| column.id == key.column).copied().unwrap_or(unnamed)
    }
}

/// Puts the last snapshot of `log` into a freshly built world and checks its Merkle root. Returns leaf and length of
/// every payload.
///
/// # Errors
/// Damage, or a state of another scene.
pub fn restore(log: &Log, simulation: &mut Simulation) -> Result<BTreeMap<PageKey, (Hash, u64)>> {
    let mut buffers = Buffers::default();
    let about = About::read(log, &mut buffers)?;
    let scene_fault = |found: String| {
        let remedy = "continue with the scene it came from, or begin a new directory";
        PersistError::new(
            Fault::Scene,
            log.path(),
            "the stored state",
            found,
            "a state of this scene",
            remedy,
        )
    };
    let pages = stored_pages(simulation, &about, &about.pages).map_err(scene_fault)?;
    let mut leaves = BTreeMap::new();
    let mut raw = |column, buffers: &mut Buffers| {
        let key = PageKey { page_id: NO_PAGE, column };
        let (bytes, leaf) = log.read_raw(key, buffers)?;
        leaves.insert(key, (leaf, bytes.len() as u64));
        Ok::<_, PersistError>(bytes)
    };
    raw(ABOUT, &mut buffers)?;
    let scalars = raw(SCALARS, &mut buffers)?;
    let mut damage = None;
    let loaded = simulation.load_state(&pages, &scalars, |page, kind, out| {
        let key = PageKey { page_id: page.peano, column: kind.id };
        match log.read_into(key, kind.scalar_bytes, &mut buffers, out) {
            Ok(leaf) => {
                leaves.insert(key, (leaf, out.len() as u64));
                Ok(())
            }
            Err(error) => {
                damage = Some(error);
                Err("damaged")
            }
        }
    });
    if let Some(damage) = damage {
        return Err(damage);
    }
    loaded.map_err(|error| scene_fault(error.to_string()))?;
    let own = checkpoints::read(log, &about, simulation, &mut buffers, &mut leaves)?;
    log.check_root(leaves.values().map(|(leaf, _)| *leaf))?;
    checkpoints::install(own, log, &about, simulation)?;
    simulation.recall_oracle(about.tally);
    if about.scan.is_some_and(|output| !simulation.recall_scan(output)) {
        return Err(scene_fault("the output of another scan".into()));
    }
    Ok(leaves)
}

/// The pages of a file as this torus knows them.
pub(super) fn stored_pages(
    simulation: &Simulation,
    about: &About,
    rows: &[(u64, [usize; 9])],
) -> std::result::Result<Vec<Page>, String> {
    let torus = simulation.torus();
    let shape = |name: &str| -> Vec<usize> {
        let list = about.value[name].as_array();
        list.map(|list| list.iter().filter_map(Value::as_u64).map(|n| n as usize).collect())
            .unwrap_or_default()
    };
    for (name, expected) in [("extents", *torus.extents()), ("page_shape", torus.page_shape())] {
        if shape(name) != expected {
            return Err(format!("{name} {:?}; this scene has {expected:?}", shape(name)));
        }
    }
    rows.iter()
        .map(|(peano, first)| {
            if first.iter().zip(torus.extents()).any(|(at, extent)| at >= extent) {
                return Err(format!("a page at {first:?}, beyond the torus"));
            }
            let page = nikola_systems::world::page(torus, torus.locate(*first).0);
            if page.peano == *peano { Ok(page) } else { Err(format!("page {peano} at {first:?}")) }
        })
        .collect()
}
