//! The long campaigns against the release image in the emulator; `cargo xtask soak` builds what
//! they need and runs them.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use coshift_tests::answers::{History, compare, policies};
use coshift_tests::bit_flips::{Campaign, Class, Place, asleep, table};
use coshift_tests::ground;
use coshift_tests::need::Needs;
use coshift_tests::power_cuts::Upload;
use coshift_tests::random::Random;

const SEED: u64 = 1;
/// Messages compared by `twin`.
const MESSAGES: u64 = 1_000_000;
/// Bits flipped by `bit-flips`.
const FLIPS: usize = 1_000;
/// More silent flips than this fail the campaign. In all the campaigns of `docs/reliability.md`, each
/// of [`FLIPS`], one was: a bit of a frame that was being built.
const MOST_SILENT: usize = 2;

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
        "bit-flips" => bit_flips(&needs),
        "twin" => twin(&needs),
        "ground" => ground(&needs),
        other => bail!("`{other}`: power-cuts, bit-flips, twin or ground goes here"),
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

/// Bits flipped in registers and memory while the image decides.
fn bit_flips(needs: &Needs) -> Result<()> {
    let mut campaign = Campaign::new(needs, SEED)?;
    let mut random = Random::new(SEED);
    let mut flips = Vec::new();
    for (number, place) in Place::ALL.iter().cycle().take(FLIPS).enumerate() {
        let flip = campaign.flip(*place, &mut random)?;
        if flip.class != Class::Ok {
            println!("{number}: {flip:?}");
        }
        flips.push(flip);
    }
    println!("{}\nthe core was asleep at {} of them", table(&flips), asleep(&flips));
    let silent = flips.iter().filter(|flip| flip.class == Class::Silent).count();
    ensure!(silent <= MOST_SILENT, "{silent} flips were silent, at most {MOST_SILENT} are known");
    Ok(())
}

/// The controller of the emulated board against the one of this machine.
fn twin(needs: &Needs) -> Result<()> {
    let image = std::env::var_os("COSHIFT_ANSWERS").map(PathBuf::from);
    let image = image.context("COSHIFT_ANSWERS: the answering image")?;
    let policies = policies()?;
    let mut turn = 0;
    let compared = compare(&needs.qemu, &image, MESSAGES, SEED, |random| {
        turn += 1;
        History::draw(&policies[turn % policies.len()], None, random)
    })?;
    println!("{compared:?}");
    ensure!(compared.differing == 0, "answers differ");
    Ok(())
}

/// Whole scenarios of the proving ground, decided by the controller of the emulated board.
fn ground(needs: &Needs) -> Result<()> {
    let image = std::env::var_os("COSHIFT_ANSWERS").map(PathBuf::from);
    let image = image.context("COSHIFT_ANSWERS: the answering image")?;
    let mut played = Vec::new();
    for name in ground::PLAYED {
        played.push(ground::play(&needs.qemu, &image, &ground::scenario(name, None)?, |_| ())?);
    }
    print!("{}", ground::table(&played));
    let differs = played.iter().find_map(|played| played.compared.first.as_ref());
    ensure!(differs.is_none(), "answers differ: {differs:?}");
    Ok(())
}
