//! The kernel's bridge.

use anyhow::Result;

use crate::{
    device::Running,
    rig::{self, Rig},
};

pub(super) fn start(rig: &Rig) -> Result<Running> {
    let cable = rig.host_cable()?;
    rig.host.ip("link add br0 type bridge mcast_snooping 0")?;
    for port in [&cable.far, &rig.cables[0].near] {
        rig::take_redirects(port)?;
        rig.host.ip(&format!("link set {} master br0", port.name))?;
    }
    rig.host.ip("link set br0 up")?;
    let facts = "sk_buffs, no socket".to_owned();
    Ok(Running { processes: Vec::new(), host_port: cable.near, keep: Box::new(()), facts })
}
