//! What a board file needs and no grid tells: stated defaults, marked assumed in the file.

use coshift_plant::board::{CapsFile, CpuFile, Level, SettleFile, ThermalFile};
use coshift_plant::fit::board_power::PowerFit;
use coshift_plant::law::PowerLaw;

/// Highest share of the time that requests may take, %.
pub(super) const UTILISATION_LIMIT_PCT: f64 = 95.0;
/// Settle times: Jetson Orin Nano, p50 of 150 to 200 changes each (1.0-1.4, 4.8-5.3, 7.5-8.7 ms).
pub(super) const SETTLE: SettleFile = SettleFile { cpu_ms: 1.0, gpu_ms: 5.0, emc_ms: 8.0 };
/// 10 K under throttling; no power cap.
pub(super) const CAPS: CapsFile = CapsFile { power_w: None, temp_c: Some(85.0) };
/// CPU power: one core busy with launches draws 0.63 W at 1.728 GHz (Orin Nano), V(f) of Tegra210.
const CPU: CpuFile = CpuFile {
    w_per_ghz_v2: 0.25,
    idle_share: 0.2,
    volt_min: 0.84,
    volt_base: 0.655,
    volt_per_ghz: 0.323,
};
/// Jetson Orin Nano with its fan at full speed, K/W.
const RESISTANCE_K_PER_W: f64 = 1.54;
const TIME_CONSTANT_S: f64 = 200.0;
const AMBIENT_C: f64 = 25.0;
const THROTTLE_C: f64 = 95.0;
/// A board is cooled well enough for its highest busy power: it stays this far above ambient, K.
const MOST_ABOVE_AMBIENT_K: f64 = 50.0;

/// The thermal law of a board with this highest busy power.
pub(super) fn thermal(highest_w: f64) -> ThermalFile {
    ThermalFile {
        resistance_k_per_w: RESISTANCE_K_PER_W.min(MOST_ABOVE_AMBIENT_K / highest_w.max(1e-3)),
        time_constant_s: TIME_CONSTANT_S,
        ambient_c: AMBIENT_C,
        throttle_c: THROTTLE_C,
    }
}

/// The CPU term, less where the measured powers leave no room for it: at every level at least half
/// of idle power and half of what work adds are left.
pub(super) fn cpu(fit: &PowerFit, levels: &[Level]) -> CpuFile {
    let Some(top) = levels.iter().max_by_key(|level| level.cpu_khz) else { return CPU };
    let at_emc_khz = levels.iter().map(|level| level.emc_khz).max().unwrap_or(top.emc_khz);
    let law = |factor: f64| PowerLaw {
        at_cpu_ghz: top.cpu_mhz() / 1e3,
        at_emc_ghz: f64::from(at_emc_khz) / 1e6,
        idle: fit.idle,
        busy: fit.busy,
        busy_exponent: coshift_plant::fit::board_power::defaults::EXPONENT,
        idle_emc: fit.idle_emc,
        busy_emc: fit.busy_emc,
        cpu_factor: factor,
        cpu_idle_share: CPU.idle_share,
        cpu_volt: [CPU.volt_min, CPU.volt_base, CPU.volt_per_ghz],
    };
    let (without, with) = (law(0.0), law(CPU.w_per_ghz_v2));
    let room = |level: &Level| {
        let share = |bare: f64, lessened: f64| {
            if lessened < bare { 0.5 * bare / (bare - lessened) } else { 1.0 }
        };
        let added = |law: &PowerLaw| law.busy_w(level, 1.0) - law.idle_w(level);
        share(without.idle_w(level), with.idle_w(level)).min(share(added(&without), added(&with)))
    };
    let factor = levels.iter().map(room).fold(1.0, f64::min).max(0.0);
    CpuFile { w_per_ghz_v2: CPU.w_per_ghz_v2 * factor, ..CPU }
}
