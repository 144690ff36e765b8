//! Tests of the `.npy` reader and writer. Invariant: every malformed file is refused with a message, none panics.

use super::*;
use crate::observe::npy_write::{Dtype, write_header};
use nikola_components::noise;

fn bytes(header: &str, data: &[u8]) -> Vec<u8> {
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(data);
    file
}

fn parse(file: &[u8]) -> Result<NpyArray, NpyError> {
    read_from(&mut &file[..], file.len() as u64)
}

#[test]
fn what_is_written_is_read_back() {
    for (dtype, complex) in [(Dtype::F4, false), (Dtype::F8, false), (Dtype::C8, true), (Dtype::C16, true)] {
        let mut file = Vec::new();
        write_header(&mut file, dtype, &[2, 3]).expect("memory");
        assert_eq!(file.len() % 64, 0);
        for i in 0..if complex { 12 } else { 6 } {
            match dtype {
                Dtype::F4 | Dtype::C8 => file.extend((i as f32 + 0.5).to_le_bytes()),
                Dtype::F8 | Dtype::C16 => file.extend((f64::from(i) + 0.5).to_le_bytes()),
            }
        }
        let array = parse(&file).expect("valid");
        assert_eq!((array.shape(), array.len(), array.is_complex()), (&[2, 3][..], 6, complex));
        assert_eq!(array.at(5), if complex { (10.5, 11.5) } else { (5.5, 0.0) });
    }
}

#[test]
fn byte_order_and_fortran_order_are_undone() {
    let data: Vec<u8> = (0..6).flat_map(|i| (i as f32).to_be_bytes()).collect();
    let c =
        parse(&bytes("{'descr': '>f4', 'fortran_order': False, 'shape': (2, 3), }\n", &data)).expect("valid");
    assert_eq!((0..6).map(|i| c.at(i).0).collect::<Vec<_>>(), [0., 1., 2., 3., 4., 5.]);
    let f =
        parse(&bytes("{'descr': '>f4', 'fortran_order': True, 'shape': (2, 3), }\n", &data)).expect("valid");
    assert_eq!((0..6).map(|i| f.at(i).0).collect::<Vec<_>>(), [0., 2., 4., 1., 3., 5.]);
}

#[test]
fn broken_files_are_refused_with_a_reason() {
    let good = "{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }\n";
    let cases: [(Vec<u8>, &str); 12] = [
        (Vec::new(), "end of the file"),
        (b"PK\x03\x04aaaa".to_vec(), "magic"),
        (b"\x93NUMPY\x09\x00\x10\x00".to_vec(), "version"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec(), "at most 10000"),
        (bytes(good, &[0; 7]), "7 bytes"),
        (bytes(good, &[0; 9]), "9 bytes"),
        (bytes("{'descr': '<i4', 'fortran_order': False, 'shape': (1,), }", &[0; 4]), "f4, f8, c8 or c16"),
        (bytes("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (1,), }", &[0; 8]), "no record"),
        (bytes("{'descr': '<f8', 'fortran_order': 3, 'shape': (1,), }", &[0; 8]), "True or False"),
        (bytes("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }", &[0; 8]), "extents"),
        (
            bytes("{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999, 99999999999), }", &[]),
            "as many bytes as",
        ),
        (bytes("{'descr': '<f8', 'shape': (1,), }", &[0; 8]), "fortran_order"),
    ];
    for (file, expected) in cases {
        let error = parse(&file).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error:?} should contain {expected:?}");
    }
}

#[test]
fn mutated_files_never_panic() {
    let mut seed = Vec::new();
    write_header(&mut seed, Dtype::C8, &[3, 4]).expect("memory");
    seed.extend([0; 96]);
    let random = |round: u64, i: u64| noise::uniform(11, 0, round, i);
    for round in 0..4_000 {
        let mut file = seed.clone();
        for i in 0..1 + (random(round, 0) * 6.0) as u64 {
            let at = (random(round, 2 * i + 1) * file.len() as f64) as usize;
            file[at] = (random(round, 2 * i + 2) * 256.0) as u8;
        }
        file.truncate(seed.len() - (random(round, 99) * 40.0) as usize);
        if let Ok(array) = parse(&file) {
            assert_eq!(array.len(), array.shape().iter().product::<usize>());
        }
    }
}

#[test]
fn a_sparse_file_and_a_folder_are_refused_without_reading_them() {
    let path = std::env::temp_dir().join(format!("nikola-sparse-{}.npy", std::process::id()));
    let claim = 1usize << 60;
    let mut file = Vec::new();
    write_header(&mut file, Dtype::C16, &[claim / 16]).expect("memory");
    let error =
        read_from(&mut &file[..], file.len() as u64 + claim as u64).expect_err("too large").to_string();
    assert!(error.contains("fits into memory"), "{error}");
    std::fs::write(&path, &file[..20]).expect("writable");
    let error = read(&path).expect_err("cut off").to_string();
    assert!(error.contains("end of the file"), "{error}");
    std::fs::remove_file(&path).expect("removable");
    let error = read(&std::env::temp_dir()).expect_err("a folder").to_string();
    assert!(error.contains("folder"), "{error}");
}
