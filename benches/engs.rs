//! Neurochemistry: what the stage costs per tick on the default scene, beside the same scene without it.
//! Budget at 3^9: 20 µs for the reward prediction error, 30 µs for the broadcast.

use nikola_benches::watched;
use nikola_engine::systems::components::telemetry::Stage;

fn main() {
    watched("engs", Stage::Engs, "engs: (),");
    watched("engs and oracle", Stage::Engs, "engs: (), oracle: (),");
}
