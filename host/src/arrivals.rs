//! Requests that come when they please: what is left of their deadline once others wait.
//!
//! The controller plans with the least distance of two requests. Where only a mean rate is known,
//! some requests find others waiting, and a deadline that each would keep alone is missed by them.
//! For requests of a Poisson process at rate `λ` that one server takes `L` each, the time `W` that
//! one waits is that of a queue M/D/1 (Erlang 1909; Tijms, *A First Course in Stochastic Models*,
//! section 9.6):
//!
//! ```text
//! P(W ≤ t) = (1 − λL) · Σ_{i=0}^{⌊t/L⌋} (λ(iL − t))^i / i! · e^{−λ(iL − t)}
//! ```
//!
//! What a request may take alone is the largest `L` with `P(W > D − L)` at most half of the
//! miss target; the rest is left to the slowdowns. Requests that come in bursts wait longer than
//! this says, those of a bounded rate less.

/// Part of the miss target that waiting may use up.
const SHARE: f64 = 0.5;
/// Shortest part of a deadline that is planned with: where more than so many wait, faster clocks
/// help nobody.
const LEAST: f64 = 1.0 / 8.0;
/// Halvings of the interval that the result lies in: to a microsecond in a second.
const STEPS: usize = 20;

/// The time that a request may take alone, µs, so that of requests coming at random at a mean
/// distance of `period_us` at most a share `miss_target` (0 to 1) ends later than `deadline_us`
/// after its release. Between an eighth of the deadline and the whole.
///
/// ```
/// use coshift_host::arrivals::deadline_alone_us;
///
/// // Hardly any: nobody waits.
/// assert_eq!(deadline_alone_us(250_000, 1_000_000_000, 0.05), 250_000);
/// // Four a second, one in a thousand late: three may be in front.
/// assert_eq!(deadline_alone_us(250_000, 250_000, 0.001) / 1_000, 63);
/// ```
#[must_use]
pub fn deadline_alone_us(deadline_us: u32, period_us: u32, miss_target: f64) -> u32 {
    let (deadline, period) = (f64::from(deadline_us), f64::from(period_us.max(1)));
    let allowed = (miss_target * SHARE).max(1e-9);
    let keeps = |alone: f64| late(deadline - alone, alone, period) <= allowed;
    if keeps(deadline) {
        return deadline_us;
    }
    let (mut low, mut high) = (deadline * LEAST, deadline);
    for _ in 0..STEPS {
        let middle = (low + high) / 2.0;
        if keeps(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low as u32
}

/// `P(W > t)` where each request takes `alone` and they come at a mean distance of `period`.
fn late(t: f64, alone: f64, period: f64) -> f64 {
    let load = alone / period;
    if load >= 1.0 {
        return 1.0;
    }
    let mut sum = 0.0;
    let mut place = 0.0;
    while place * alone <= t {
        // (λ(iL − t))^i / i!, factor by factor: neither power nor factorial grows large.
        let x = (place * alone - t) / period;
        let factors = (1..=place as u32).map(|k| x / f64::from(k));
        sum += factors.product::<f64>() * (-x).exp();
        place += 1.0;
    }
    (1.0 - (1.0 - load) * sum).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::{SHARE, deadline_alone_us, late};

    /// A small generator of our own: xorshift64*.
    fn uniform(state: &mut u64) -> f64 {
        *state ^= *state >> 12;
        *state ^= *state << 25;
        *state ^= *state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Share of a million simulated requests that wait longer than `t`.
    fn simulated(t: f64, alone: f64, period: f64) -> f64 {
        const REQUESTS: u32 = 1_000_000;
        let (mut state, mut now, mut free, mut late) = (88_172_645_463_325_252, 0.0, 0.0_f64, 0);
        for _ in 0..REQUESTS {
            now -= (1.0 - uniform(&mut state)).ln() * period;
            let start = free.max(now);
            late += u32::from(start - now > t);
            free = start + alone;
        }
        f64::from(late) / f64::from(REQUESTS)
    }

    #[test]
    fn waiting_is_that_of_a_simulated_queue() {
        for (t, alone, period) in
            [(0.0, 1.0, 4.0), (1.0, 1.0, 2.0), (2.5, 1.0, 2.0), (3.7, 1.0, 3.0), (6.0, 1.0, 1.5)]
        {
            let (reckoned, seen) = (late(t, alone, period), simulated(t, alone, period));
            let error = (reckoned - seen).abs();
            assert!(error < 0.002 + 0.03 * seen, "{t} {alone} {period}: {reckoned} {seen}");
        }
    }

    #[test]
    fn what_is_left_keeps_the_target_and_is_hardly_too_short() {
        for deadline in [100_000_u32, 180_000, 250_000] {
            for period in [120_000_u32, 167_000, 250_000, 2_000_000] {
                for target in [0.05, 0.01, 0.005] {
                    let alone = f64::from(deadline_alone_us(deadline, period, target));
                    let (deadline, period) = (f64::from(deadline), f64::from(period));
                    let seen = simulated(deadline - alone, alone, period);
                    assert!(seen <= target * SHARE * 1.15 + 1e-4, "{deadline} {period} {target}");
                    let longer = alone * 1.05;
                    let late = simulated(deadline - longer, longer, period);
                    assert!(
                        alone >= deadline * 0.999 || late > target * SHARE * 0.9,
                        "{deadline} {period} {target}: {alone} is too short"
                    );
                }
            }
        }
    }

    #[test]
    fn extremes_stay_within_the_deadline() {
        for (deadline, period, target) in
            [(1, 1, 0.0), (u32::MAX, 1, 0.05), (u32::MAX, u32::MAX, 0.5), (50_000, 0, 1.0)]
        {
            let alone = deadline_alone_us(deadline, period, target);
            assert!(alone <= deadline && alone >= deadline / 8, "{deadline} {period}: {alone}");
        }
    }
}
