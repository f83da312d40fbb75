//! Instruction sets, found at run time.

use std::fmt;

/// An instruction set that this machine has. Only [`Isa::best`] and [`Isa::available`] make one, so
/// holding an `Isa` is the proof that its kernels can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(pub(super) Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Isa {
    /// Every instruction set that the kernels are compiled for and the machine has, slowest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut, reason = "nothing is added on other architectures")]
        let mut found = vec![Self(Kind::Scalar)];
        #[cfg(target_arch = "x86_64")]
        {
            let wide = std::arch::is_x86_feature_detected!("avx2")
                && std::arch::is_x86_feature_detected!("fma");
            if wide {
                found.push(Self(Kind::Avx2));
            }
            if wide && std::arch::is_x86_feature_detected!("avx512f") {
                found.push(Self(Kind::Avx512));
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            found.push(Self(Kind::Neon));
        }
        found
    }

    /// The widest one.
    #[must_use]
    pub fn best() -> Self {
        Self::available().pop().unwrap_or(Self(Kind::Scalar))
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "AVX2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "AVX-512",
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => "NEON",
        })
    }
}

/// Defines `unsafe fn name(isa, args)` that runs `body::<V>(args)`, an `#[inline(always)]` function,
/// compiled for the instruction set of `isa`.
macro_rules! kernel {
    ($(#[$doc:meta])* unsafe fn $name:ident($ty:ty) = $body:ident) => {
        $(#[$doc])*
        pub(crate) unsafe fn $name(isa: $crate::kernels::blocked::Isa, args: &$ty) {
            use $crate::kernels::blocked::isa::Kind;
            use $crate::kernels::blocked::vector;
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2(args: &$ty) {
                // SAFETY: the caller's promise about `args`; the features are this function's.
                unsafe { $body::<vector::Avx2>(args) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx2,fma")]
            unsafe fn avx512(args: &$ty) {
                // SAFETY: the caller's promise about `args`; the features are this function's.
                unsafe { $body::<vector::Avx512>(args) }
            }
            #[cfg(target_arch = "aarch64")]
            #[target_feature(enable = "neon")]
            unsafe fn neon(args: &$ty) {
                // SAFETY: the caller's promise about `args`; the features are this function's.
                unsafe { $body::<vector::Neon>(args) }
            }
            // SAFETY: the caller's promise about `args`; an `Isa` exists only where the machine has
            // its features.
            unsafe {
                match isa.0 {
                    Kind::Scalar => $body::<vector::Scalar>(args),
                    #[cfg(target_arch = "x86_64")]
                    Kind::Avx2 => avx2(args),
                    #[cfg(target_arch = "x86_64")]
                    Kind::Avx512 => avx512(args),
                    #[cfg(target_arch = "aarch64")]
                    Kind::Neon => neon(args),
                }
            }
        }
    };
}
pub(super) use kernel;
