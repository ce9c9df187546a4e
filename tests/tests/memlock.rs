//! A bond needs no limit raised that root may not raise.

use std::{io, os::unix::process::CommandExt};

use anyhow::Result;
use bond_tests::{
    BondProcess, Faults, Flow, Mac, Wire, XdpMode, binary, exchange, native_and_generic,
};
use rustix::{
    process::{Resource, Rlimit, setrlimit},
    thread::{CapabilitySet, remove_capability_from_bounding_set},
};

native_and_generic!(a_bond_runs_where_locking_memory_is_limited_for_good);

fn a_bond_runs_where_locking_memory_is_limited_for_good(xdp_mode: XdpMode) -> Result<()> {
    let wire = Wire::new(2, 1)?;
    let mut command = wire.host.command(binary()?);
    command.args(["run", "bond0", "--iface", "eth0,eth1", "--xdp-mode", xdp_mode.name()]);
    let give_up_limits = || -> io::Result<()> {
        let limit = Some(64 << 10);
        setrlimit(Resource::Memlock, Rlimit { current: limit, maximum: limit })?;
        // From here setrlimit cannot raise it again, not even for root: EPERM.
        Ok(remove_capability_from_bounding_set(CapabilitySet::SYS_RESOURCE)?)
    };
    // SAFETY: between fork and exec it makes two system calls and allocates nothing.
    unsafe { command.pre_exec(give_up_limits) };
    let bond = BondProcess::spawn(&wire.host, "bond0", &mut command)?;
    let bond0 = bond.port()?;
    let flow = Flow { id: 1, source: bond0.mac, destination: Mac::local(2, 0), frames: 10_000 };
    assert_eq!(exchange(&flow, &[&bond0], &[&wire.cables[0].far])?.faults, Faults::default());
    bond.stop()
}
