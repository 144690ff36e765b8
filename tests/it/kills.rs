//! The short form of the kill campaign; the long one is `cargo xtask kills`.

use super::command_line::binary;
use nikola_tests::kills::{Campaign, World, go_on_in};

#[test]
fn a_killed_run_continues_as_if_it_had_not_been() {
    run(60, 7, World::Plain, false);
}

#[test]
fn a_killed_run_that_is_reset_all_the_time_goes_back_to_the_same_checkpoints() {
    run(40, 11, World::Watched, false);
}

#[test]
fn a_killed_run_with_everything_on_continues_as_if_it_had_not_been() {
    run(40, 13, World::Living, false);
}

#[cfg(feature = "gpu")]
#[test]
fn a_killed_run_on_a_device_continues_as_if_it_had_not_been() {
    if let Some(why) = super::gpu::missing() {
        println!("skipped: {why}");
        return;
    }
    run(8, 5, World::Plain, true);
}

fn run(kills: u64, seed: u64, world: World, is_on_device: bool) {
    let Some(binary) = binary() else { return };
    let campaign = Campaign { kills, seed, binary, threads: 1, is_on_device, world };
    match campaign.run() {
        Ok(report) => println!("{report}"),
        Err(failure) => panic!("{failure}\nto repeat: {}", campaign.command()),
    }
}

#[test]
fn every_tick_is_one_to_go_on_from_whatever_the_world_held_before() {
    // New worlds, and worlds in a freeze.
    let cases = [
        (World::Living, 500, 0),
        (World::Living, 500, 40),
        (World::Watched, 300, 50),
        (World::Wave, 400, 40),
    ];
    for (world, ticks, held) in cases {
        let n_resets = go_on_in(world, ticks, held, 8).expect("the same ticks");
        assert!(n_resets > 1, "{world:?}: {n_resets} resets");
    }
}
