//! The control socket: a Unix socket that takes one JSON object a line and answers each with one.
//!
//! | request | answer |
//! |---|---|
//! | `{"do":"status"}` | `{"status":{…}}`, see [`crate::report`] |
//! | `{"do":"apps-set","spec":"cam0=coshift-28,deadline=33ms,rate=15"}` | `{"done":"…"}` |
//! | `{"do":"apps-rm","name":"cam0"}` | `{"done":"…"}` |
//! | `{"do":"limits-set","power_cap":"12W","temp_cap":"none"}` | `{"done":"…"}`; what is left out stays |
//!
//! Anything that cannot be served is answered by `{"error":"…"}`, one line for people. A line has
//! at most [`MAX_LINE`] bytes, [`MAX_CLIENTS`] clients are served at a time, and a client that says
//! nothing for [`IDLE`] is let go. The socket's mode is 0660: its owner and group may use it.

mod client;
mod server;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::report::Report;

pub use client::{ClientFault, ask};
pub use server::{ControlServer, SocketFault};

/// Longest line of a request, its newline included.
pub const MAX_LINE: usize = 4096;
/// Most clients at a time.
pub const MAX_CLIENTS: usize = 8;
/// How long a client may say nothing.
pub const IDLE: Duration = Duration::from_secs(10);

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// What is going on?
    Status {},
    /// Add or change an application.
    AppsSet {
        /// As for `--app`.
        spec: String,
    },
    /// Remove an application.
    AppsRm {
        /// Its name.
        name: String,
    },
    /// Change caps; what is left out stays as it is, `none` leaves the policy's.
    LimitsSet {
        /// As for `--power-cap`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        power_cap: Option<String>,
        /// As for `--temp-cap`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        temp_cap: Option<String>,
    },
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// What is going on.
    Status(Box<Report>),
    /// It is done; in words.
    Done(String),
    /// It cannot be done; in words.
    Error(String),
}

/// The socket where nothing else is said: in the user's runtime directory, or `/run`.
#[must_use]
pub fn default_path() -> PathBuf {
    std::env::var_os("XDG_RUNTIME_DIR")
        .filter(|dir| !dir.is_empty())
        .map_or_else(|| PathBuf::from("/run"), PathBuf::from)
        .join("coshift.sock")
}

#[cfg(test)]
mod tests {
    use super::{Answer, Request};

    #[test]
    fn the_wire_format_is_as_documented() {
        let text = |request| serde_json::to_string(&request).unwrap();
        assert_eq!(text(Request::Status {}), r#"{"do":"status"}"#);
        assert_eq!(
            text(Request::AppsSet { spec: "a=b".into() }),
            r#"{"do":"apps-set","spec":"a=b"}"#
        );
        assert_eq!(text(Request::AppsRm { name: "a".into() }), r#"{"do":"apps-rm","name":"a"}"#);
        assert_eq!(
            text(Request::LimitsSet { power_cap: Some("9W".into()), temp_cap: None }),
            r#"{"do":"limits-set","power_cap":"9W"}"#
        );
        assert!(serde_json::from_str::<Request>(r#"{"do":"status","more":1}"#).is_err());
        assert!(serde_json::from_str::<Request>(r#"{"do":"reboot"}"#).is_err());
        let answer = serde_json::to_string(&Answer::Error("no".into())).unwrap();
        assert_eq!(answer, r#"{"error":"no"}"#);
    }
}
