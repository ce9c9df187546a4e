//! What is left when a bond ends: nothing. And what is left when it is killed: working netdevs, and a way to clean up.

use std::{net::Ipv4Addr, thread, time::Duration};

use anyhow::Result;
use bond_tests::{
    BondProcess, Echo, Faults, Flow, Mac, Netns, Snapshot, Wire, XdpMode, bond, exchange,
    native_and_generic,
};
use rustix::process::Signal;

native_and_generic!(
    a_signal_to_end_leaves_everything_as_it_was,
    a_kill_leaves_working_netdevs_and_cleanup_restores_them,
    the_next_start_restores_what_a_kill_left,
);

/// Slaves with settings of their own, all different from what the bond wants.
fn wire() -> Result<Wire> {
    let wire = Wire::new(2, 1)?;
    wire.host.ip("link set eth0 promisc on")?;
    wire.host.ip("link set eth0 mtu 1400")?;
    wire.host.ip("link set eth1 mtu 1400")?;
    for (name, offload) in [("eth0", "gro"), ("eth0", "gso"), ("eth1", "tx")] {
        assert!(
            wire.host
                .command("ethtool")
                .args(["-K", name, offload, "on"])
                .output()?
                .status
                .success()
        );
    }
    Ok(wire)
}

fn start(netns: &Netns, xdp_mode: XdpMode) -> Result<BondProcess> {
    let arguments =
        format!("--iface eth0,eth1 --xdp-mode {} --mac 02:00:00:00:09:09", xdp_mode.name());
    BondProcess::start(netns, "bond0", &arguments)
}

fn a_signal_to_end_leaves_everything_as_it_was(xdp_mode: XdpMode) -> Result<()> {
    let wire = wire()?;
    let before = Snapshot::take(&wire.host)?;
    for signal in [Signal::TERM, Signal::INT] {
        let mut bond = start(&wire.host, xdp_mode)?;
        let during = Snapshot::take(&wire.host)?;
        assert_eq!(during.links(), ["bond0", "bond0-xsk", "eth0", "eth1", "lo"], "{signal:?}");
        for name in ["bond0", "eth0", "eth1"] {
            let address = during.link(name).map(|link| link["address"].clone());
            assert_eq!(address, Some("02:00:00:00:09:09".into()), "{signal:?}: {name}");
        }
        assert_eq!(bond.end(signal)?.code(), Some(0), "{signal:?}");
        assert_eq!(Snapshot::take(&wire.host)?.changes_since(&before), [""; 0], "{signal:?}");
    }
    Ok(())
}

fn a_kill_leaves_working_netdevs_and_cleanup_restores_them(xdp_mode: XdpMode) -> Result<()> {
    let wire = wire()?;
    let before = Snapshot::take(&wire.host)?;
    let mut killed = start(&wire.host, xdp_mode)?;
    killed.end(Signal::KILL)?;

    // The programs went with the process: the slaves are ordinary netdevs again.
    let left = Snapshot::take(&wire.host)?;
    for (number, cable) in wire.cables.iter().enumerate() {
        assert_eq!(
            left.link(&cable.near.name).map(|link| link["xdp"].clone()),
            Some(serde_json::Value::Null)
        );
        let far = Ipv4Addr::new(10, 4, u8::try_from(number)?, 1);
        cable.far.add_address(&format!("{far}/24"))?;
        let address = format!("10.4.{number}.2/24");
        cable.near.add_address(&address)?;
        let echo = Echo::icmp(&wire.host, far, Duration::from_millis(5))?;
        thread::sleep(Duration::from_millis(200));
        let samples = echo.samples();
        let sent = samples.0.len() - 5; // the last ones may still be on their way
        assert!(sent >= 20, "{sent}");
        assert!(
            samples.0[..sent].iter().all(|sample| sample.rtt.is_some()),
            "{}: {samples:?}",
            cable.near.name
        );
        wire.host.ip(&format!("address del {address} dev {}", cable.near.name))?;
    }

    let shown = bond(&wire.host, "show bond0")?;
    assert_eq!(shown.code, Some(3), "{shown:?}");
    let cleaned = bond(&wire.host, "cleanup bond0")?;
    assert_eq!(cleaned.code, Some(0), "{cleaned:?}");
    assert_eq!(Snapshot::take(&wire.host)?.changes_since(&before), [""; 0]);
    let again = bond(&wire.host, "cleanup")?;
    assert_eq!(again.code, Some(0), "with nothing to do: {again:?}");
    assert_eq!(Snapshot::take(&wire.host)?.changes_since(&before), [""; 0]);
    Ok(())
}

fn the_next_start_restores_what_a_kill_left(xdp_mode: XdpMode) -> Result<()> {
    let wire = wire()?;
    let before = Snapshot::take(&wire.host)?;
    start(&wire.host, xdp_mode)?.end(Signal::KILL)?;
    let next = start(&wire.host, xdp_mode)?;
    let bond0 = next.port()?;
    // So few that none is longer than the MTU allows here.
    let flow = Flow { id: 1, source: bond0.mac, destination: Mac::local(2, 0), frames: 1300 };
    assert_eq!(exchange(&flow, &[&bond0], &[&wire.cables[0].far])?.faults, Faults::default());
    next.stop()?;
    assert_eq!(Snapshot::take(&wire.host)?.changes_since(&before), [""; 0]);
    Ok(())
}
