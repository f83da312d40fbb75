//! The long campaigns against the release image in the emulator; `cargo xtask soak` builds what
//! they need and runs them.

use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use coshift_tests::need::Needs;
use coshift_tests::power_cuts::Upload;

const SEED: u64 = 1;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().context("the name of a campaign goes here")?;
    if let Some(more) = arguments.next() {
        bail!("`{more}`: one campaign at a time");
    }
    let needs = Needs::find().context("run `cargo xtask soak`, which builds what is missing")?;
    match name.as_str() {
        "power-cuts" => power_cuts(&needs),
        other => bail!("`{other}`: power-cuts goes here"),
    }
}

/// Power lost at every store, and every bit flipped afterwards.
fn power_cuts(needs: &Needs) -> Result<()> {
    for small in [true, false] {
        let upload = Upload::log(needs, small)?;
        for (what, points) in
            [("power lost", upload.all()), ("bits flipped afterwards", upload.all_later())]
        {
            let tally = upload.boots(&points, usize::MAX, SEED)?;
            println!("{what}: {}", upload.line(&tally));
            ensure!(tally.violations.is_empty(), "{:#?}", tally.violations);
        }
    }
    Ok(())
}
