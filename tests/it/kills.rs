//! The short form of the kill campaign; the long one is `cargo xtask kills`.

use super::command_line::binary;
use nikola_tests::kills::{Campaign, World, go_on_from_every_tick};

#[test]
fn a_killed_run_continues_as_if_it_had_not_been() {
    let Some(binary) = binary() else { return };
    run(&Campaign { kills: 60, seed: 7, binary, threads: 1, is_on_device: false, world: World::Plain });
}

#[test]
fn a_killed_run_that_is_reset_all_the_time_goes_back_to_the_same_checkpoints() {
    let Some(binary) = binary() else { return };
    run(&Campaign { kills: 40, seed: 11, binary, threads: 1, is_on_device: false, world: World::Watched });
}

#[test]
fn a_killed_run_with_everything_on_continues_as_if_it_had_not_been() {
    let Some(binary) = binary() else { return };
    run(&Campaign { kills: 40, seed: 13, binary, threads: 1, is_on_device: false, world: World::Living });
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
        let n_resets = go_on_from_every_tick(world, ticks, held, 8).expect("the same ticks");
        assert!(n_resets > 1, "{world:?}: {n_resets} resets");
    }
}

#[cfg(feature = "gpu")]
#[test]
fn a_killed_run_on_a_device_continues_as_if_it_had_not_been() {
    let Some(binary) = binary() else { return };
    if let Some(why) = super::gpu::missing() {
        println!("skipped: {why}");
        return;
    }
    run(&Campaign { kills: 8, seed: 5, binary, threads: 1, is_on_device: true, world: World::Plain });
}

fn run(campaign: &Campaign) {
    match campaign.run() {
        Ok(report) => println!("{report}"),
        Err(failure) => panic!("{failure}\nto repeat: {}", campaign.command()),
    }
}
