//! `coshift-tools plan`: a policy image from a board file.
//!
//! What is never better than something else is left out ([`prune`]): the controller then looks at
//! less, and finds choices that are as good, also where one clock is held.

mod prune;

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use coshift_plant::Board;
use serde::Serialize;

pub use coshift_plant::policy::{PlanError, bytes, first_image, policy_image, write};
pub use prune::{Prune, Pruned, prune};

/// Makes a policy image: expected latency and energy of every (application, sub-network, level).
#[derive(Args, Debug)]
pub struct PlanArgs {
    /// Board file.
    #[arg(long, value_name = "FILE")]
    pub board: PathBuf,
    /// Application: NAME=NETWORK, or a network of the board file; up to four. Applications of one
    /// network share its table.
    #[arg(long = "app", value_name = "APP", required = true)]
    pub apps: Vec<String>,
    /// Image to write.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Sequence number: an upload takes only that of the active image + 1.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub sequence: u32,
    /// What is left out of the board file.
    #[arg(long, value_name = "WHAT", default_value = "held")]
    pub prune: Prune,
    /// Prints one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What an image holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// Board.
    pub board: String,
    /// Networks, in the order of their tables.
    pub networks: Vec<String>,
    /// Levels of the image, by their index in the board file.
    pub levels: Vec<usize>,
    /// Sub-networks of each table, by their index in the board file.
    pub sub_networks: Vec<Vec<usize>>,
    /// Length of the image, bytes.
    pub bytes: usize,
    /// Its CRC, eight hex digits: what agent and firmware compare.
    pub crc: String,
}

/// Runs the command.
///
/// # Errors
/// Names what is missing or does not fit.
pub fn run(args: &PlanArgs) -> Result<()> {
    let planned = plan(args)?;
    if args.json {
        println!("{}", serde_json::to_string(&planned)?);
        return Ok(());
    }
    let Planned { board, networks, levels, sub_networks, bytes, crc } = &planned;
    println!(
        "{}: board {board}, {} levels, {bytes} bytes, CRC {crc}",
        args.out.display(),
        levels.len()
    );
    for (network, kept) in networks.iter().zip(sub_networks) {
        println!("  {network}: sub-networks {kept:?}");
    }
    println!("  levels {levels:?}");
    Ok(())
}

/// Makes and writes the image.
///
/// # Errors
/// Names what is missing or does not fit; nothing is written then.
pub fn plan(args: &PlanArgs) -> Result<Planned> {
    let board = Board::load(&args.board)?;
    let networks = networks(&args.apps)?;
    let names: Vec<&str> = networks.iter().map(String::as_str).collect();
    let whole = policy_image(&board, &names, args.sequence)?;
    let pruned = prune(whole, args.prune);
    let bytes = bytes(&pruned.image)?;
    write(&args.out, &pruned.image)?;
    let crc = coshift_shared::policy::PolicyView::open(&bytes).map(|view| view.crc());
    Ok(Planned {
        board: board.name,
        networks,
        levels: pruned.levels,
        sub_networks: pruned.sub_networks,
        bytes: bytes.len(),
        crc: format!("{:08x}", crc.ok().context("a valid image")?),
    })
}

/// The networks of the applications, each once, in their order.
fn networks(apps: &[String]) -> Result<Vec<String>> {
    let (mut networks, mut names): (Vec<String>, Vec<&str>) = (Vec::new(), Vec::new());
    for app in apps {
        let (name, network) = app
            .split_once('=')
            .map_or((None, app.as_str()), |(name, network)| (Some(name), network));
        ensure!(
            !network.is_empty() && !network.contains([',', '=']) && name != Some(""),
            "--app \"{app}\": expected NAME=NETWORK or NETWORK"
        );
        if let Some(name) = name {
            if names.contains(&name) {
                bail!("--app {name}: there are two applications of this name");
            }
            names.push(name);
        }
        if !networks.iter().any(|known| known == network) {
            networks.push(network.to_owned());
        }
    }
    Ok(networks)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use coshift_shared::policy::PolicyView;

    use super::{PlanArgs, Prune, networks, plan};

    fn args(apps: &[&str], out: &Path) -> PlanArgs {
        PlanArgs {
            board: Path::new(env!("CARGO_MANIFEST_DIR")).join("../boards/orin_nano.toml"),
            apps: apps.iter().map(|&app| app.to_owned()).collect(),
            out: out.to_owned(),
            sequence: 3,
            prune: Prune::Free,
            json: false,
        }
    }

    #[test]
    fn applications_of_one_network_share_a_table() {
        let list = |apps: &[&str]| {
            let apps: Vec<_> = apps.iter().map(|&app| app.to_owned()).collect();
            networks(&apps).map_err(|error| error.to_string())
        };
        assert_eq!(list(&["a=x", "b=y", "c=x"]), Ok(vec!["x".into(), "y".into()]));
        assert_eq!(list(&["x"]), Ok(vec!["x".into()]));
        assert!(list(&["a=x", "a=y"]).unwrap_err().contains("two applications"));
        for wrong in ["", "=x", "a=", "a=b=c", "a=x,deadline=3ms"] {
            assert!(list(&[wrong]).unwrap_err().contains("expected NAME=NETWORK"), "{wrong}");
        }
    }

    #[test]
    fn a_file_is_written_whole_or_not_at_all() {
        let out = std::env::temp_dir().join(format!("coshift-planned-{}.bin", std::process::id()));
        let planned = plan(&args(&["cam0=coshift-28", "cam1=dynamic-ofa-7"], &out)).unwrap();
        let bytes = std::fs::read(&out).unwrap();
        let view = PolicyView::open(&bytes).unwrap();
        assert_eq!((view.sequence(), usize::from(view.levels())), (3, planned.levels.len()));
        assert_eq!(format!("{:08x}", view.crc()), planned.crc);
        assert_eq!(bytes.len(), planned.bytes);
        // The memory clock is worth its power at few of the 25 levels.
        assert!((2..25).contains(&planned.levels.len()), "{:?}", planned.levels);
        std::fs::remove_file(&out).unwrap();
        let error = plan(&args(&["cam0=no-such"], &out)).unwrap_err().to_string();
        assert!(error.contains("no network \"no-such\"") && !out.exists(), "{error}");
    }
}
