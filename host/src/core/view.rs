//! What others see of the core.

use coshift_shared::policy::PolicyView;
use coshift_shared::session::LinkCounters;
use coshift_shared::to_host::{Decision, Reason, Welcome, WorkCounters};

use super::judge::Judge;
use super::twin::Twin;
use super::{AgentCore, Caps, Counters, Decider, LinkState, Settings, Upload, UploadStage};
use crate::clock::Time;

impl<'p> AgentCore<'p> {
    /// The decision in force: the last valid one.
    #[must_use]
    pub fn decision(&self) -> Option<&Decision> {
        self.held.as_ref()
    }

    /// When the decision in force last became another, and the reason given then.
    #[must_use]
    pub fn changed(&self) -> Option<(Time, Reason)> {
        self.changed
    }

    /// Who decides.
    #[must_use]
    pub fn decider(&self) -> Decider {
        self.decider
    }

    /// State of the link.
    #[must_use]
    pub fn link(&self) -> LinkState {
        self.link
    }

    /// Caps in force: those set, and the policy's where they are lower.
    #[must_use]
    pub fn caps(&self) -> Caps {
        let Caps { power_mw, temp_mdeg_c } = self.settings.caps;
        Caps {
            power_mw: power_mw.min(self.policy.power_cap_mw()),
            temp_mdeg_c: temp_mdeg_c.min(self.policy.temp_cap_mdeg_c()),
        }
    }

    /// Counters of the core.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How the decisions of both compare.
    #[must_use]
    pub fn judge(&self) -> &Judge {
        &self.judge
    }

    /// The microcontroller's last Welcome.
    #[must_use]
    pub fn peer(&self) -> Option<&Welcome> {
        self.peer.as_ref()
    }

    /// The session with the microcontroller; in-process, the one with the controller inside.
    #[must_use]
    pub fn session(&self) -> u16 {
        if self.settings.remote { self.sender.session() } else { self.alone.session() }
    }

    /// Counters of frames from the microcontroller.
    #[must_use]
    pub fn from_mcu(&self) -> LinkCounters {
        self.receiver.counters
    }

    /// Counters of frames to the microcontroller as it reported them last; in-process, those of
    /// the controller inside.
    #[must_use]
    pub fn to_mcu(&self) -> Option<LinkCounters> {
        if self.settings.remote { self.mcu_link } else { Some(self.twin.link()) }
    }

    /// Counters of the microcontroller's control loop as it reported them last.
    #[must_use]
    pub fn mcu_work(&self) -> Option<WorkCounters> {
        self.mcu_work
    }

    /// The upload of the agent's policy, where it was asked for and one began.
    #[must_use]
    pub fn upload(&self) -> Option<&Upload> {
        let under_way = self.link == LinkState::PoliciesDiffer;
        let began = under_way || self.upload.stage != UploadStage::Waiting;
        (self.settings.upload_policy && began).then_some(&self.upload)
    }

    /// The twin.
    #[must_use]
    pub fn twin(&self) -> &Twin<'p> {
        &self.twin
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &PolicyView<'p> {
        &self.policy
    }

    /// What the core was told.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}
