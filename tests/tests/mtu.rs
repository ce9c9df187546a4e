//! A slave that comes back with another MTU than the bond's.

use std::time::Duration;

use anyhow::{Context, Result};
use bond_tests::{
    BondProcess, Cable, ForeignXdp, LinkEvents, Mac, Netns, Port, Snapshot, State, Wire, XdpMode,
    native_and_generic, pass, wait_until,
};
use serde_json::Value;

native_and_generic!(
    a_slave_that_comes_back_has_the_bonds_mtu_until_the_bond_ends,
    a_slave_that_refuses_the_bonds_mtu_stays_out_as_it_was,
);

fn start(wire: &Wire, mtu: u32, xdp_mode: XdpMode) -> Result<BondProcess> {
    for name in ["eth0", "eth1"] {
        wire.host.ip(&format!("link set {name} mtu {mtu}"))?;
    }
    let arguments = format!("--iface eth0,eth1 --primary eth0 --xdp-mode {}", xdp_mode.name());
    BondProcess::start(&wire.host, "bond0", &arguments)
}

/// MTU and MAC of a link.
fn settings(netns: &Netns, name: &str) -> Result<(Value, Value)> {
    let snapshot = Snapshot::take(netns)?;
    let link = snapshot.link(name).with_context(|| format!("there is no {name}"))?;
    Ok((link["mtu"].clone(), link["address"].clone()))
}

fn wait_until_gone(bond: &mut BondProcess) -> Result<()> {
    let gone = |state: &State| state.slave("eth0").is_some_and(|slave| slave.ifindex.is_none());
    bond.wait_for("eth0 is gone", gone).map(drop)
}

fn wait_until_active(bond: &mut BondProcess) -> Result<()> {
    bond.wait_for("eth0 is active", |state| {
        state.is_whole() && state.active_slave.as_deref() == Some("eth0")
    })
    .map(drop)
}

/// It is a new netdev first, and then one that was away as the slave it had been.
fn a_slave_that_comes_back_has_the_bonds_mtu_until_the_bond_ends(xdp_mode: XdpMode) -> Result<()> {
    let wire = Wire::new(2, 1)?;
    let mut bond = start(&wire, 3000, xdp_mode)?;
    let bond0 = bond.port()?;
    wire.cables[0].remove()?;
    wait_until_gone(&mut bond)?;
    let Cable { near, far } = wire.cable(0, 1)?;
    far.netns.ip("link set w0 mtu 3000")?;
    for away in [false, true] {
        if away {
            wire.host.ip(&format!("link set eth0 netns {}", wire.peer.name()))?;
            wait_until_gone(&mut bond)?;
            wire.peer.ip(&format!("link set eth0 netns {}", wire.host.name()))?;
        }
        wait_until_active(&mut bond)?;
        assert_eq!(settings(&wire.host, "eth0")?, (3000.into(), bond0.mac.to_string().into()));
        pass(2900, &bond0, &far, Mac::local(2, 0))?;
        pass(2900, &far, &bond0, bond0.mac)?;
    }
    bond.stop()?;
    assert_eq!(settings(&wire.host, "eth0")?, (1500.into(), near.mac.to_string().into()));
    assert_eq!(settings(&wire.host, "eth1")?.0, 3000);
    Ok(())
}

/// A veth takes no MTU for which an XDP program at its other end has no room.
fn a_slave_that_refuses_the_bonds_mtu_stays_out_as_it_was(xdp_mode: XdpMode) -> Result<()> {
    let wire = Wire::new(2, 1)?;
    let mut bond = start(&wire, 3600, xdp_mode)?;
    wire.cables[0].remove()?;
    wait_until_gone(&mut bond)?;
    let near = Port::new(&wire.host, "spare", Mac::local(1, 9));
    let spare = Cable::connect(near, wire.cables[0].far.clone(), 1, LinkEvents::Prompt)?;
    let program = ForeignXdp::attach(&spare.far)?;
    spare.near.set_up(false)?;
    let before = Snapshot::take(&wire.host)?;

    wire.host.ip("link set spare name eth0")?;
    let refusal = "eth0 is back but cannot be a slave: cannot set the MTU of eth0: Invalid argument (os error 22): \
                   mtu greater than device maximum; every slave has the bond's MTU, 3600: use a NIC that can, or \
                   start the bond with another MTU\n";
    wait_until("eth0 is refused", Duration::from_secs(10), || {
        Ok(bond.log().contains(refusal).then_some(()))
    })?;
    wire.host.ip("link set eth0 name spare")?;
    assert_eq!(Snapshot::take(&wire.host)?.changes_since(&before), [""; 0]);

    wire.host.ip("link set spare name eth0")?;
    drop(program);
    wait_until_active(&mut bond)?;
    assert_eq!(settings(&wire.host, "eth0")?.0, 3600);
    bond.stop()?;
    wire.host.ip("link set eth0 name spare")?;
    assert_eq!(settings(&wire.host, "spare")?, (1500.into(), spare.near.mac.to_string().into()));
    Ok(())
}
