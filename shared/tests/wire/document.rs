//! The tables of `docs/protocol.md` are those of the code.
//!
//! They are generated from the schemas and compared; `COSHIFT_BLESS=1` writes them instead.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use coshift_shared::frame::MAX_FRAME;
use coshift_shared::packet::{CHECK, HEADER, MAX_BODY};
use coshift_shared::policy;
use coshift_shared::schema::{FINGERPRINT, MESSAGES};
use postcard_schema::schema::{DataModelType, DataModelVariant, NamedType};

use crate::message::{FIRST_TO_HOST, capacity, max_bytes, named_types};

/// Bytes of a frame beside its body: COBS code, header, CRC, closing zero.
const AROUND_BODY: usize = 1 + HEADER + CHECK + 1;

fn begin(part: &str) -> String {
    format!("<!-- generated from the code: {part}; COSHIFT_BLESS=1 rewrites it -->\n")
}

fn end(part: &str) -> String {
    format!("<!-- end of {part} -->")
}

/// A type as it stands in a table.
fn type_name(named: &NamedType, path: &str) -> String {
    match named.ty {
        DataModelType::Struct(_) | DataModelType::Enum(_) | DataModelType::NewtypeStruct(_) => {
            format!("[{}](#{})", named.name, named.name.to_lowercase())
        }
        DataModelType::Tuple(items) => match items {
            [first, ..] if items.iter().all(|item| item == first) => {
                format!("{} × {}", items.len(), type_name(first, path))
            }
            _ => panic!("{path}: an array has items of one type"),
        },
        DataModelType::Seq(item) => {
            let (item_name, most) = (type_name(item, path), capacity(path));
            match item.ty {
                DataModelType::Tuple(_) => format!("up to {most} × ({item_name})"),
                _ => format!("up to {most} × {item_name}"),
            }
        }
        DataModelType::Bool => "flag".into(),
        _ => format!("`{}`", named.name),
    }
}

fn fields(named: &NamedType, name: &str) -> String {
    let DataModelType::Struct(fields) = named.ty else { return type_name(named, name) };
    let fields = fields.iter().map(|field| {
        format!("`{}` {}", field.name, type_name(field.ty, &format!("{name}.{}", field.name)))
    });
    fields.collect::<Vec<_>>().join(", ")
}

fn messages() -> String {
    let mut text = String::from(
        "| kind | message | to | fields, in order | body ≤ | frame ≤ |\n|---|---|---|---|---|---|\n",
    );
    for message in MESSAGES {
        let kind = message.kind as u8;
        let to = if kind < FIRST_TO_HOST { "controller" } else { "host" };
        let most = max_bytes(message.schema, message.name);
        writeln!(
            text,
            "| `{kind:#04x}` | {} | {to} | {} | {most} | {} |",
            message.name,
            fields(message.schema, message.name),
            most + AROUND_BODY
        )
        .expect("a string takes it");
    }
    writeln!(text, "\nSchema fingerprint: `{FINGERPRINT:#010x}`.").expect("a string takes it");
    text
}

fn size(most: usize) -> String {
    if most == 1 { "1 byte".into() } else { format!("at most {most} bytes") }
}

fn types() -> String {
    let mut found = BTreeMap::new();
    for message in MESSAGES {
        named_types(message.schema, &mut found);
        // A message is no part of others; an enum that is one is shown among the types.
        if matches!(message.schema.ty, DataModelType::Struct(_)) {
            found.remove(message.name);
        }
    }
    let mut text = String::new();
    for (name, named) in found {
        let most = max_bytes(named, name);
        writeln!(text, "### {name}\n").expect("a string takes it");
        match named.ty {
            DataModelType::Enum(variants) => {
                let variants = variants.iter().enumerate().map(|(index, variant)| {
                    let content = match variant.ty {
                        DataModelVariant::NewtypeVariant(inner) => {
                            format!(" ({})", type_name(inner, name))
                        }
                        _ => String::new(),
                    };
                    format!("{index} {}{content}", variant.name)
                });
                let variants = variants.collect::<Vec<_>>().join(", ");
                writeln!(text, "Enum, {}: {variants}.", size(most)).expect("a string takes it");
            }
            DataModelType::NewtypeStruct(inner) => {
                writeln!(text, "{}, {}.", type_name(inner, name), size(most))
                    .expect("a string takes it");
            }
            _ => {
                writeln!(text, "Struct, {}: {}.", size(most), fields(named, name))
                    .expect("a string takes it");
            }
        }
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn in_crate(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The table in the documentation of module `policy`.
fn policy_image() -> String {
    let source = std::fs::read_to_string(in_crate("src/policy/mod.rs")).expect("the source");
    let rows = source.lines().filter_map(|line| line.strip_prefix("//! |"));
    let table: String = rows.map(|row| format!("|{row}\n")).collect();
    let table = table
        .replace("[`FORMAT`]", &policy::FORMAT.to_string())
        .replace("[`HEADER`]", &policy::HEADER.to_string());
    assert!(table.lines().count() > 20 && !table.contains("[`"), "{table}");
    format!("{table}\nThe largest image has {} bytes.\n", policy::MAX_IMAGE)
}

fn replaced(document: &str, part: &str, content: &str) -> String {
    let (begin, end) = (begin(part), end(part));
    let Some((before, rest)) = document.split_once(&begin) else {
        panic!("docs/protocol.md: the line {begin:?} goes where the table of {part} stands");
    };
    let Some((_, after)) = rest.split_once(&end) else {
        panic!("docs/protocol.md: the line {end:?} goes behind the table of {part}");
    };
    format!("{before}{begin}\n{content}\n{end}{after}")
}

#[test]
fn the_protocol_is_documented() {
    assert_eq!(MAX_FRAME, MAX_BODY + AROUND_BODY);
    let path = in_crate("../docs/protocol.md");
    let document = std::fs::read_to_string(&path).expect("docs/protocol.md");
    let mut fresh = document.clone();
    for (part, content) in
        [("messages", messages()), ("types", types()), ("policy image", policy_image())]
    {
        fresh = replaced(&fresh, part, &content);
    }
    if std::env::var_os("COSHIFT_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&path, fresh).expect("docs/protocol.md can be written");
        return;
    }
    let differs = document.lines().zip(fresh.lines()).position(|(ours, theirs)| ours != theirs);
    assert!(
        document == fresh,
        "docs/protocol.md differs from the code at line {}; COSHIFT_BLESS=1 rewrites its tables",
        differs.map_or(document.lines().count().min(fresh.lines().count()), |line| line) + 1
    );
}
