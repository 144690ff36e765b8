//! Values, errors and bounds of the expression language.

use super::*;
use crate::scene::limits::{EXPRESSION_CHARS_MAX, EXPRESSION_DEPTH_MAX};
use nikola_components::geometry::axis::Axis;
use std::collections::BTreeMap;

fn everything(text: &str) -> Result<Node, ExpressionError> {
    let constants = BTreeMap::from([("kappa".to_string(), 0.5), ("L_x".to_string(), 8.0)]);
    parse(text, Scope { constants: &constants, has_coordinates: true, has_time: true, has_field: true })
}

fn constant(text: &str) -> f64 {
    let node = everything(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    node.number().unwrap_or_else(|| panic!("{text} is not constant"))
}

/// Evaluates with x = 0.25, y = −2, t = 3, Ψ = 3 + 4i.
fn at_point(text: &str) -> f64 {
    let node = everything(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    let program = Program::new(&node);
    let mut columns = [[0.0]; Variable::SLOTS];
    for (variable, value) in [
        (Variable::Coordinate(Axis::X), 0.25),
        (Variable::Coordinate(Axis::Y), -2.0),
        (Variable::Coordinate(Axis::T), 7.0),
        (Variable::Time, 3.0),
        (Variable::Re, 3.0),
        (Variable::Im, 4.0),
        (Variable::Density, 25.0),
        (Variable::Modulus, 5.0),
        (Variable::Argument, 0.927_295_218_001_612_2),
    ] {
        columns[variable.slot()] = [value];
    }
    let inputs: Inputs<'_> = core::array::from_fn(|slot| columns[slot].as_slice());
    let mut out = [0.0];
    program.run(&inputs, &mut Vec::new(), &mut out);
    out[0]
}

#[test]
fn precedence_is_that_of_print() {
    for (text, expected) in [
        ("1 + 2*3", 7.0),
        ("2*3 + 1", 7.0),
        ("-2^2", -4.0),
        ("2^-1", 0.5),
        ("2^3^2", 512.0),
        ("(-2)^2", 4.0),
        ("8/4/2", 1.0),
        ("8 - 4 - 2", 2.0),
        ("-3 + 5", 2.0),
        ("2*-3", -6.0),
        ("1/2", 0.5),
        ("1 < 2", 1.0),
        ("1 + 1 == 2 && 3 > 2", 1.0),
        ("0 || 1 && 0", 0.0),
        ("2**3", 8.0),
        (".5 + 1.", 1.5),
        ("1e-3*1E+3", 1.0),
        ("2*e - 2*e", 0.0),
        ("--2", 2.0),
        ("+2", 2.0),
    ] {
        assert_eq!(constant(text), expected, "{text}");
    }
}

#[test]
fn functions_have_their_textbook_values() {
    for (text, expected) in [
        ("sin(pi/2)", 1.0),
        ("ln(e)", 1.0),
        ("log(1000)", 3.0),
        ("log2(8)", 3.0),
        ("sech(0)", 1.0),
        ("step(0) + step(-1)", 1.0),
        ("sign(-3)", -1.0),
        ("if(2 > 1, 10, 20)", 10.0),
        ("clamp(5, 0, 1)", 1.0),
        ("gauss(0, 2)", 1.0),
        ("mod(-1, 3)", 2.0),
        ("wrap(7, 8)", -1.0),
        ("hypot(3, 4)", 5.0),
        ("min(1, 2) + max(1, 2)", 3.0),
        ("not(0)", 1.0),
        ("pow(2, 10)", 1024.0),
        ("kappa*L_x", 4.0),
        ("phi^2 - phi", 1.0),
    ] {
        assert!((constant(text) - expected).abs() < 1e-14, "{text} = {}", constant(text));
    }
    assert!((constant("gauss(2, 2)") - (-0.5f64).exp()).abs() < 1e-15);
    assert!((constant("atan2(1, -1)") - 0.75 * core::f64::consts::PI).abs() < 1e-15);
}

#[test]
fn variables_reach_the_program() {
    for (text, expected) in [
        ("x + y", -1.75),
        ("t_axis", 7.0),
        ("t*x", 0.75),
        ("re + im", 7.0),
        ("abs + abs(y)", 7.0),
        ("rho/abs", 5.0),
        ("1 - x", 0.75),
        ("x - 1", -0.75),
        ("if(x < y, 1, re)", 3.0),
        ("clamp(y, x, re)", 0.25),
    ] {
        assert_eq!(at_point(text), expected, "{text}");
    }
    assert!((at_point("tan(arg)") - 4.0 / 3.0).abs() < 1e-14);
}

#[test]
fn a_nan_is_never_swallowed() {
    for text in [
        "min(sqrt(y), 1)",
        "max(1, sqrt(y))",
        "step(sqrt(y))",
        "sign(sqrt(y))",
        "not(sqrt(y))",
        "sqrt(y) < 1",
        "sqrt(y) || 1",
        "clamp(sqrt(y), 0, 1)",
        "if(sqrt(y), 1, 1)",
    ] {
        assert!(at_point(text).is_nan(), "{text}");
    }
}

#[test]
fn sums_split_into_static_and_moving_terms() {
    let node = everything("0.5*x^2 - t*x - (y - sin(t)) + 3").expect("parses");
    let (fixed, moving) = node.split_time();
    let (fixed, moving) = (fixed.expect("static terms"), moving.expect("moving terms"));
    assert!(!fixed.depends_on_time() && moving.depends_on_time());
    assert_eq!(fixed, everything("0.5*x^2 - y + 3").expect("parses"));
    assert_eq!(moving, everything("-(t*x) + sin(t)").expect("parses"));
    assert!(!moving.fold(Some(0.0)).depends_on_time());
}

#[test]
fn errors_mark_the_character_and_name_the_nearest() {
    for (text, column, found, remedy) in [
        ("", 0, "end of the expression", "complete"),
        ("1 +", 3, "end of the expression", "complete"),
        ("2x", 1, "`x`", "2*x"),
        ("(1 + 2", 6, "end of the expression", "close"),
        ("1 + 2)", 5, "`)`", "remove"),
        ("1,5", 1, "`,`", "remove"),
        ("snh(x)", 0, "function `snh`", "sinh"),
        ("x + kapa", 4, "name `kapa`", "kappa"),
        ("x = 1", 2, "`=`", "=="),
        ("|x|", 0, "`|`", "abs(x)"),
        ("x % 2", 2, "`%`", "mod"),
        ("sin(1, 2)", 0, "2 argument", "1 argument"),
        ("if(x, 1)", 0, "2 argument", "3 argument"),
        ("sin", 0, "name `sin`", "sin(…)"),
        ("x(2)", 0, "function `x`", "x*(…)"),
        ("1 +* 2", 3, "`*`", "operand"),
        ("x y", 2, "`y`", "*"),
        ("sin()", 0, "0 argument", "1 argument"),
        ("1e999", 0, "1e999", "smaller"),
        ("x & y", 2, "`&`", "&&"),
        ("x[1]", 1, "`[`", "( and )"),
        ("a\u{7}b", 1, "\\u{7}", "remove"),
        ("ψ + 1", 0, "name `ψ`", "constants"),
    ] {
        let error = everything(text).expect_err(text);
        assert_eq!(error.column, column, "{text}: {error:?}");
        assert!(error.found.contains(found), "{text}: {error:?}");
        assert!(error.remedy.contains(remedy), "{text}: {error:?}");
        assert!(!error.expected.is_empty(), "{text}");
    }
}

#[test]
fn names_exist_only_where_they_mean_something() {
    let constants = BTreeMap::new();
    let bare = Scope { constants: &constants, has_coordinates: false, has_time: false, has_field: false };
    for (text, remedy) in [("t", "t_axis"), ("x", "one number"), ("rho", "observables"), ("abs", "abs(…)")]
    {
        let error = parse(text, bare).expect_err(text);
        assert!(error.remedy.contains(remedy), "{text}: {error:?}");
    }
}

#[test]
fn length_and_depth_are_bounded() {
    let deep = format!("{}x{}", "(".repeat(EXPRESSION_DEPTH_MAX + 1), ")".repeat(EXPRESSION_DEPTH_MAX + 1));
    assert!(everything(&deep).expect_err("too deep").expected.contains("levels"));
    assert!(everything(&"-".repeat(4000)).is_err());
    let long = format!("x{}", "+x".repeat(EXPRESSION_CHARS_MAX));
    assert!(everything(&long).expect_err("too long").expected.contains("characters"));
    // As long as allowed: left-deep trees must not exhaust the stack.
    let most = format!("x{}", "+x".repeat(EXPRESSION_CHARS_MAX / 2 - 1));
    assert!((at_point(&most) - 0.25 * (EXPRESSION_CHARS_MAX / 2) as f64).abs() < 1e-9);
}

#[test]
fn blocks_do_not_change_values() {
    let program = Program::new(&everything("exp(-x^2)*if(y < 0, x/3, 2) + atan2(x, y)").expect("parses"));
    let xs: Vec<f64> = (0..1000).map(|i| f64::from(i) * 0.01 - 5.0).collect();
    let ys: Vec<f64> = xs.iter().map(|x| 1.0 - x).collect();
    let run = |start: usize, length: usize| {
        let mut inputs: Inputs<'_> = [&[]; Variable::SLOTS];
        inputs[Variable::Coordinate(Axis::X).slot()] = &xs[start..];
        inputs[Variable::Coordinate(Axis::Y).slot()] = &ys[start..];
        let mut out = vec![0.0; length];
        program.run(&inputs, &mut Vec::new(), &mut out);
        out
    };
    let whole = run(100, BLOCK);
    for i in 0..BLOCK {
        assert_eq!(run(100 + i, 1)[0].to_bits(), whole[i].to_bits());
    }
}
