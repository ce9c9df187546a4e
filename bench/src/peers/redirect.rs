//! Redirection by a devmap: what forwarding costs when frames never leave the kernel.

use anyhow::Result;
use aya::{
    Ebpf,
    maps::{Array, MapData, xdp::DevMap},
};
use bond_bench_ebpf::layout::{maps, programs};
use bond_tests::Port;

use crate::{
    device::{Mode, Running, Spec},
    objects,
    rig::{self, Rig},
};

pub(super) fn start(rig: &Rig, spec: &Spec) -> Result<Running> {
    let cable = rig.host_cable()?;
    let slaves: Vec<_> = rig.slaves().cloned().collect();
    let ways = if spec.mode == Mode::BalanceRr { slaves.len() } else { 1 };
    let mut keep = vec![forward(&cable.far, &slaves[..ways])?];
    for slave in &slaves {
        keep.push(forward(slave, std::slice::from_ref(&cable.far))?);
    }
    let facts = "native XDP, no socket".to_owned();
    Ok(Running { processes: Vec::new(), host_port: cable.near, keep: Box::new(keep), facts })
}

/// Whatever comes in at `from` leaves by the ports `to`, in turn.
fn forward(from: &Port, to: &[Port]) -> Result<Ebpf> {
    let mut ebpf = objects::load()?;
    let mut ports: DevMap<MapData> = objects::map(&mut ebpf, maps::PORTS)?;
    for (slot, port) in (0..).zip(to) {
        let index = rig::index(port)?;
        // The kernel looks the index up in the caller's namespace.
        port.netns.run(|| Ok(ports.set(slot, index, None, 0)?))?;
    }
    let mut ways: Array<MapData, u32> = objects::map(&mut ebpf, maps::WAYS)?;
    ways.set(0, u32::try_from(to.len())?, 0)?;
    objects::attach(objects::xdp(&mut ebpf, programs::FORWARD)?, from)?;
    Ok(ebpf)
}
