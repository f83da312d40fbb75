//! Vectors of 16 lanes in each instruction set.

use super::{LANES, Lanes};
use crate::family::Activation;

/// 16 lanes of `f32`.
///
/// # Safety
/// Every method may be called only where the instruction set of the type is enabled; loads and
/// stores need a place that is valid for that access.
pub(super) trait Vector: Copy {
    /// Blocks of outputs that a pointwise tile may have, at most 3.
    const GROUP: usize;
    /// Pixels of a pointwise tile of 1, 2 and 3 blocks, at most 8.
    const PIXELS: [usize; 3];
    /// Pixels of a depthwise tile, at most 8.
    const COLUMNS: usize;
    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(place: *const Lanes) -> Self;
    unsafe fn store(self, place: *mut Lanes);
    /// `self + a·b`.
    unsafe fn fma(self, a: Self, b: Self) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn max(self, other: Self) -> Self;
    unsafe fn min(self, other: Self) -> Self;

    /// The activation of every lane.
    #[inline(always)]
    unsafe fn activate(self, activation: Option<Activation>) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            match activation {
                None => self,
                Some(Activation::Relu) => self.max(Self::splat(0.0)),
                Some(Activation::HSwish) => self.mul(self.gate()),
            }
        }
    }

    /// h-sigmoid, min(max(z + 3, 0), 6)/6.
    #[inline(always)]
    unsafe fn gate(self) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            self.add(Self::splat(3.0))
                .max(Self::splat(0.0))
                .min(Self::splat(6.0))
                .mul(Self::splat(1.0 / 6.0))
        }
    }
}

/// Plain Rust, for machines without any of the others.
#[derive(Clone, Copy)]
pub(super) struct Scalar([f32; LANES]);

macro_rules! lanewise {
    ($name:ident, |$a:ident, $b:ident| $value:expr) => {
        #[inline(always)]
        unsafe fn $name(self, other: Self) -> Self {
            let mut out = self.0;
            for lane in 0..LANES {
                let ($a, $b) = (self.0[lane], other.0[lane]);
                out[lane] = $value;
            }
            Self(out)
        }
    };
}

impl Vector for Scalar {
    const GROUP: usize = 1;
    const PIXELS: [usize; 3] = [2, 1, 1];
    const COLUMNS: usize = 2;
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self([x; LANES])
    }
    #[inline(always)]
    unsafe fn load(place: *const Lanes) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { (*place).0 })
    }
    #[inline(always)]
    unsafe fn store(self, place: *mut Lanes) {
        // SAFETY: the caller's promise.
        unsafe { (*place).0 = self.0 }
    }
    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        let mut out = self.0;
        for lane in 0..LANES {
            // Two roundings: `mul_add` would call a library where there is no such instruction.
            out[lane] += a.0[lane] * b.0[lane];
        }
        Self(out)
    }
    lanewise!(add, |a, b| a + b);
    lanewise!(mul, |a, b| a * b);
    lanewise!(max, |a, b| if a > b { a } else { b });
    lanewise!(min, |a, b| if a < b { a } else { b });
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64 as x;

    use super::{Lanes, Vector};

    /// Two registers of 8 lanes.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx2(x::__m256, x::__m256);

    /// One register.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx512(x::__m512);

    macro_rules! halves {
        ($name:ident, $intrinsic:ident) => {
            #[inline(always)]
            unsafe fn $name(self, other: Self) -> Self {
                // SAFETY: AVX2 is the caller's promise.
                unsafe { Self(x::$intrinsic(self.0, other.0), x::$intrinsic(self.1, other.1)) }
            }
        };
    }

    impl Vector for Avx2 {
        const GROUP: usize = 1;
        const PIXELS: [usize; 3] = [6, 3, 2];
        const COLUMNS: usize = 4;
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: AVX2 is the caller's promise.
            unsafe { Self(x::_mm256_set1_ps(value), x::_mm256_set1_ps(value)) }
        }
        #[inline(always)]
        unsafe fn load(place: *const Lanes) -> Self {
            let place = place.cast::<f32>();
            // SAFETY: AVX2 and a valid place are the caller's promise; `Lanes` are aligned.
            unsafe { Self(x::_mm256_load_ps(place), x::_mm256_load_ps(place.add(8))) }
        }
        #[inline(always)]
        unsafe fn store(self, place: *mut Lanes) {
            let place = place.cast::<f32>();
            // SAFETY: AVX2 and a valid place are the caller's promise; `Lanes` are aligned.
            unsafe {
                x::_mm256_store_ps(place, self.0);
                x::_mm256_store_ps(place.add(8), self.1);
            }
        }
        #[inline(always)]
        unsafe fn fma(self, a: Self, b: Self) -> Self {
            // SAFETY: FMA is the caller's promise.
            unsafe {
                Self(x::_mm256_fmadd_ps(a.0, b.0, self.0), x::_mm256_fmadd_ps(a.1, b.1, self.1))
            }
        }
        halves!(add, _mm256_add_ps);
        halves!(mul, _mm256_mul_ps);
        halves!(max, _mm256_max_ps);
        halves!(min, _mm256_min_ps);
    }

    macro_rules! whole {
        ($name:ident, $intrinsic:ident) => {
            #[inline(always)]
            unsafe fn $name(self, other: Self) -> Self {
                // SAFETY: AVX-512 is the caller's promise.
                unsafe { Self(x::$intrinsic(self.0, other.0)) }
            }
        };
    }

    impl Vector for Avx512 {
        const GROUP: usize = 3;
        const PIXELS: [usize; 3] = [8, 8, 8];
        const COLUMNS: usize = 8;
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: AVX-512 is the caller's promise.
            unsafe { Self(x::_mm512_set1_ps(value)) }
        }
        #[inline(always)]
        unsafe fn load(place: *const Lanes) -> Self {
            // SAFETY: AVX-512 and a valid place are the caller's promise; `Lanes` are aligned.
            unsafe { Self(x::_mm512_load_ps(place.cast())) }
        }
        #[inline(always)]
        unsafe fn store(self, place: *mut Lanes) {
            // SAFETY: AVX-512 and a valid place are the caller's promise; `Lanes` are aligned.
            unsafe { x::_mm512_store_ps(place.cast(), self.0) }
        }
        #[inline(always)]
        unsafe fn fma(self, a: Self, b: Self) -> Self {
            // SAFETY: AVX-512 is the caller's promise.
            unsafe { Self(x::_mm512_fmadd_ps(a.0, b.0, self.0)) }
        }
        whole!(add, _mm512_add_ps);
        whole!(mul, _mm512_mul_ps);
        whole!(max, _mm512_max_ps);
        whole!(min, _mm512_min_ps);
    }
}

#[cfg(target_arch = "aarch64")]
pub(super) use arm::Neon;

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::arch::aarch64 as n;

    use super::{Lanes, Vector};

    /// Four registers of 4 lanes.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Neon([n::float32x4_t; 4]);

    macro_rules! quarters {
        ($name:ident, $intrinsic:ident) => {
            #[inline(always)]
            unsafe fn $name(self, other: Self) -> Self {
                let (a, b) = (self.0, other.0);
                // SAFETY: NEON is the caller's promise.
                unsafe {
                    Self([
                        n::$intrinsic(a[0], b[0]),
                        n::$intrinsic(a[1], b[1]),
                        n::$intrinsic(a[2], b[2]),
                        n::$intrinsic(a[3], b[3]),
                    ])
                }
            }
        };
    }

    impl Vector for Neon {
        const GROUP: usize = 1;
        const PIXELS: [usize; 3] = [6, 3, 2];
        const COLUMNS: usize = 4;
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: NEON is the caller's promise.
            unsafe { Self([n::vdupq_n_f32(value); 4]) }
        }
        #[inline(always)]
        unsafe fn load(place: *const Lanes) -> Self {
            let place = place.cast::<f32>();
            // SAFETY: NEON and a valid place are the caller's promise.
            unsafe {
                Self([
                    n::vld1q_f32(place),
                    n::vld1q_f32(place.add(4)),
                    n::vld1q_f32(place.add(8)),
                    n::vld1q_f32(place.add(12)),
                ])
            }
        }
        #[inline(always)]
        unsafe fn store(self, place: *mut Lanes) {
            let place = place.cast::<f32>();
            // SAFETY: NEON and a valid place are the caller's promise.
            unsafe {
                n::vst1q_f32(place, self.0[0]);
                n::vst1q_f32(place.add(4), self.0[1]);
                n::vst1q_f32(place.add(8), self.0[2]);
                n::vst1q_f32(place.add(12), self.0[3]);
            }
        }
        #[inline(always)]
        unsafe fn fma(self, a: Self, b: Self) -> Self {
            // SAFETY: NEON is the caller's promise.
            unsafe {
                Self([
                    n::vfmaq_f32(self.0[0], a.0[0], b.0[0]),
                    n::vfmaq_f32(self.0[1], a.0[1], b.0[1]),
                    n::vfmaq_f32(self.0[2], a.0[2], b.0[2]),
                    n::vfmaq_f32(self.0[3], a.0[3], b.0[3]),
                ])
            }
        }
        quarters!(add, vaddq_f32);
        quarters!(mul, vmulq_f32);
        quarters!(max, vmaxq_f32);
        quarters!(min, vminq_f32);
    }
}
