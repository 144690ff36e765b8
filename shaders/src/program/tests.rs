//! Every program is valid WGSL, and host structures have the layout that naga finds.

use super::*;
use crate::layout;
use wgpu::naga;

fn parsed(text: &str) -> naga::Module {
    let module =
        naga::front::wgsl::parse_str(text).unwrap_or_else(|error| panic!("{}", error.emit_to_string(text)));
    let (flags, capabilities) = (naga::valid::ValidationFlags::all(), naga::valid::Capabilities::all());
    let mut validator = naga::valid::Validator::new(flags, capabilities);
    validator.validate(&module).unwrap_or_else(|error| panic!("{}", error.emit_to_string(text)));
    module
}

#[test]
fn every_program_is_valid_as_written_and_as_prepared() {
    for program in PROGRAMS {
        let module = parsed(&program.plain_text());
        assert!(module.entry_points.iter().any(|entry| entry.name == program.entry), "{}", program.name);
        parsed(&program.text());
    }
}

/// Offsets of the members of a structure, and its size.
fn reflected(program: &Program, name: &str) -> (Vec<(String, u32)>, u32) {
    let module = parsed(&program.plain_text());
    let found = module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some(name));
    let (_, ty) = found.unwrap_or_else(|| panic!("{} has no structure {name}", program.name));
    let naga::TypeInner::Struct { members, span } = &ty.inner else { panic!("{name} is no structure") };
    (members.iter().map(|m| (m.name.clone().unwrap_or_default(), m.offset)).collect(), *span)
}

/// Compares a host structure with its namesake: names, offsets, size.
macro_rules! same_layout {
    ($program:expr, $name:ident { $($field:ident),* }) => {
        let (members, size) = reflected(&$program, stringify!($name));
        let host = vec![$((stringify!($field).to_owned(), std::mem::offset_of!(layout::$name, $field) as u32)),*];
        assert_eq!(members, host, stringify!($name));
        assert_eq!(size as usize, size_of::<layout::$name>(), "size of {}", stringify!($name));
    };
}

#[test]
fn host_structures_have_the_layout_of_their_twins() {
    same_layout!(SWEEP, Flow { c0, c1, c2, h, mu_h, gain, scale, potential, damping });
    same_layout!(SWEEP, Sweep { flows, n_flows, first_stage, n_stages, base_before, base_after });
    same_layout!(SWEEP, Stage { radix, step, before, after, table_before, table_after, table_step, flags });
    same_layout!(DIRECT, Direct { n_nodes, extent, stride, table });
    same_layout!(REDUCE, Reduce { n_nodes, zero });
    same_layout!(SOURCE, Kick { phasor, first, count });
    same_layout!(COPY, Copied { count });
    same_layout!(LOCAL, Local { flows, n_flows, n_nodes });
    same_layout!(
        RING3,
        Lines {
            kind,
            rows,
            side,
            stride,
            column_lines,
            n_lines,
            first_slot,
            first_entry,
            entry_lines,
            lanes,
            lanes_first
        }
    );
    same_layout!(TERM, Term { factor, is_later, n_nodes });
    same_layout!(STRUCTURE, Turn { first_cell, length, distance, n_cells });
    same_layout!(STRUCTURE, LatticeAxis { nodes, page });
    same_layout!(MEASURE, Measuring { side, stride, column_lines, first_item, n_items });
    same_layout!(WAVE_FORM, Push { h, strength });
    same_layout!(WAVE_FORM, Pass { pushes, n_pushes, first_stage, n_stages, half_alpha, increment });
    same_layout!(WAVE_FORM, WaveStage { radix, step, code, table, flags });
    same_layout!(LEAP, Leap { kick, strength, drift, is_drifting, gain, h, loss, n_nodes });
    same_layout!(WEIGH, Weigh { n_nodes, first_weight });
    same_layout!(
        TOTALS,
        Look { count, zero, n_chunks, first, slot, wanted, n_axes, potential, kinetic, beta }
    );
    same_layout!(COLLECT, Collect { first, count });
    same_layout!(TRANSFORM, Transform { n_nodes, extent, stride, table, sign });
}

#[test]
fn immediates_fit_what_every_adapter_has() {
    assert!(size_of::<layout::Sweep>() <= crate::device::IMMEDIATE_BYTES as usize);
}

#[test]
fn marked_loops_are_written_out_and_others_stay() {
    let text = "a\n  for (var k = 1u; k < 3u; k++) { // unroll\n x[k] = kk.k;\n }\n for (var i = 0u; i < n; i++) { y }";
    let out = unrolled(text);
    assert!(out.contains("x[1u] = kk.k;") && out.contains("x[2u] = kk.k;"), "{out}");
    assert!(!out.contains("unroll") && out.contains("i < n"));
}

#[test]
fn loops_inside_loops_are_written_out() {
    let text = "for (var o = 0u; o < 2u; o++) { // unroll\nfor (var i = 0u; i < 2u; i++) { // unroll\nx[2u * o + i]\n}\n}\n";
    let out = unrolled(text);
    for index in ["2u * 0u + 0u", "2u * 0u + 1u", "2u * 1u + 0u", "2u * 1u + 1u"] {
        assert!(out.contains(index), "{out}");
    }
}
