//! Huge pages for DPDK, taken from the kernel as long as they are needed.

use std::fs;

use anyhow::{Context as _, Result};

const POOL: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
/// Of one page.
const MEGABYTES: usize = 2;

/// Pages that this process added to the kernel's pool; dropping it takes them out again.
#[derive(Debug)]
pub(super) struct HugePages(usize);

impl HugePages {
    /// Adds enough for `megabytes`; none when the kernel has no such pages, or not enough in one piece.
    pub(super) fn reserve(megabytes: usize) -> Result<Option<Self>> {
        let wanted = megabytes / MEGABYTES;
        let Ok(before) = pool() else { return Ok(None) };
        set(before + wanted)?;
        let got = Self(pool()? - before);
        Ok((got.0 == wanted).then_some(got))
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        // What cannot be given back is the next one's.
        let _ = pool().and_then(|now| set(now.saturating_sub(self.0)));
    }
}

fn pool() -> Result<usize> {
    let text = fs::read_to_string(POOL).with_context(|| format!("cannot read {POOL}"))?;
    Ok(text.trim().parse()?)
}

fn set(pages: usize) -> Result<()> {
    fs::write(POOL, pages.to_string()).with_context(|| format!("cannot write {POOL}"))
}
