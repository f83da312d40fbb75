//! The same loop compiled for the instruction sets a machine may have, chosen at run time.

/// Defines a function whose body is compiled once as it is and once for AVX2 and FMA, and that
/// calls the one the machine can run. The body is plain Rust; the compiler vectorises it.
macro_rules! dispatched {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $body:block) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name($($arg: $ty),*) {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn body($($arg: $ty),*) $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn wide($($arg: $ty),*) { body($($arg),*) }
                if std::arch::is_x86_feature_detected!("avx2")
                    && std::arch::is_x86_feature_detected!("fma")
                {
                    // SAFETY: the machine has both instruction sets, as was just checked.
                    return unsafe { wide($($arg),*) };
                }
            }
            body($($arg),*);
        }
    };
}
pub(crate) use dispatched;
