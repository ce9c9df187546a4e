//! The benchmark's programs in the kernel.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, Pod,
    maps::{Map, MapData, PerCpuArray},
    programs::{Xdp, xdp::XdpMode},
};
use bond_bench_ebpf::OBJECT;
use bond_tests::Port;

/// A new instance of all programs and their maps.
pub(crate) fn load() -> Result<Ebpf> {
    Ebpf::load(OBJECT).context("loading the benchmark's programs")
}

/// The XDP program `name`, in the kernel.
pub(crate) fn xdp<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program: &mut Xdp = ebpf.program_mut(name).context("no such program")?.try_into()?;
    program.load().with_context(|| format!("loading {name}"))?;
    Ok(program)
}

/// Runs `program` in the driver of `port`, until it is dropped.
pub(crate) fn attach(program: &mut Xdp, port: &Port) -> Result<()> {
    let attached = port.netns.run(|| Ok(program.attach(&port.name, XdpMode::Driver)?));
    attached.map(drop).with_context(|| format!("attaching to {}", port.name))
}

/// Takes map `name` out of `ebpf`.
pub(crate) fn map<T: TryFrom<Map>>(ebpf: &mut Ebpf, name: &str) -> Result<T> {
    let map = ebpf.take_map(name).and_then(|map| T::try_from(map).ok());
    map.with_context(|| format!("no map {name}"))
}

/// One entry of a per-CPU array, of all CPUs.
pub(crate) fn per_cpu<V: Pod>(map: &PerCpuArray<MapData, V>, index: u32) -> Result<Vec<V>> {
    Ok(map.get(&index, 0)?.iter().copied().collect())
}
