//! `cargo xtask setup`: finds what this machine lacks, and installs it where it can.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use crate::{
    command::{Toolchain, as_root, command, is_root, output, run},
    ebpf,
};

/// What is about to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Need {
    /// Build `bond` and run it
    Build,
    /// `cargo xtask test`, without the eBPF tools
    Test,
    /// Build the XDP programs
    Ebpf,
}

#[derive(Args, Debug)]
pub(crate) struct SetupArgs {
    /// What to get ready for; everything, unless said
    need: Option<Need>,
}

pub(crate) fn setup(args: &SetupArgs) -> Result<()> {
    let needs = args.need.map_or_else(|| vec![Need::Test, Need::Ebpf], |need| vec![need]);
    for need in needs {
        match need {
            Need::Build | Need::Test => ensure(need)?,
            Need::Ebpf => drop(ebpf::Tools::ensure()?),
        }
    }
    eprintln!("setup: everything needed is there");
    Ok(())
}

/// Something is missing that no command of ours can bring to this machine.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unobtainable(String);

/// How one sees, without starting anything, that a part is there.
enum Probe {
    /// In the search path.
    Program(&'static str),
    /// Where the C compiler looks.
    Header(&'static str),
    /// The library that bindgen loads.
    Libclang,
    /// Under [`ebpf::llvm_prefix`].
    Llvm(&'static str),
}

/// Something the project asks of a machine, and the packages that bring it.
struct Part {
    need: Need,
    probe: Probe,
    debian: &'static str,
    fedora: &'static str,
}

const fn part(need: Need, probe: Probe, debian: &'static str, fedora: &'static str) -> Part {
    Part { need, probe, debian, fedora }
}

const PARTS: [Part; 13] = [
    part(Need::Build, Probe::Program("cc"), "gcc", "gcc"),
    part(Need::Build, Probe::Header("stdio.h"), "libc6-dev", "glibc-devel"),
    part(Need::Build, Probe::Header("linux/if_xdp.h"), "linux-libc-dev", "kernel-headers"),
    part(Need::Build, Probe::Program("make"), "make", "make"),
    part(Need::Build, Probe::Program("pkg-config"), "pkg-config", "pkgconf-pkg-config"),
    part(Need::Build, Probe::Program("m4"), "m4", "m4"),
    part(Need::Build, Probe::Program("clang"), "clang", "clang"),
    part(Need::Build, Probe::Libclang, "libclang-dev", "clang-devel"),
    part(Need::Build, Probe::Header("libelf.h"), "libelf-dev", "elfutils-libelf-devel"),
    part(Need::Build, Probe::Header("zlib.h"), "zlib1g-dev", "zlib-devel"),
    part(Need::Build, Probe::Program("ip"), "iproute2", "iproute"),
    part(Need::Test, Probe::Program("ethtool"), "ethtool", "ethtool"),
    part(Need::Ebpf, Probe::Llvm("include/llvm-c/Core.h"), "llvm-22-dev", "llvm-devel"),
];

/// Directories in which parts are looked for.
struct Places {
    programs: Vec<PathBuf>,
    headers: Vec<PathBuf>,
    libraries: Vec<PathBuf>,
    llvm: PathBuf,
}

impl Places {
    /// Of this machine.
    fn here() -> Self {
        let paths = |variable| {
            env::var_os(variable).map_or_else(Vec::new, |paths| env::split_paths(&paths).collect())
        };
        // Debian leaves the administrator's programs out of a user's search path.
        let mut programs: Vec<_> = paths("PATH");
        programs.extend(["/usr/sbin", "/sbin"].map(PathBuf::from));

        let triple = format!("{}-linux-gnu", env::consts::ARCH);
        let mut headers: Vec<_> = paths("CPATH");
        headers.extend(["/usr/include", "/usr/local/include"].map(PathBuf::from));
        headers.push(Path::new("/usr/include").join(&triple));

        let mut libraries: Vec<_> = paths("LIBCLANG_PATH");
        libraries.extend(["/usr/lib64", "/usr/lib", "/usr/local/lib"].map(PathBuf::from));
        libraries.push(Path::new("/usr/lib").join(&triple));
        let installed = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
        libraries.extend(
            installed
                .filter(|entry| entry.file_name().to_string_lossy().starts_with("llvm"))
                .map(|entry| entry.path().join("lib")),
        );

        Self { programs, headers, libraries, llvm: ebpf::llvm_prefix() }
    }

    fn has(&self, probe: &Probe) -> bool {
        let in_any =
            |places: &[PathBuf], name| places.iter().any(|place| place.join(name).is_file());
        match *probe {
            Probe::Program(name) => in_any(&self.programs, name),
            Probe::Header(name) => in_any(&self.headers, name),
            Probe::Llvm(name) => self.llvm.join(name).is_file(),
            Probe::Libclang => self.libraries.iter().any(|place| {
                let files = fs::read_dir(place).into_iter().flatten().flatten();
                files.map(|file| file.file_name()).any(|name| is_libclang(&name.to_string_lossy()))
            }),
        }
    }

    fn missing(&self, need: Need) -> Vec<&'static Part> {
        let asked =
            |part: &&Part| part.need == need || (need == Need::Test && part.need == Need::Build);
        PARTS.iter().filter(asked).filter(|part| !self.has(&part.probe)).collect()
    }
}

/// Names under which bindgen looks for it: `libclang.so`, `libclang.so.1`, `libclang-14.so.1`.
fn is_libclang(name: &str) -> bool {
    name.strip_prefix("libclang").and_then(|rest| rest.split_once(".so")).is_some_and(
        |(version, _)| {
            version.trim_start_matches('-').chars().all(|c| c.is_ascii_digit() || c == '.')
        },
    )
}

/// Makes sure that all `need` asks for is there, installing what is not.
///
/// # Errors
///
/// [`Unobtainable`] names the packages when this machine has no means to install them.
pub(crate) fn ensure(need: Need) -> Result<()> {
    let missing = Places::here().missing(need);
    if !missing.is_empty() {
        install(&missing)?;
        let still: Vec<_> = Places::here().missing(need).iter().map(|part| part.debian).collect();
        if !still.is_empty() {
            bail!("installed, but still not found: what {} brings", still.join(", "));
        }
    }
    if need == Need::Test {
        component(Toolchain::Pinned, "rustfmt", "bin/rustfmt")?;
        component(Toolchain::Pinned, "clippy", "bin/cargo-clippy")?;
    }
    Ok(())
}

/// Makes sure that the component of a toolchain, known by one of its files, is there.
///
/// Returns the toolchain's directory.
pub(crate) fn component(toolchain: Toolchain, name: &str, file: &str) -> Result<PathBuf> {
    let sysroot = output(toolchain.command("rustc").args(["--print", "sysroot"]))?;
    let sysroot = PathBuf::from(sysroot.trim_end());
    if !sysroot.join(file).exists() {
        eprintln!("setup: adding {name} to the toolchain in {}", sysroot.display());
        run(toolchain.command("rustup").args(["component", "add", name]).stdout(io::stderr()))?;
    }
    Ok(sysroot)
}

fn install(parts: &[&Part]) -> Result<()> {
    let packages: Vec<_> = parts.iter().map(|part| part.debian).collect();
    let by_hand = |why: &str| {
        let fedora: Vec<_> = parts.iter().map(|part| part.fedora).collect();
        Unobtainable(format!(
            "{why}; Debian, Ubuntu: apt-get install {}; Fedora: dnf install {}",
            packages.join(" "),
            fedora.join(" ")
        ))
    };

    let places = Places::here();
    if !places.has(&Probe::Program("apt-get")) {
        bail!(by_hand("parts are missing and there is no apt-get to install them with"));
    }
    if !is_root() && !places.has(&Probe::Program("sudo")) {
        bail!(by_hand("parts are missing and installing them takes root or sudo"));
    }

    eprintln!("setup: installing {}", packages.join(" "));
    let mut apt_install = apt_get("install");
    apt_install.arg("--no-install-recommends").args(&packages);
    if has_package_lists() && run(&mut apt_install).is_ok() {
        return Ok(());
    }
    run(&mut apt_get("update")).context("the package lists cannot be had")?;
    let unknown: Vec<_> = packages.iter().copied().filter(|package| !is_package(package)).collect();
    if !unknown.is_empty() {
        bail!(by_hand(&format!("apt-get knows no {}", unknown.join(", "))));
    }
    run(&mut apt_install)
}

/// `apt-get` with the rights of root and without questions; it talks on stderr.
fn apt_get(verb: &str) -> Command {
    let mut apt = as_root("env");
    apt.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet", "--yes"])
        .args(["-o", "DPkg::Lock::Timeout=300", verb])
        .stdout(io::stderr());
    apt
}

fn has_package_lists() -> bool {
    let lists = fs::read_dir("/var/lib/apt/lists").into_iter().flatten().flatten();
    lists.into_iter().any(|list| list.file_name().to_string_lossy().contains("_Packages"))
}

fn is_package(name: &str) -> bool {
    let mut show = command("apt-cache");
    show.args(["show", "--no-all-versions", name]).stdout(Stdio::null()).stderr(Stdio::null());
    run(&mut show).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with nothing on it.
    fn bare(root: &Path) -> Places {
        let [programs, headers, libraries] = ["bin", "include", "lib"].map(|place| {
            fs::create_dir(root.join(place)).unwrap();
            vec![root.join(place)]
        });
        Places { programs, headers, libraries, llvm: root.join("llvm") }
    }

    fn packages(parts: &[&Part]) -> Vec<&'static str> {
        parts.iter().map(|part| part.debian).collect()
    }

    #[test]
    fn a_part_is_missing_until_its_file_is_there() {
        let root = tempfile::tempdir().unwrap();
        let places = bare(root.path());
        assert_eq!(places.missing(Need::Build).len(), 11);
        assert_eq!(places.missing(Need::Test).len(), 12);
        assert_eq!(packages(&places.missing(Need::Ebpf)), ["llvm-22-dev"]);

        for program in ["bin/cc", "bin/make", "bin/pkg-config", "bin/clang", "bin/ip"] {
            fs::write(root.path().join(program), "").unwrap();
        }
        fs::create_dir(root.path().join("include/linux")).unwrap();
        for header in ["stdio.h", "linux/if_xdp.h", "zlib.h"] {
            fs::write(root.path().join("include").join(header), "").unwrap();
        }
        fs::write(root.path().join("lib/libclang-14.so.14.0.6"), "").unwrap();
        assert_eq!(packages(&places.missing(Need::Build)), ["m4", "libelf-dev"]);
        assert_eq!(packages(&places.missing(Need::Test)), ["m4", "libelf-dev", "ethtool"]);
    }

    #[test]
    fn other_libraries_of_clang_are_not_libclang() {
        for name in ["libclang.so", "libclang.so.1", "libclang-14.so.1", "libclang-14.0.6.so"] {
            assert!(is_libclang(name), "{name}");
        }
        for name in ["libclang-cpp.so.14", "libclang-14.a", "libclangAST.so", "libclc.so"] {
            assert!(!is_libclang(name), "{name}");
        }
    }

    #[test]
    fn this_machine_has_what_linked_these_tests() {
        assert!(Places::here().has(&Probe::Program("cc")));
        assert!(Places::here().has(&Probe::Header("stdio.h")));
        assert!(!Places::here().has(&Probe::Header("no/such/header.h")));
    }
}
