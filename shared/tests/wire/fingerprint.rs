//! The schema fingerprint: it changes with every message, and with nothing else.

use coshift_shared::kind::Kind;
use coshift_shared::schema::{FINGERPRINT, LIMITS, MESSAGES, MessageSchema, fingerprint};
use coshift_shared::to_controller::{Hello, Query};
use coshift_shared::to_host::Welcome;
use postcard_schema::Schema;
use serde::{Deserialize, Serialize};

/// The fingerprint of this build's messages.
///
/// When this fails, a message changed: that is right while a version is being made and wrong in
/// one that was released. In the first case write the new number here; in the second raise
/// `protocol::CURRENT`, see `docs/protocol.md`.
#[test]
fn the_messages_are_those_of_this_version() {
    assert_eq!(FINGERPRINT, 0x5cca_f09f, "{FINGERPRINT:#010x}");
}

/// The two messages that settle the version never change, in no version, the variants of their
/// enums included: if this fails, change the code, not the test.
#[test]
fn hello_and_welcome_are_frozen() {
    let hello = fingerprint(&[MessageSchema::of::<Hello>(Kind::Hello, "Hello")], &[]);
    let welcome = fingerprint(&[MessageSchema::of::<Welcome>(Kind::Welcome, "Welcome")], &[]);
    assert_eq!((hello, welcome), (0x1a42_bb7b, 0x6596_0b20), "{hello:#010x} {welcome:#010x}");
}

fn with_query(query: MessageSchema) -> u32 {
    let mut messages = MESSAGES;
    let place = messages.iter_mut().find(|message| message.kind == Kind::Query).expect("Query");
    *place = query;
    fingerprint(&messages, &LIMITS)
}

/// Types that differ from `Query` in one thing each.
mod near {
    use super::{Deserialize, Schema, Serialize};

    macro_rules! question {
        ($($variant:ident),*) => {
            #[derive(Serialize, Deserialize, Schema)]
            pub(super) enum Question { $($variant),* }
        };
    }
    macro_rules! query {
        ($module:ident, [$($variant:ident),*], $($field:ident: $type:ty),*) => {
            pub(super) mod $module {
                use super::{Deserialize, Schema, Serialize};
                question!($($variant),*);
                #[derive(Serialize, Deserialize, Schema)]
                pub(in super::super) struct Query { $(pub(super) $field: $type),* }
            }
        };
    }

    query!(same, [Unused, Link, Work, Identity], at_us: u32, what: Question);
    query!(renamed, [Unused, Link, Work, Identity], at_ms: u32, what: Question);
    query!(narrower, [Unused, Link, Work, Identity], at_us: u16, what: Question);
    query!(signed, [Unused, Link, Work, Identity], at_us: i32, what: Question);
    query!(longer, [Unused, Link, Work, Identity], at_us: u32, what: Question, more: bool);
    query!(shorter, [Unused, Link, Work, Identity], what: Question);
    query!(turned, [Unused, Link, Work, Identity], what: Question, at_us: u32);
    query!(appended, [Unused, Link, Work, Identity, Uptime], at_us: u32, what: Question);
    query!(swapped, [Unused, Work, Link, Identity], at_us: u32, what: Question);
}

#[test]
fn it_changes_with_every_field_and_variant() {
    let query = |schema: MessageSchema| with_query(schema);
    macro_rules! of {
        ($module:ident) => {
            query(MessageSchema::of::<near::$module::Query>(Kind::Query, "Query"))
        };
    }
    assert_eq!(of!(same), FINGERPRINT, "an equal type has an equal fingerprint");
    let changed = [
        ("a renamed field", of!(renamed)),
        ("a narrower field", of!(narrower)),
        ("a signed field", of!(signed)),
        ("a field more", of!(longer)),
        ("a field less", of!(shorter)),
        ("another order of fields", of!(turned)),
        ("a variant more", of!(appended)),
        ("another order of variants", of!(swapped)),
        ("another kind", query(MessageSchema::of::<Query>(Kind::Trace, "Query"))),
        ("another name", query(MessageSchema::of::<Query>(Kind::Query, "Ask"))),
    ];
    for (index, (what, print)) in changed.iter().enumerate() {
        assert_ne!(*print, FINGERPRINT, "{what}");
        for (other, same) in &changed[..index] {
            assert_ne!(print, same, "{what} and {other}");
        }
    }
}

#[test]
fn it_changes_with_every_limit_and_message() {
    for limit in 0..LIMITS.len() {
        for change in [-1_isize, 1] {
            let mut limits = LIMITS;
            limits[limit] = limits[limit].wrapping_add_signed(change);
            assert_ne!(fingerprint(&MESSAGES, &limits), FINGERPRINT, "limit {limit} by {change}");
        }
    }
    assert_ne!(fingerprint(&MESSAGES[1..], &LIMITS), FINGERPRINT);
    assert_ne!(fingerprint(&MESSAGES[..MESSAGES.len() - 1], &LIMITS), FINGERPRINT);
    let mut swapped = MESSAGES;
    swapped.swap(0, 1);
    assert_ne!(fingerprint(&swapped, &LIMITS), FINGERPRINT);
}

#[test]
fn it_is_never_0() {
    assert_ne!(FINGERPRINT, 0);
}
