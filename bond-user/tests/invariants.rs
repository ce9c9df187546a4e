//! The invariants of ARCHITECTURE.md that can be read off the source.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// Every Rust file below `dir`, with its path relative to `dir`.
fn sources(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(dir).unwrap().to_path_buf(), text));
            }
        }
    }
    found
}

/// Files outside `rooms` whose code names one of `words`.
fn strangers(rooms: &[&str], words: &[&str]) -> Vec<PathBuf> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let all = sources(&src);
    assert!(all.len() > 40, "the source was found");
    all.into_iter()
        .filter(|(path, _)| !rooms.iter().any(|room| path.starts_with(room)))
        .filter(|(_, text)| {
            text.lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .any(|line| words.iter().any(|word| line.contains(word)))
        })
        .map(|(path, _)| path)
        .collect()
}

#[test]
fn af_xdp_is_named_under_xsk_only() {
    let words = ["xsk_rs", "libbpf_sys", "libxdp_sys", "mmap("];
    assert_eq!(strangers(&["xsk"], &words), Vec::<PathBuf>::new());
}

#[test]
fn aya_is_named_under_port_only() {
    assert_eq!(strangers(&["port"], &["aya::"]), Vec::<PathBuf>::new());
}

#[test]
fn modes_and_monitors_know_no_clock_socket_or_thread() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for room in ["mode", "watch"] {
        for (path, text) in sources(&src.join(room)) {
            for word in ["Instant", "SystemTime", "std::thread", "std::net", "rustix", "libc"] {
                assert!(!text.contains(word), "{room}/{} names {word}", path.display());
            }
        }
    }
}
