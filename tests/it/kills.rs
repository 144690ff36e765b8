//! The short form of the kill campaign; the long one is `cargo xtask kills`.

use super::command_line::binary;
use nikola_tests::kills::Campaign;

#[test]
fn a_killed_run_continues_as_if_it_had_not_been() {
    let Some(binary) = binary() else { return };
    run(&Campaign { kills: 60, seed: 7, binary, threads: 1, is_on_device: false });
}

fn run(campaign: &Campaign) {
    match campaign.run() {
        Ok(report) => println!("{report}"),
        Err(failure) => panic!("{failure}\nto repeat: {}", campaign.command()),
    }
}
