//! What turns the programs' source into an object: the pinned toolchain, bpf-linker, LLVM.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::{Object, compare::contains};
use crate::{
    command::{Toolchain, command, output, root, run, target_dir},
    setup::{self, Need},
};

/// The pinned rustc's LLVM; the linker reads rustc's bitcode, so it must have the same.
const LLVM: &str = "22";
const LINKER: &str = "bpf-linker";
const LINKER_VERSION: &str = "0.13.0";
const TARGET: &str = "bpfel-unknown-none";

/// Where LLVM's headers, libraries and tools are installed.
pub(crate) fn llvm_prefix() -> PathBuf {
    env::var_os("LLVM_PREFIX").map_or_else(|| format!("/usr/lib/llvm-{LLVM}").into(), PathBuf::from)
}

/// The tools, all of them there.
#[derive(Debug)]
pub(crate) struct Tools {
    linker: PathBuf,
    /// Directories whose files debug information names, and what it calls them instead.
    places: [(PathBuf, &'static str); 3],
}

impl Tools {
    /// Finds the tools and installs what is missing.
    pub(crate) fn ensure() -> Result<Self> {
        setup::ensure(Need::Ebpf)?;
        let rust_src = "lib/rustlib/src/rust";
        let core = format!("{rust_src}/library/core/src/lib.rs");
        let sysroot = setup::component(Toolchain::Pinned, "rust-src", &core)?;
        let places = [
            (fs::canonicalize(root())?, "bond"),
            (registry()?, "registry"),
            (fs::canonicalize(sysroot.join(rust_src))?, "rust"),
        ];
        Ok(Self { linker: linker()?, places })
    }

    /// Checks the programs by clippy, which the workspace's own run leaves out.
    pub(super) fn lint(&self, object: &Object) -> Result<()> {
        run(self.cargo("clippy", object).args(["--", "-D", "warnings"]))
    }

    /// Builds an object, without debug sections and without a word about this machine.
    pub(super) fn build(&self, object: &Object) -> Result<Vec<u8>> {
        run(&mut self.cargo("build", object))?;

        let linked = build_dir().join(TARGET).join("release").join(object.binary);
        let stripped = build_dir().join(object.binary).with_extension("o");
        let mut strip = command(llvm_prefix().join("bin/llvm-strip"));
        run(strip.arg("--strip-debug").arg(&linked).arg("-o").arg(&stripped))?;
        let object = fs::read(&stripped).with_context(|| format!("no {}", stripped.display()))?;
        for (place, _) in &self.places {
            if contains(&object, place.as_os_str().as_encoded_bytes()) {
                bail!("the object names {}, a directory of this machine", place.display());
            }
        }
        Ok(object)
    }

    /// Cargo on the programs.
    fn cargo(&self, verb: &str, object: &Object) -> Command {
        let mut flags = vec![
            // aya-ebpf asks for a machine even where, as here, nothing depends on it.
            "--cfg=bpf_target_arch=\"x86_64\"".to_owned(),
            // BTF is made of debug information.
            "-Cdebuginfo=2".to_owned(),
            "-Clink-arg=--btf".to_owned(),
            // 32-bit instructions; every kernel with bpf_link for XDP has them.
            "-Ctarget-cpu=v3".to_owned(),
            format!("-Clinker={}", self.linker.display()),
        ];
        let remaps = self.places.iter().map(|(place, name)| format!("{}={name}", place.display()));
        flags.extend(remaps.map(|remap| format!("--remap-path-prefix={remap}")));

        let mut cargo = Toolchain::Pinned.command(&format!(
            "cargo {verb} --quiet --locked --release --target {TARGET} -Z build-std=core \
             --package {} --bins --features programs",
            object.package
        ));
        cargo
            // The eBPF half alone needs unstable features: a target without a built `core`.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
            .env("CARGO_TARGET_DIR", build_dir());
        cargo
    }
}

fn build_dir() -> PathBuf {
    target_dir().join("ebpf")
}

/// A suitable linker: ours, one in the search path, or else one built now.
fn linker() -> Result<PathBuf> {
    let home = target_dir().join("ebpf-tools");
    let ours = home.join("bin").join(LINKER);
    let search_path = env::var_os("PATH").unwrap_or_default();
    let others = env::split_paths(&search_path).map(|dir| dir.join(LINKER));
    if let Some(found) = [ours.clone()].into_iter().chain(others).find(|path| is_suitable(path)) {
        return Ok(found);
    }

    eprintln!("ebpf: building {LINKER} {LINKER_VERSION}, which takes a minute or two, once");
    let mut install = Toolchain::Pinned.command(&format!(
        "cargo install {LINKER} --version {LINKER_VERSION} --locked --quiet \
         --no-default-features --features llvm-{LLVM}"
    ));
    install.arg("--root").arg(&home).env("LLVM_PREFIX", llvm_prefix());
    run(&mut install)?;
    Ok(ours)
}

/// Whether this is the linker in our version, linked to the right LLVM.
fn is_suitable(linker: &Path) -> bool {
    let library = format!("libLLVM.so.{LLVM}.");
    fs::read(linker).is_ok_and(|program| contains(&program, library.as_bytes()))
        && output(command(linker).arg("--version"))
            .is_ok_and(|version| version.trim_end() == format!("{LINKER} {LINKER_VERSION}"))
}

/// Where cargo unpacks the crates that the programs are made of.
fn registry() -> Result<PathBuf> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        manifest_path: PathBuf,
    }

    let mut metadata = Toolchain::Pinned
        .command("cargo metadata --quiet --locked --all-features --format-version 1");
    let Metadata { packages } = serde_json::from_str(&output(&mut metadata)?)?;
    packages
        .iter()
        .find(|package| package.name == "aya-ebpf")
        .and_then(|package| package.manifest_path.ancestors().nth(2))
        .map(Path::to_owned)
        .context("cargo knows no package aya-ebpf")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linker_has_the_llvm_of_the_pinned_rustc() {
        let version = output(&mut Toolchain::Pinned.command("rustc -vV")).unwrap();
        assert!(version.contains(&format!("\nLLVM version: {LLVM}.")), "{version}");
    }
}
