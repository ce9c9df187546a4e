//! The machine's root: an initial ramdisk with the guest's programs, their libraries and the drivers.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use object::{Object as _, ObjectSection as _};

use super::{Programs, packages::Parts};
use crate::command::{command, output};

/// Drivers that are loaded, with what they depend on.
const MODULES: [&str; 7] =
    ["virtio_pci", "virtio_net", "igb", "veth", "bridge", "bonding", "8021q"];
const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const CONSOLE: u32 = 0o020_600;

/// Writes the ramdisk to `path`.
pub(super) fn write(path: &Path, parts: &Parts, programs: &Programs) -> Result<()> {
    let mut archive = Archive::default();
    for directory in ["dev", "proc", "sys", "run", "tmp", "etc"] {
        archive.directory(Path::new(directory));
    }
    // The kernel opens it for the first program, before that can make it.
    archive.entry("dev/console", CONSOLE, (5, 1), &[]);
    let ip = ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"].map(Path::new);
    let ip = ip.into_iter().find(|path| path.is_file()).context("no ip: install iproute2")?;
    let inside = [("init", &*programs.guest), ("bin/bond", &*programs.bond), ("bin/ip", ip)];
    for (name, program) in inside {
        archive.file(Path::new(name), program)?;
        for library in libraries(program)? {
            archive.file(library.strip_prefix("/")?, &library)?;
        }
    }
    for (number, (name, bytes)) in modules(parts)?.iter().enumerate() {
        archive.add(Path::new(&format!("modules/{number:02}-{name}.ko")), bytes);
    }
    fs::write(path, archive.finish()).with_context(|| format!("cannot write {}", path.display()))
}

/// The shared libraries of a program, and the dynamic linker, which lists them.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let listed = output(command("/lib64/ld-linux-x86-64.so.2").arg("--list").arg(program))?;
    let path =
        |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from);
    Ok(listed.lines().filter_map(path).collect())
}

/// [`MODULES`] in an order in which they can be loaded, name and content. Where one is missing it is built in.
fn modules(parts: &Parts) -> Result<Vec<(String, Vec<u8>)>> {
    let mut files = BTreeMap::new();
    find_modules(&parts.kernel.join("kernel"), &mut files)?;
    let mut loaded = Vec::new();
    for name in MODULES.into_iter().filter(|name| files.contains_key(*name)) {
        load(name, parts, &files, &mut loaded)?;
    }
    Ok(loaded)
}

/// The files of all modules below `directory`, by name.
fn find_modules(directory: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let entries =
        fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            find_modules(&path, files)?;
        } else if let Some((name, _)) =
            path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once(".ko"))
        {
            files.insert(name.replace('-', "_"), path.clone());
        }
    }
    Ok(())
}

/// Puts module `name` into `loaded`, after those it depends on.
fn load(
    name: &str,
    parts: &Parts,
    files: &BTreeMap<String, PathBuf>,
    loaded: &mut Vec<(String, Vec<u8>)>,
) -> Result<()> {
    if loaded.iter().any(|(other, _)| other == name) {
        return Ok(());
    }
    let path = files.get(name).with_context(|| format!("the kernel has no module {name}"))?;
    let bytes = decompress(path, parts)?;
    for needed in depends(&bytes).with_context(|| format!("module {name}"))? {
        load(&needed, parts, files, loaded)?;
    }
    loaded.push((name.to_owned(), bytes));
    Ok(())
}

fn decompress(path: &Path, parts: &Parts) -> Result<Vec<u8>> {
    let program = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => return fs::read(path).with_context(|| format!("cannot read {}", path.display())),
    };
    let unpacked = parts.program(program).arg("-dc").arg(path).output();
    let unpacked = unpacked.with_context(|| format!("cannot start {program}"))?;
    if !unpacked.status.success() {
        bail!(
            "{program} cannot unpack {}: {}: {}",
            path.display(),
            unpacked.status,
            String::from_utf8_lossy(&unpacked.stderr).trim()
        );
    }
    Ok(unpacked.stdout)
}

/// The modules that a module says it depends on.
fn depends(module: &[u8]) -> Result<Vec<String>> {
    let object = object::File::parse(module)?;
    let info = object.section_by_name(".modinfo").context("no section .modinfo")?.data()?;
    let fields = info.split(|&byte| byte == 0);
    let needed = fields.filter_map(|field| field.strip_prefix(b"depends=")).flat_map(|list| {
        let list = String::from_utf8_lossy(list).into_owned();
        list.split(',').map(|name| name.replace('-', "_")).collect::<Vec<_>>()
    });
    Ok(needed.filter(|name| !name.is_empty()).collect())
}

/// A cpio archive in the format "newc" (Documentation/driver-api/early-userspace/buffer-format.rst).
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    names: Vec<PathBuf>,
}

impl Archive {
    fn directory(&mut self, path: &Path) {
        if path.as_os_str().is_empty() || self.names.iter().any(|name| name == path) {
            return;
        }
        if let Some(parent) = path.parent() {
            self.directory(parent);
        }
        self.names.push(path.to_owned());
        self.entry(&path.to_string_lossy(), DIRECTORY, (0, 0), &[]);
    }

    /// Adds the file `from` as `path`, once.
    fn file(&mut self, path: &Path, from: &Path) -> Result<()> {
        if !self.names.iter().any(|name| name == path) {
            let bytes =
                fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
            self.add(path, &bytes);
        }
        Ok(())
    }

    fn add(&mut self, path: &Path, bytes: &[u8]) {
        if let Some(parent) = path.parent() {
            self.directory(parent);
        }
        self.names.push(path.to_owned());
        self.entry(&path.to_string_lossy(), PROGRAM, (0, 0), bytes);
    }

    /// `device` is the major and the minor number.
    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), bytes: &[u8]) {
        let fields = [
            0, // inode
            mode as usize,
            0, // owner
            0, // group
            1, // links
            0, // time
            bytes.len(),
            0,
            0,
            device.0 as usize,
            device.1 as usize,
            name.len() + 1,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(bytes);
        self.pad();
    }

    fn pad(&mut self) {
        let length = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(length, 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }
}
