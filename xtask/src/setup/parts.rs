//! What the project asks of a machine, and how one sees that it is there.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use self::Probe::{Header, Libclang, Llvm, Program};
use super::Need;
use crate::ebpf;

/// How one sees, without starting anything, that a part is there.
pub(super) enum Probe {
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
pub(super) struct Part {
    probe: Probe,
    pub(super) debian: &'static str,
    pub(super) fedora: &'static str,
}

const fn part(probe: Probe, debian: &'static str, fedora: &'static str) -> Part {
    Part { probe, debian, fedora }
}

static BUILD: [Part; 11] = [
    part(Program("cc"), "gcc", "gcc"),
    part(Program("make"), "make", "make"),
    part(Program("m4"), "m4", "m4"),
    part(Program("pkg-config"), "pkg-config", "pkgconf-pkg-config"),
    part(Program("clang"), "clang", "clang"),
    part(Libclang, "libclang-dev", "clang-devel"),
    part(Header("stdio.h"), "libc6-dev", "glibc-devel"),
    part(Header("linux/if_xdp.h"), "linux-libc-dev", "kernel-headers"),
    part(Header("libelf.h"), "libelf-dev", "elfutils-libelf-devel"),
    part(Header("zlib.h"), "zlib1g-dev", "zlib-devel"),
    part(Program("ip"), "iproute2", "iproute"),
];

static TEST: [Part; 2] = [
    part(Program("ethtool"), "ethtool", "ethtool"),
    part(Program("sysctl"), "procps", "procps-ng"),
];

static EBPF: [Part; 1] = [part(Llvm("include/llvm-c/Core.h"), "llvm-22-dev", "llvm-devel")];

static PEERS: [Part; 2] = [
    // Its drivers come with it.
    part(Program("dpdk-testpmd"), "dpdk-dev", "dpdk-tools"),
    part(Program("ovs-vswitchd"), "openvswitch-switch", "openvswitch"),
];

/// All that `need` asks for.
fn parts(need: Need) -> impl Iterator<Item = &'static Part> {
    let (first, more): (&[Part], &[Part]) = match need {
        Need::Build => (&BUILD, &[]),
        Need::Test => (&BUILD, &TEST),
        Need::Ebpf => (&EBPF, &[]),
        Need::Peers => (&PEERS, &[]),
    };
    first.iter().chain(more)
}

/// Directories in which parts are looked for.
pub(super) struct Places {
    programs: Vec<PathBuf>,
    headers: Vec<PathBuf>,
    libraries: Vec<PathBuf>,
    llvm: PathBuf,
}

impl Places {
    /// Of this machine.
    pub(super) fn here() -> Self {
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

    pub(super) fn has(&self, probe: &Probe) -> bool {
        let in_any =
            |places: &[PathBuf], name| places.iter().any(|place| place.join(name).is_file());
        match *probe {
            Program(name) => in_any(&self.programs, name),
            Header(name) => in_any(&self.headers, name),
            Llvm(name) => self.llvm.join(name).is_file(),
            Libclang => self.libraries.iter().any(|place| {
                let files = fs::read_dir(place).into_iter().flatten().flatten();
                files.map(|file| file.file_name()).any(|name| is_libclang(&name.to_string_lossy()))
            }),
        }
    }

    pub(super) fn missing(&self, need: Need) -> Vec<&'static Part> {
        parts(need).filter(|part| !self.has(&part.probe)).collect()
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
        assert_eq!(places.missing(Need::Test).len(), 13);
        assert_eq!(packages(&places.missing(Need::Ebpf)), ["llvm-22-dev"]);
        let peers = packages(&places.missing(Need::Peers));
        assert_eq!(peers, ["dpdk-dev", "openvswitch-switch"]);

        for program in ["cc", "make", "pkg-config", "clang", "ip"] {
            fs::write(root.path().join("bin").join(program), "").unwrap();
        }
        fs::create_dir(root.path().join("include/linux")).unwrap();
        for header in ["stdio.h", "linux/if_xdp.h", "zlib.h"] {
            fs::write(root.path().join("include").join(header), "").unwrap();
        }
        fs::write(root.path().join("lib/libclang-14.so.14.0.6"), "").unwrap();
        assert_eq!(packages(&places.missing(Need::Build)), ["m4", "libelf-dev"]);
        assert_eq!(
            packages(&places.missing(Need::Test)),
            ["m4", "libelf-dev", "ethtool", "procps"]
        );
    }

    #[test]
    fn other_libraries_of_clang_are_not_libclang() {
        for name in ["libclang.so", "libclang.so.1", "libclang-14.so.1"] {
            assert!(is_libclang(name), "{name}");
        }
        for name in ["libclang-cpp.so.14", "libclang-14.a", "libclangAST.so"] {
            assert!(!is_libclang(name), "{name}");
        }
    }

    #[test]
    fn this_machine_has_what_linked_these_tests() {
        assert!(Places::here().has(&Program("cc")));
        assert!(Places::here().has(&Header("stdio.h")));
        assert!(!Places::here().has(&Header("no/such/header.h")));
    }
}
