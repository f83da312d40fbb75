//! The header is what the source says.

use std::path::Path;

/// Set to write the header instead of comparing it.
const WRITE: &str = "COSHIFT_WRITE_HEADER";

#[test]
fn the_header_is_that_of_the_source() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(package.join("cbindgen.toml")).unwrap();
    let mut builder = cbindgen::Builder::new().with_config(config);
    // Source files alone: without the workspace's metadata, which cargo would have to be asked for.
    for file in ["types.rs", "node.rs"] {
        builder = builder.with_src(package.join("src").join(file));
    }
    let mut text = Vec::new();
    builder.generate().unwrap().write(&mut text);
    let text = String::from_utf8(text).unwrap();
    let path = package.join("include/coshift.h");
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == text,
        "{} differs from the source: run {WRITE}=1 cargo test -p coshift-capi --test header",
        path.display()
    );
}
