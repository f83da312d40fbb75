//! Plugin of the emulator (`qemu-system-arm`, plugin interface version 1): counts the instructions
//! that chosen functions of an unmodified image take.
//!
//! A function's count runs from its first instruction to its return, its callees among it, and
//! without the exception handlers that interrupt it: those are counted apart. A *wake* is what the
//! core does between two `wfi`.
//!
//! Arguments:
//!
//! * `out=FILE`: where the records go
//! * `reset=ADDRESS`: first instruction of a boot; whatever was open before it is forgotten
//! * `handler=NAME:ADDRESS`: first instruction of an exception handler
//! * `function=NAME:ADDRESS`: first instruction of a function to be counted
//!
//! Records are lines of words, in the order of events, complete whenever the core sleeps:
//!
//! * `boot`
//! * `call NAME OWN HANDLERS OUTER`: a call has ended: its instructions, those of the handlers that
//!   interrupted it, and the innermost counted function it was called from (`-`: none)
//! * `wake OWN HANDLERS NAMES`: the core goes to sleep again: instructions since it last did, apart
//!   from those in handlers, those in handlers, and which handlers ran (`-`: none)
//! * `function NAME CALLS MIN MAX SUM`, at the end, one a function that was called
//! * `handlers ENTRIES INSTRUCTIONS`, at the end
//!
//! What it takes for granted: functions return to the instruction behind the call, or leave by a call
//! in tail position; none calls itself, directly or not; exception handlers are only entered by
//! exceptions. Release images of this workspace are so (`cargo xtask sizes` refuses recursion).

mod count;
#[cfg(not(test))]
mod plugin;
mod thumb;
