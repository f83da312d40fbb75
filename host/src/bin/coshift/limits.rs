//! `coshift limits`.

use clap::Subcommand;
use coshift_host::control::Request;

use crate::apps::change;
use crate::{Connection, Fault};

/// Change the caps of a running agent
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Set caps; what is not named stays as it is
    ///
    /// Caps of the policy hold besides: the lower one counts.
    Set {
        /// Cap on the board's input power, like 12W or 8500mW; none = only the policy's
        #[arg(long, value_name = "POWER", required_unless_present = "temp_cap")]
        power_cap: Option<String>,
        /// Cap on the hottest temperature, like 85C; none = only the policy's
        #[arg(long, value_name = "TEMPERATURE")]
        temp_cap: Option<String>,
        #[command(flatten)]
        connection: Connection,
    },
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Fault> {
    let Command::Set { power_cap, temp_cap, connection } = &arguments.command;
    let request = Request::LimitsSet { power_cap: power_cap.clone(), temp_cap: temp_cap.clone() };
    change(connection, &request)
}
