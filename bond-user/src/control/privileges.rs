//! Whether this process may do what a bond needs, asked before anything is touched.

use super::BondError;

/// Capabilities that a bond cannot do without (include/uapi/linux/capability.h).
const NEEDED: [(&str, u32); 3] = [("CAP_NET_ADMIN", 12), ("CAP_NET_RAW", 13), ("CAP_BPF", 39)];
/// Implies CAP_BPF (kernel/bpf/syscall.c, `bpf_capable`).
const CAP_SYS_ADMIN: u32 = 21;

/// Says which capabilities are missing, if any.
pub(super) fn check() -> Result<(), BondError> {
    let status = std::fs::read_to_string("/proc/self/status")
        .map_err(BondError::io("cannot read /proc/self/status"))?;
    let missing = missing(effective(&status));
    if missing.is_empty() { Ok(()) } else { Err(BondError::Privileges(missing.join(", "))) }
}

/// Lets this process lock as much memory as UMEMs and maps need, as far as it may. Kernels since 5.11
/// and root do not need it, and without CAP_SYS_RESOURCE it is refused: neither is an error.
pub(super) fn raise_memlock() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let unlimited = Rlimit { current: None, maximum: None };
    if let Err(errno) = setrlimit(Resource::Memlock, unlimited) {
        tracing::debug!("RLIMIT_MEMLOCK stays as it is: {errno}");
    }
}

fn effective(status: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0)
}

fn missing(effective: u64) -> Vec<&'static str> {
    let has = |bit: u32| effective >> bit & 1 == 1;
    NEEDED
        .into_iter()
        .filter(|(name, bit)| !has(*bit) && (*name != "CAP_BPF" || !has(CAP_SYS_ADMIN)))
        .map(|(name, _)| name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(effective("Name:\tx\nCapEff:\t000001ffffffffff\n"), 0x1ff_ffff_ffff);
        assert_eq!(missing(u64::MAX), Vec::<&str>::new());
        assert_eq!(missing(0), ["CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_BPF"]);
        assert_eq!(missing(1 << 12 | 1 << 21), ["CAP_NET_RAW"]);
    }
}
