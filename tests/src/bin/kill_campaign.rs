//! `cargo run --release -p nikola-tests --bin kill_campaign -- [--kills N] [--seed S] [--world NAME]`: kills a real run at random
//! instants, continues it each time, and compares every state reached with an uninterrupted run's. The exit code says
//! whether all agreed.

use nikola_tests::kills::{Campaign, World, binary};
use std::process::ExitCode;

fn main() -> ExitCode {
    let (is_on_device, world) = (false, World::Plain);
    let mut campaign = Campaign { kills: 1_000, seed: 1, binary: binary(), threads: 1, is_on_device, world };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next();
        let number = value.as_deref().and_then(|text| text.parse().ok());
        let world = value.as_deref().and_then(World::named);
        match (name.as_str(), number, world) {
            ("--kills", Some(number), _) => campaign.kills = number,
            ("--seed", Some(number), _) => campaign.seed = number,
            ("--threads", Some(number), _) => campaign.threads = number,
            ("--world", _, Some(world)) => campaign.world = world,
            ("--backend", None, _) => campaign.is_on_device = value.as_deref() == Some("gpu"),
            _ => {
                eprintln!(
                    "usage: kill_campaign [--kills N] [--seed S] [--threads T] [--backend gpu] [--world plain|watched|living|wave]"
                );
                return ExitCode::from(2);
            }
        }
    }
    match campaign.run() {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("{failure}\nto repeat: {}", campaign.command());
            ExitCode::FAILURE
        }
    }
}
