//! Our AF_XDP sockets without a bond.

use std::time::Duration;

use anyhow::Result;
use bond_tests::{built, wait_until};

use crate::{
    DEVICE_CPU,
    device::{Running, Spec, Xdp},
    process::Process,
    rig::{self, Rig},
};

/// What the program says once it forwards.
pub const READY: &str = "forwarding";

pub(super) fn start(rig: &Rig, spec: &Spec) -> Result<Running> {
    let cable = rig.host_cable()?;
    let slave = &rig.cables[0].near;
    let mut command = rig.host.command("taskset");
    command.args(["-c", &DEVICE_CPU.to_string()]).arg(built("bare-forwarder")?);
    command.args([&cable.far.name, &slave.name, &spec.xdp.to_string()]);
    let mut process = Process::start(&mut command)?;
    wait_until("the forwarder forwards", Duration::from_secs(10), || {
        process.check()?;
        Ok(process.log().contains(READY).then_some(()))
    })?;
    if spec.xdp == Xdp::Generic {
        rig::take_redirects(slave)?;
    }
    let facts = process.log().trim().to_owned();
    Ok(Running { processes: vec![process], host_port: cable.near, keep: Box::new(()), facts })
}
