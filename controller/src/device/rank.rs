//! What is wrong with a level, and which of two levels is better.

use coshift_shared::units::MAX_APPLICATIONS;

/// What is wrong with a level; the order of the fields is the order of weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Trouble {
    /// Power over the cap, mW.
    pub over_cap_mw: u32,
    /// Applications not served, one bit each, ranked by priority.
    pub unserved: u8,
    /// Utilisation over the limit, 0.1 %.
    pub over_utilisation_permille: u32,
    /// Time over deadlines, summed, µs.
    pub late_us: u32,
    /// Accuracy under floors, summed, 0.01 %.
    pub short_bp: u32,
    /// Energy over budgets, summed, µJ.
    pub over_budget_uj: u32,
}

impl Trouble {
    /// Every promise is kept.
    pub const NONE: Self = Self {
        over_cap_mw: 0,
        unserved: 0,
        over_utilisation_permille: 0,
        late_us: 0,
        short_bp: 0,
        over_budget_uj: 0,
    };

    /// What is wrong, without how much of it: less of the same is worth no change at once.
    #[must_use]
    pub fn kinds(&self) -> (bool, u8, bool) {
        (self.over_cap_mw > 0, self.unserved, self.over_utilisation_permille > 0)
    }
}

/// A level with the sub-networks that would run there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The level.
    pub level: u8,
    /// What is wrong with it.
    pub trouble: Trouble,
    /// What the objectives wish for, the highest priority first.
    pub wishes: [u32; MAX_APPLICATIONS],
    /// Mean power, mW.
    pub power_mw: u32,
    /// Sub-network of each slot.
    pub sub_networks: [u8; MAX_APPLICATIONS],
    /// Mean power of what would fit here without a cap, mW; `u32::MAX` where nothing would.
    pub uncapped_mw: u32,
}

impl Candidate {
    /// Whether this one is better.
    pub(super) fn beats(&self, other: &Self) -> bool {
        let rest = (self.power_mw, self.level) < (other.power_mw, other.level);
        beats((&self.trouble, &self.wishes), (&other.trouble, &other.wishes), rest)
    }

    /// What it is compared by.
    #[must_use]
    #[inline]
    pub fn rank(&self) -> Rank {
        let Self { level, trouble, wishes, power_mw, .. } = *self;
        Rank { trouble, wishes, power_mw, level }
    }
}

/// Trouble and wishes.
type Weight<'c> = (&'c Trouble, &'c [u32; MAX_APPLICATIONS]);

/// Whether the one is better than the other, or as good and `rest`.
#[inline(never)]
fn beats(one: Weight<'_>, other: Weight<'_>, rest: bool) -> bool {
    if one.0 != other.0 {
        return one.0 < other.0;
    }
    if one.1 != other.1 {
        return one.1 < other.1;
    }
    rest
}

/// What candidates are compared by, the first that differs: see the fields of [`Candidate`]. Among
/// equals the lower level is better.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rank {
    trouble: Trouble,
    wishes: [u32; MAX_APPLICATIONS],
    power_mw: u32,
    level: u8,
}

impl Rank {
    /// Whether this one is better.
    pub(super) fn beats(&self, other: &Candidate) -> bool {
        let rest = (self.power_mw, self.level) < (other.power_mw, other.level);
        beats((&self.trouble, &self.wishes), (&other.trouble, &other.wishes), rest)
    }
}
