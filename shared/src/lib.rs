//! Messages, units, framing and the policy image: the only place that knows bytes.
#![no_std]
#![forbid(unsafe_code)]
