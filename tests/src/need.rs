//! What tests under the emulator need; see `docs/hil.md` for the variables.

use std::path::PathBuf;

/// Programs and images that `cargo xtask test` names.
#[derive(Debug, Clone)]
pub struct Needs {
    /// The emulator.
    pub qemu: PathBuf,
    /// The release image.
    pub firmware: PathBuf,
    /// The policy image that is compiled in.
    pub policy: PathBuf,
    /// The agent.
    pub agent: PathBuf,
}

impl Needs {
    /// Everything, or a line that says what is missing.
    ///
    /// # Panics
    /// Where something is missing and `COSHIFT_REQUIRE_EMULATOR` is 1.
    #[must_use]
    pub fn find() -> Option<Self> {
        match Self::look() {
            Ok(needs) => Some(needs),
            Err(missing) => {
                let required = std::env::var_os("COSHIFT_REQUIRE_EMULATOR");
                let required = required.is_some_and(|value| value == "1");
                assert!(!required, "missing and required: {missing}");
                println!("SKIPPED: {missing}");
                None
            }
        }
    }

    fn look() -> Result<Self, String> {
        let found = |variable: &str, what: &str| {
            std::env::var_os(variable)
                .map(PathBuf::from)
                .filter(|path| path.is_file())
                .ok_or_else(|| format!("{what} ({variable}; run `cargo xtask test`)"))
        };
        Ok(Self {
            qemu: found("COSHIFT_QEMU", "qemu-system-arm")?,
            firmware: found("COSHIFT_FIRMWARE", "the firmware's release image")?,
            policy: found("COSHIFT_POLICY", "the policy image")?,
            agent: found("COSHIFT_AGENT", "the agent")?,
        })
    }
}
