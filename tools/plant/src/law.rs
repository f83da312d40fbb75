//! The laws: latency, power, temperature.

use crate::board::Level;

/// Latency of a request in quiet:
/// `t = ((a/f_gpu)^p + (b/f_emc)^p)^(1/p) + c·f_ref/f_cpu`.
///
/// `a` is work on the GPU and `b` traffic to memory, both in MHz·ms (thousands of clock cycles),
/// `c` the work of the CPU that starts the kernels, in ms at `f_ref`. `p` says how well GPU and
/// memory overlap: 1 = one after the other, large = the slower of both. Fits measured grids within
/// 0.3 to 0.8 %.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatencyLaw {
    /// `a`, MHz·ms.
    pub gpu_mhz_ms: f64,
    /// `b`, MHz·ms.
    pub emc_mhz_ms: f64,
    /// `c`, ms.
    pub cpu_ms: f64,
    /// `f_ref`, MHz.
    pub cpu_ref_mhz: f64,
    /// `p`, 1 to 100.
    pub p: f64,
}

impl LatencyLaw {
    /// Latency at these clocks, µs.
    #[must_use]
    pub fn us(&self, level: &Level) -> f64 {
        self.overlapped_ms(level.gpu_mhz(), level.emc_mhz()) * 1e3 + self.cpu_us(level)
    }

    /// Latency at clocks in MHz, whole kHz or not, ms.
    #[must_use]
    pub fn ms_at(&self, cpu_mhz: f64, gpu_mhz: f64, emc_mhz: f64) -> f64 {
        self.overlapped_ms(gpu_mhz, emc_mhz) + self.cpu_ms * self.cpu_ref_mhz / cpu_mhz
    }

    /// The launch part at these clocks, µs.
    #[must_use]
    pub fn cpu_us(&self, level: &Level) -> f64 {
        self.cpu_ms * self.cpu_ref_mhz / level.cpu_mhz() * 1e3
    }

    fn overlapped_ms(&self, gpu_mhz: f64, emc_mhz: f64) -> f64 {
        let (gpu, emc) = (self.gpu_mhz_ms / gpu_mhz, self.emc_mhz_ms / emc_mhz);
        let (small, large) = if gpu < emc { (gpu, emc) } else { (emc, gpu) };
        if large <= 0.0 {
            return 0.0;
        }
        // The larger factored out: no overflow or underflow at a large p.
        large * (1.0 + (small / large).powf(self.p)).powf(self.p.recip())
    }
}

/// Power of the board (VDD_IN, W) by its clocks (GHz), idle and busy:
///
/// - `idle = i0 + i1·f_gpu + e0·(f_emc − f_emc_at) + s·ΔC`
/// - `busy = idle + activity·(G·(1 + e1·(f_emc − f_emc_at)) + (1 − s)·ΔC)`
/// - `G = p0 + p1·f_gpu + p3·f_gpu^n − (i0 + i1·f_gpu)`: what the GPU at work adds
/// - `ΔC = C(f_cpu) − C(f_cpu_at)`, `C(f) = k·f·V(f)²`, `V(f) = max(V_min, V_0 + V_1·f)`
///
/// `…_at` are the clocks of the measurements that the first terms were fitted to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PowerLaw {
    /// `f_cpu_at`, GHz.
    pub at_cpu_ghz: f64,
    /// `f_emc_at`, GHz.
    pub at_emc_ghz: f64,
    /// `i0` (W), `i1` (W/GHz).
    pub idle: [f64; 2],
    /// `p0` (W), `p1` (W/GHz), `p3` (W/GHz^n).
    pub busy: [f64; 3],
    /// `n`.
    pub busy_exponent: f64,
    /// `e0`, W/GHz.
    pub idle_emc: f64,
    /// `e1`, 1/GHz.
    pub busy_emc: f64,
    /// `k`, W/(GHz·V²).
    pub cpu_factor: f64,
    /// `s`, 0 to 1.
    pub cpu_idle_share: f64,
    /// `V_min` (V), `V_0` (V), `V_1` (V/GHz).
    pub cpu_volt: [f64; 3],
}

impl PowerLaw {
    /// Power with nothing to do, W.
    #[must_use]
    pub fn idle_w(&self, level: &Level) -> f64 {
        let [base, slope] = self.idle;
        base + slope * ghz(level.gpu_khz)
            + self.idle_emc * (ghz(level.emc_khz) - self.at_emc_ghz)
            + self.cpu_idle_share * self.cpu_step_w(level)
    }

    /// Power while a request runs, W. `activity` is the share of the power above idle that the
    /// network draws; 1 = that of the network the law was fitted to.
    #[must_use]
    pub fn busy_w(&self, level: &Level, activity: f64) -> f64 {
        let ([base, slope, high], [idle_base, idle_slope]) = (self.busy, self.idle);
        let gpu = ghz(level.gpu_khz);
        let at_work =
            (base - idle_base) + (slope - idle_slope) * gpu + high * gpu.powf(self.busy_exponent);
        let memory = 1.0 + self.busy_emc * (ghz(level.emc_khz) - self.at_emc_ghz);
        let launches = (1.0 - self.cpu_idle_share) * self.cpu_step_w(level);
        self.idle_w(level) + activity * (at_work * memory + launches)
    }

    /// What the CPU draws more than at the clock of the fit, W.
    fn cpu_step_w(&self, level: &Level) -> f64 {
        self.cpu_w(ghz(level.cpu_khz)) - self.cpu_w(self.at_cpu_ghz)
    }

    fn cpu_w(&self, ghz: f64) -> f64 {
        let [lowest, base, slope] = self.cpu_volt;
        let volt = lowest.max(base + slope * ghz);
        self.cpu_factor * ghz * volt * volt
    }
}

fn ghz(khz: u32) -> f64 {
    f64::from(khz) / 1e6
}

/// Temperature of the hottest zone: one thermal resistance and one time constant,
/// `T' = (T_ambient + R·P − T)/τ`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ThermalLaw {
    /// `R`, K/W of board input power.
    pub resistance_k_per_w: f64,
    /// `τ`, s.
    pub time_constant_s: f64,
    /// Ambient temperature unless another is given, °C.
    pub ambient_c: f64,
    /// Temperature at which the board lowers its clocks by itself, °C.
    pub throttle_c: f64,
}

impl ThermalLaw {
    /// Temperature that constant power ends at, °C.
    #[must_use]
    pub fn steady_c(&self, power_w: f64, ambient_c: f64) -> f64 {
        ambient_c + self.resistance_k_per_w * power_w
    }

    /// Temperature after `seconds` of constant power, °C: exact, whatever the step.
    #[must_use]
    pub fn after(&self, from_c: f64, power_w: f64, ambient_c: f64, seconds: f64) -> f64 {
        let end = self.steady_c(power_w, ambient_c);
        end + (from_c - end) * (-seconds / self.time_constant_s).exp()
    }
}
