//! Files that have no end or are larger than any of their kind: named, at once and in little memory.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use coshift_engine::images::{self, Half, ImageSet};
use coshift_engine::import::Checkpoint;
use coshift_engine::model::{self, Model};
use coshift_engine::tensors::{self, FileFault, TensorFile, read_text, read_whole};

/// A folder of a test's own, empty.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bounded-{name}"));
    if folder.exists() {
        std::fs::remove_dir_all(&folder).unwrap();
    }
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A file of so many zero bytes, none of them on the disk.
fn sparse(path: &Path, bytes: u64) {
    File::create(path).unwrap().set_len(bytes).unwrap();
}

/// What a reader says to a path, within seconds: one that waits or reads on is not waited for.
fn said(
    path: &Path,
    read: impl FnOnce(&Path) -> Result<(), FileFault> + Send + 'static,
) -> FileFault {
    let (tell, told) = mpsc::channel();
    let path = path.to_owned();
    std::thread::spawn(move || tell.send(read(&path)));
    told.recv_timeout(Duration::from_secs(20)).expect("an answer at once").unwrap_err()
}

type Reader = fn(&Path) -> Result<(), FileFault>;

/// Everything that reads a file of which it knows only the name.
const READERS: [(&str, Reader, u64); 3] = [
    ("a checkpoint", |path| Checkpoint::read_file(path).map(drop), tensors::MOST_BYTES),
    ("tensors", |path| TensorFile::read(path).map(drop), tensors::MOST_BYTES),
    ("a text", |path| read_text(path, 100).map(drop), 100),
];

#[test]
fn what_is_no_file_is_not_read() {
    let folder = folder("irregular");
    let fifo = folder.join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let link = folder.join("link");
    std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
    for path in [Path::new("/dev/zero"), &link, &fifo, &folder] {
        for (what, read, _) in READERS {
            let fault = said(path, read);
            assert!(matches!(fault, FileFault::Irregular { .. }), "{what}: {fault}");
            assert_eq!(fault.to_string(), format!("{}: not a regular file", path.display()));
        }
    }
    // A model folder whose description is none.
    std::os::unix::fs::symlink("/dev/zero", folder.join(model::FILE)).unwrap();
    let fault = said(&folder, |path| Model::read(path).map(drop));
    assert!(matches!(fault, FileFault::Irregular { .. }), "{fault}");
}

#[test]
fn a_file_over_its_limit_is_not_read() {
    let folder = folder("large");
    let path = folder.join("large");
    for (what, read, most) in READERS {
        sparse(&path, most + 1);
        let fault = said(&path, read);
        assert!(matches!(fault, FileFault::TooLarge { .. }), "{what}: {fault}");
        let want = format!("{}: more than {most} bytes, the most that is read", path.display());
        assert_eq!(fault.to_string(), want);
    }
    sparse(&folder.join(model::FILE), model::MOST_BYTES + 1);
    let fault = said(&folder, |path| Model::read(path).map(drop));
    assert!(matches!(fault, FileFault::TooLarge { .. }), "{fault}");
    for name in ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"] {
        sparse(&folder.join(name), images::MOST_BYTES + 1);
    }
    let fault = said(&folder, |path| ImageSet::read(path, Half::Test).map(drop));
    assert!(matches!(fault, FileFault::TooLarge { .. }), "{fault}");
}

#[test]
fn a_file_of_its_limit_is_read_whole() {
    let path = folder("exact").join("text");
    std::fs::write(&path, "0123456789").unwrap();
    assert_eq!(read_whole(&path, 10).unwrap(), b"0123456789");
    assert!(matches!(read_whole(&path, 9), Err(FileFault::TooLarge { most: 9, .. })));
    assert_eq!(read_text(&path, 10).unwrap(), "0123456789");
    std::fs::write(&path, [b'a', 0xff]).unwrap();
    let fault = read_text(&path, 10).unwrap_err().to_string();
    assert!(fault.contains("not a text in UTF-8: invalid utf-8 sequence"), "{fault}");
}

/// The system's own files say that they are empty, and are not.
#[test]
#[cfg(target_os = "linux")]
fn a_size_that_is_not_true_changes_nothing() {
    let path = Path::new("/proc/self/maps");
    assert_eq!(path.metadata().unwrap().len(), 0);
    assert!(!read_whole(path, 1 << 20).unwrap().is_empty());
    assert!(matches!(read_whole(path, 10), Err(FileFault::TooLarge { most: 10, .. })));
}
