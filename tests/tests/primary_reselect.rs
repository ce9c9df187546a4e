//! Which slave is active: primary, prio and primary_reselect.

use anyhow::Result;
use bond_tests::{BondProcess, State, Wire, XdpMode, native_and_generic};

native_and_generic!(
    the_highest_prio_is_active_and_takes_over_again,
    failure_leaves_the_active_slave_alone,
    better_wants_a_faster_link,
);

fn bonded(xdp_mode: XdpMode, slaves: u8, arguments: &str) -> Result<(BondProcess, Wire)> {
    let wire = Wire::new(slaves, 1)?;
    let names: Vec<String> = (0..slaves).map(|number| format!("eth{number}")).collect();
    let iface = names.join(",");
    let arguments = format!("--iface {iface} --xdp-mode {} {arguments}", xdp_mode.name());
    let mut bond = BondProcess::start(&wire.host, "bond0", &arguments)?;
    bond.wait_until_whole()?;
    Ok((bond, wire))
}

fn is_active(slave: &str) -> impl Fn(&State) -> bool {
    move |state| state.active_slave.as_deref() == Some(slave)
}

fn the_highest_prio_is_active_and_takes_over_again(xdp_mode: XdpMode) -> Result<()> {
    let (mut bond, wire) = bonded(xdp_mode, 3, "--prio eth1=-1,eth2=10")?;
    assert!(is_active("eth2")(&bond.show()?));
    wire.cables[2].pull()?;
    bond.wait_for("eth0 is active", is_active("eth0"))?;
    wire.cables[0].pull()?;
    bond.wait_for("eth1 is active", is_active("eth1"))?;
    wire.cables[0].plug()?;
    bond.wait_for("eth0 is active", is_active("eth0"))?;
    wire.cables[2].plug()?;
    bond.wait_for("eth2 is active", is_active("eth2"))?;
    bond.stop()
}

/// The primary is active first, and then stays a backup until the active slave fails.
fn stays_out(bond: &mut BondProcess, wire: &Wire) -> Result<()> {
    assert!(is_active("eth1")(&bond.show()?), "the first time the primary takes over");
    wire.cables[1].pull()?;
    bond.wait_for("eth0 is active", is_active("eth0"))?;
    wire.cables[1].plug()?;
    let state = bond.wait_until_whole()?;
    assert!(is_active("eth0")(&state), "{state:?}");
    assert_eq!(state.failovers.count, 1);
    wire.cables[0].pull()?;
    bond.wait_for("eth1 is active", is_active("eth1"))?;
    Ok(())
}

fn failure_leaves_the_active_slave_alone(xdp_mode: XdpMode) -> Result<()> {
    let (mut bond, wire) = bonded(xdp_mode, 2, "--primary eth1 --primary-reselect failure")?;
    stays_out(&mut bond, &wire)?;
    bond.stop()
}

/// A veth is as fast as any other.
fn better_wants_a_faster_link(xdp_mode: XdpMode) -> Result<()> {
    let (mut bond, wire) = bonded(xdp_mode, 2, "--primary eth1 --primary-reselect better")?;
    stays_out(&mut bond, &wire)?;
    bond.stop()
}
