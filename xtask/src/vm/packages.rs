//! QEMU, a new kernel and what unpacks it, from Debian, fetched by apt into a directory of our own. Nothing is installed.

use std::{
    env,
    fs::{self, File},
    io, iter,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::command::{command, output, run};

/// Where programs come from: with their libraries, libc included, so that they run on any distribution.
const STABLE: &str = "trixie";
/// The programs: QEMU, and what the kernel's modules may be packed with.
const PROGRAMS: [(&str, &str); 3] =
    [("qemu-system-x86", QEMU), ("xz-utils", "xz"), ("zstd", "zstd")];
const QEMU: &str = "qemu-system-x86_64";
/// Where the kernel comes from: older ones refuse zero-copy on virtio-net and igb.
const NEWEST: &str = "trixie-backports";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Whether there are newer packages is asked again after this time.
const FRESH: Duration = Duration::from_secs(7 * 24 * 3600);

/// What the packages bring, unpacked.
#[derive(Debug)]
pub(super) struct Parts {
    root: PathBuf,
    /// Directory of a kernel: `vmlinuz` and its modules.
    pub(super) kernel: PathBuf,
}

impl Parts {
    fn find(root: PathBuf) -> Result<Self> {
        let modules = root.join("usr/lib/modules");
        let kernel = fs::read_dir(&modules)
            .ok()
            .and_then(|entries| entries.flatten().map(|entry| entry.path()).next())
            .with_context(|| format!("no kernel in {}", modules.display()))?;
        let parts = Self { root, kernel };
        for (package, name) in PROGRAMS {
            ensure!(parts.path(name).is_file(), "no {name} in what {package} brought");
        }
        Ok(parts)
    }

    /// Its version.
    pub(super) fn release(&self) -> String {
        self.kernel.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// The kernel's image: beside its modules, or in older packages in /boot.
    pub(super) fn vmlinuz(&self) -> Result<PathBuf> {
        let places = [
            self.kernel.join("vmlinuz"),
            self.root.join("boot").join(format!("vmlinuz-{}", self.release())),
        ];
        let found = places.into_iter().find(|place| place.is_file());
        found.with_context(|| format!("no image of kernel {}", self.release()))
    }

    /// QEMU.
    pub(super) fn qemu(&self) -> Command {
        let mut qemu = self.program(QEMU);
        qemu.env("QEMU_MODULE_DIR", self.libraries().join("qemu"));
        for share in ["usr/share/qemu", "usr/share/seabios"] {
            qemu.arg("-L").arg(self.root.join(share));
        }
        qemu
    }

    /// A program, run by the dynamic linker it was packed with.
    pub(super) fn program(&self, name: &str) -> Command {
        let mut program = command(self.root.join("usr/lib64/ld-linux-x86-64.so.2"));
        program.arg("--library-path").arg(self.libraries()).arg(self.path(name));
        program
    }

    fn path(&self, program: &str) -> PathBuf {
        self.root.join("usr/bin").join(program)
    }

    fn libraries(&self) -> PathBuf {
        self.root.join("usr/lib/x86_64-linux-gnu")
    }
}

/// Fetches what is not there yet, or is not the newest.
///
/// # Errors
/// Why the machine cannot be had here.
pub(super) fn fetch(cache: &Path) -> Result<Parts> {
    if env::consts::ARCH != "x86_64" {
        bail!("the machine runs programs of x86-64, and this one is {}", env::consts::ARCH);
    }
    fs::create_dir_all(cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let lock = File::create(cache.join("lock"))?;
    lock.lock()?;

    let root = cache.join("root");
    let stamp = root.join("packages");
    if is_fresh(&stamp)
        && let Ok(parts) = Parts::find(root.clone())
    {
        return Ok(parts);
    }
    let known = fs::read_to_string(&stamp).ok();
    match Apt::new(cache).and_then(|apt| apt.update_root(&root, known.as_deref())) {
        Err(error) if known.is_some() => {
            eprintln!("vm: using what was fetched before: {error:#}");
        }
        outcome => outcome?,
    }
    Parts::find(root)
}

fn is_fresh(stamp: &Path) -> bool {
    let modified = fs::metadata(stamp).and_then(|meta| meta.modified());
    modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age < FRESH))
}

/// apt with lists, state and cache of our own.
struct Apt {
    home: PathBuf,
    options: Vec<String>,
}

impl Apt {
    fn new(cache: &Path) -> Result<Self> {
        for program in ["apt-get", "dpkg-deb"] {
            let missing = || format!("no {program} here: QEMU and the kernel are Debian packages");
            output(command(program).arg("--version")).with_context(missing)?;
        }
        ensure!(
            Path::new(KEYRING).is_file(),
            "no {KEYRING}: install the package debian-archive-keyring"
        );
        let home = cache.join("apt");
        for directory in ["lists/partial", "archives/partial"] {
            fs::create_dir_all(home.join(directory))?;
        }
        let source = |suite| {
            format!("deb [signed-by={KEYRING}] http://deb.debian.org/debian {suite} main\n")
        };
        let sources = home.join("sources.list");
        fs::write(&sources, [STABLE, NEWEST].map(source).concat())?;
        // Nothing counts as installed, so that all libraries are fetched.
        let status = home.join("status");
        fs::write(&status, "")?;
        let settings = [
            format!("Dir::Etc::SourceList={}", sources.display()),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            "Dir::Etc::Preferences=/dev/null".to_owned(),
            "Dir::Etc::PreferencesParts=/dev/null".to_owned(),
            format!("Dir::State={}", home.display()),
            format!("Dir::State::status={}", status.display()),
            format!("Dir::Cache={}", home.display()),
            "APT::Architecture=amd64".to_owned(),
            "APT::Architectures=amd64".to_owned(),
            "APT::Sandbox::User=".to_owned(),
            "APT::Install-Recommends=false".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            "Acquire::Retries=3".to_owned(),
        ];
        let options = settings.into_iter().flat_map(|setting| ["-o".to_owned(), setting]);
        Ok(Self { options: options.collect(), home })
    }

    /// Makes `root` hold the newest packages; `known` are those it holds.
    fn update_root(&self, root: &Path, known: Option<&str>) -> Result<()> {
        run(&mut self.get("update", &[]))
            .context("the lists of Debian's packages cannot be had")?;
        let kernel = self.kernel()?;
        let kernel: Vec<&str> = kernel.iter().map(String::as_str).collect();
        let programs: Vec<&str> =
            iter::once("--yes").chain(PROGRAMS.map(|(package, _)| package)).collect();
        let mut wanted = self.addresses("install", &programs)?;
        wanted.push_str(&self.addresses("download", &kernel)?);
        if known != Some(&wanted) {
            eprintln!("vm: fetching QEMU and {} from Debian", kernel.join(", "));
            run(self.get("install", &programs).arg("--download-only"))?;
            run(&mut self.get("download", &kernel))?;
            self.unpack(root)?;
        }
        Ok(fs::write(root.join("packages"), wanted)?)
    }

    /// The packages with image and modules that the metapackage asks for at the moment.
    fn kernel(&self) -> Result<Vec<String>> {
        let mut depends = command("apt-cache");
        depends.args(&self.options).args([
            "depends",
            "--recurse",
            "--important",
            "-t",
            NEWEST,
            "linux-image-amd64",
        ]);
        let is_version = |rest: &str| rest.starts_with(|first: char| first.is_ascii_digit());
        let packages: Vec<_> = output(&mut depends)?
            .lines()
            .filter(|line| {
                ["linux-binary-", "linux-modules-", "linux-image-"]
                    .iter()
                    .any(|kind| line.strip_prefix(kind).is_some_and(is_version))
            })
            .map(str::to_owned)
            .collect();
        ensure!(!packages.is_empty(), "{NEWEST} has no linux-image-amd64");
        Ok(packages)
    }

    /// Where apt would fetch from, one package a line.
    fn addresses(&self, verb: &str, packages: &[&str]) -> Result<String> {
        output(self.get(verb, packages).arg("--print-uris").stdout(Stdio::piped()))
    }

    fn get(&self, verb: &str, packages: &[&str]) -> Command {
        let mut get = command("apt-get");
        let release = if verb == "download" { NEWEST } else { STABLE };
        get.args(&self.options)
            .args(["-qq", "-t", release, verb])
            .args(packages)
            .current_dir(self.archives())
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(Stdio::null());
        get
    }

    fn archives(&self) -> PathBuf {
        self.home.join("archives")
    }

    /// Replaces `root` by what the fetched packages hold, and removes these.
    fn unpack(&self, root: &Path) -> Result<()> {
        let fresh = root.with_extension("new");
        for stale in [&fresh, root] {
            match fs::remove_dir_all(stale) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error)?,
                _ => {}
            }
        }
        let archives = fs::read_dir(self.archives())?;
        for archive in archives {
            let archive = archive?.path();
            if archive.extension().is_some_and(|extension| extension == "deb") {
                run(command("dpkg-deb").arg("--extract").arg(&archive).arg(&fresh))?;
                fs::remove_file(&archive)?;
            }
        }
        Ok(fs::rename(&fresh, root)?)
    }
}
