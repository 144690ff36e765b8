//! `--set`: what it replaces, what it inserts, what it refuses.

use super::{minimal, with_overrides};
use crate::scene::SceneError;
use crate::scene::overrides::FIELDS;
use nikola_components::setup::Precision;

fn scene() -> String {
    minimal(
        "equation: Schrodinger(beta: 2), potential: Sum([Zero, Expr(\"z^2\")]), outputs: (series_every: 5)",
    )
}

#[test]
fn values_are_replaced_in_place() {
    let sets = [
        "equation.beta=-1",
        "torus.extents.z=32",
        "ticks=7",
        "potential[1]=Harmonic(omega: {z: 2})",
        "outputs.series_every=3",
    ];
    let (scene, resolved) = with_overrides(&scene(), &sets).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(resolved.setup.wave.beta, -1.0);
    assert_eq!(resolved.setup.torus.n_nodes(), 32);
    assert_eq!((resolved.plan.ticks, resolved.plan.series_every), (7, 3));
    // The text after overrides is a scene of its own, with the same values.
    let (again, same) = with_overrides(scene.text(), &[]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(again.document, scene.document);
    assert_eq!(same.setup.wave, resolved.setup.wave);
}

#[test]
fn fields_left_at_their_default_are_inserted() {
    let sets = [
        "precision=F64",
        "equation.metric.z=4",
        "torus.lengths.z=8",
        "constants.k=3",
        "normalise=\"2*k\"",
        "dt=\"k/1000\"",
    ];
    let (_, resolved) = with_overrides(&scene(), &sets).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(resolved.setup.precision, Precision::F64);
    assert_eq!(resolved.setup.wave.diffusion[8], 4.0);
    assert_eq!(resolved.setup.torus.lengths()[8], 8.0);
    assert_eq!(resolved.setup.norm, Some(6.0));
    assert_eq!(resolved.setup.wave.dt, 0.003);
    let (_, resolved) = with_overrides(&minimal(""), &["equation.beta=3", "outputs.series_every=2"])
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((resolved.setup.wave.beta, resolved.plan.series_every), (3.0, 2));
}

#[test]
fn texts_need_no_quotes_where_a_text_stood() {
    let text = minimal("title: \"before\", potential: Expr(\"z\")");
    let sets = ["title=after all", "potential[0]=0.5*z^2"];
    let (scene, _) = with_overrides(&text, &["title=after all"]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(scene.document.title, "after all");
    assert!(with_overrides(&text, &sets[1..]).is_err(), "a form has no index");
}

#[test]
fn later_overrides_win() {
    let sets = ["ticks=100", "ticks=20", "ticks=3"];
    let (_, resolved) = with_overrides(&scene(), &sets).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(resolved.plan.ticks, 3);
}

#[test]
fn broken_overrides_are_refused() {
    for (set, found, expected, remedy) in [
        ("ticks", "no `=`", "path=value", "equation.beta"),
        ("=3", "no path", "path=value", "equation.beta"),
        ("ticks=", "no value", "path=value", "equation.beta"),
        ("tick=3", "`tick`", "ticks", "did you mean `ticks`?"),
        ("equation.betta=3", "betta", "beta", "did you mean `beta`?"),
        ("torus.extents.q=3", "`q`", "r, s, t", "use one of the fields"),
        ("torus.sise.z=3", "`z` in the path", "", "use one"),
        ("potential[7]=Zero", "[7]", "[0], [1]", "[0]"),
        ("ticks.x=3", "`x`", "group", "use one"),
        ("ticks=(3", "does not close", "RON value", "quotes"),
        ("ticks=3, seed: 4", "further text", "RON value", "quotes"),
        ("ticks=many", "many", "whole number", "digits"),
        ("ticks=-3", "-3", "whole number", "digits"),
        ("dt=0", "0", "above 0", "positive"),
        ("precision=F16", "F16", "F32, F64", "use one"),
        ("equation.beta=\"bet\"", "name `bet`", "pi", "constants"),
        ("..=1", "``", "", "use one"),
        ("a[b]=1", "`a`", "version", "use one"),
        ("initial=", "no value", "path=value", "equation.beta"),
        ("version=2", "version 2", "version: 1", "newer"),
    ] {
        let error = with_overrides(&scene(), &[set]).map(|_| ()).expect_err(set);
        let fault = error.fault();
        assert!(fault.place.to_string().contains("--set "), "{set}: {error}");
        assert!(fault.found.contains(found), "{set}: {error}");
        assert!(fault.expected.contains(expected), "{set}: {error}");
        assert!(fault.remedy.contains(remedy), "{set}: {error}");
        assert_eq!(error.exit_code(), crate::exit::SCENE, "{set}");
    }
}

#[test]
fn the_list_of_fields_is_that_of_the_document() {
    let error = with_overrides(&minimal("qqqq: 1"), &[]).map(|_| ()).expect_err("an unknown field");
    assert_eq!(error.fault().expected, format!("one of {}", FIELDS.join(", ")));
}

#[test]
fn too_many_overrides_are_refused() {
    let sets = vec!["ticks=1"; 300];
    let error = with_overrides(&scene(), &sets).map(|_| ()).expect_err("300 overrides");
    assert!(matches!(error, SceneError::Override { .. }), "{error}");
}
