//! `cargo xtask bench --gpu`: a tick on the best GPU of this machine and, in the same run on the same card, the step a
//! user of torch writes.
//!
//! Invariant: ours and the peer's are timed in turn, shape by shape; the copy bandwidth is measured beside them. With
//! NIKOLA_BINARY set to a binary built elsewhere with `--features gpu`, nothing is compiled here.

use super::{number, output};
use crate::{answers, command, graphics, target_folder};
use anyhow::bail;

/// Shape, milliseconds to stay below, ratio to the peer to reach; zero where nothing is asked.
const CASES: [(&str, f64, f64); 4] = [
    ("27x27x27x3x3x3x3x3x3", 0.6, 5.0),
    ("128x128x128", 0.0, 2.0),
    ("512x512", 0.0, 2.0),
    ("3x3x3x3x3x3x3x3x3", 0.06, 0.0),
];

const PEER: &str = "benches/peers/torch_ref.py";

/// Runs the table.
pub fn run() -> anyhow::Result<()> {
    if let Err(why) = graphics::with_an_adapter() {
        bail!("no GPU to measure: {why}");
    }
    let binary = match std::env::var("NIKOLA_BINARY") {
        Ok(path) => path,
        Err(_) => {
            if !command("cargo", &["build", "--release", "--features", "gpu"]).status()?.success() {
                bail!("the release build failed");
            }
            target_folder().join("release/nikola").display().to_string()
        }
    };
    let has_peer = answers("python3", &["-c", "import torch; assert torch.cuda.is_available()"]);
    if !has_peer {
        println!("no peer: python3 has no torch with a CUDA device here");
    }
    for (shape, limit_ms, asked) in CASES {
        let ours = output(command(&binary, &["gpu", "--bench", "--json", "--shape", shape]))?;
        let ms = number(&ours, "ms")?;
        let mut line = format!("{shape:<22} {ms:>9.4} ms a tick");
        if limit_ms > 0.0 {
            line += &format!(" (asked {limit_ms}{})", if ms > limit_ms { ", **short**" } else { "" });
        }
        if let Ok(device_ms) = number(&ours, "device_ms") {
            line += &format!(" · device {device_ms:.4} ms");
        }
        if let (Ok(share), Ok(bytes)) = (number(&ours, "achieved_over_copy"), number(&ours, "bytes_per_node"))
        {
            line += &format!(" · {bytes:.1} B/node · achieved ÷ copy {share:.2}");
        }
        line += &format!(
            " · copy {:.0} GB/s · {:.0} nodes per 1 ms",
            number(&ours, "copy_bytes_per_sec")? * 1e-9,
            number(&ours, "nodes_per_ms")?
        );
        if has_peer {
            let peer = number(&output(command("python3", &[PEER, shape]))?, "ms")?;
            let ratio = peer / ms;
            let verdict = if ratio < asked { " **short**" } else { "" };
            line += &format!(" · torch.fft {peer:.4} ms, ratio {ratio:.2} (asked {asked:.1}){verdict}");
        }
        println!("{line}");
    }
    Ok(())
}
