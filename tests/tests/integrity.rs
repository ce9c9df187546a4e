//! Every frame arrives once and unaltered, on the slave that the mode says.

use anyhow::Result;
use bond_tests::{
    BondProcess, Faults, Flow, Mac, Port, Wire, XdpMode, exchange, native_and_generic,
};

const FRAMES: u64 = 200_000;

native_and_generic!(
    active_backup_uses_the_active_slave_alone,
    balance_rr_splits_exactly_evenly,
    balance_rr_sends_runs_of_packets_per_slave,
    weights_3_and_1_are_75_and_25_percent,
    a_backup_delivers_nothing_and_passes_link_local,
    a_backup_delivers_all_if_all_slaves_shall_be_active,
    balance_rr_keeps_igmp_on_its_first_slave,
);

/// A bond over two bare cables.
fn bonded(xdp_mode: XdpMode, arguments: &str) -> Result<(BondProcess, Port, Wire)> {
    let wire = Wire::new(2, 1)?;
    let arguments = format!("--iface eth0,eth1 --xdp-mode {} {arguments}", xdp_mode.name());
    let bond = BondProcess::start(&wire.host, "bond0", &arguments)?;
    let bond0 = bond.port()?;
    Ok((bond, bond0, wire))
}

/// What the host sends to the peer.
fn outward(bond0: &Port) -> Flow {
    Flow { id: 1, source: bond0.mac, destination: Mac::local(2, 0), frames: FRAMES }
}

/// What the peer sends to the host.
fn inward(bond0: &Port) -> Flow {
    Flow { id: 2, source: Mac::local(2, 0), destination: bond0.mac, frames: FRAMES }
}

fn active_backup_uses_the_active_slave_alone(xdp_mode: XdpMode) -> Result<()> {
    let (bond, bond0, wire) = bonded(xdp_mode, "--mode active-backup")?;
    let [w0, w1] = [&wire.cables[0].far, &wire.cables[1].far];

    let report = exchange(&outward(&bond0), &[&bond0], &[w0, w1])?;
    assert_eq!(report.faults, Faults::default(), "host to wire");
    assert_eq!(report.counts(), [200_000, 0], "host to wire");
    assert_eq!(report.arrivals[0].out_of_order(), 0, "host to wire");

    let report = exchange(&inward(&bond0), &[w0], &[&bond0])?;
    assert_eq!(report.faults, Faults::default(), "wire to host");
    assert_eq!(report.arrivals[0].out_of_order(), 0, "wire to host");

    let state = bond.show()?;
    let counted = |name| state.slave(name).map(|slave| (slave.rx_packets, slave.tx_packets));
    let bytes = outward(&bond0).bytes();
    assert_eq!([counted("eth0"), counted("eth1")], [Some((FRAMES, FRAMES)), Some((0, 0))]);
    assert_eq!(
        state.slave("eth0").map(|slave| (slave.rx_bytes, slave.tx_bytes)),
        Some((bytes, bytes))
    );
    assert_eq!((state.host.rx_packets, state.host.tx_packets), (FRAMES, FRAMES));
    assert_eq!((state.host.rx_bytes, state.host.tx_bytes), (bytes, bytes));
    bond.stop()
}

fn balance_rr_splits_exactly_evenly(xdp_mode: XdpMode) -> Result<()> {
    let (bond, bond0, wire) = bonded(xdp_mode, "--mode balance-rr")?;
    let [w0, w1] = [&wire.cables[0].far, &wire.cables[1].far];

    let report = exchange(&outward(&bond0), &[&bond0], &[w0, w1])?;
    assert_eq!(report.faults, Faults::default(), "host to wire");
    let expected = [0, 1].map(|first| (first..FRAMES).step_by(2).collect::<Vec<_>>());
    assert!(
        report.arrivals[0].sequence == expected[0],
        "w0 did not get exactly every even frame in order"
    );
    assert!(
        report.arrivals[1].sequence == expected[1],
        "w1 did not get exactly every odd frame in order"
    );

    let report = exchange(&inward(&bond0), &[w0, w1], &[&bond0])?;
    assert_eq!(report.faults, Faults::default(), "wire to host");
    let state = bond.show()?;
    let counted = |name| state.slave(name).map(|slave| (slave.rx_packets, slave.tx_packets));
    let half = Some((FRAMES / 2, FRAMES / 2));
    assert_eq!([counted("eth0"), counted("eth1")], [half, half]);
    bond.stop()
}

fn balance_rr_sends_runs_of_packets_per_slave(xdp_mode: XdpMode) -> Result<()> {
    let (bond, bond0, wire) = bonded(xdp_mode, "--mode balance-rr --packets-per-slave 3")?;
    let far = [&wire.cables[0].far, &wire.cables[1].far];
    let report = exchange(&outward(&bond0), &[&bond0], &far)?;
    assert_eq!(report.faults, Faults::default());
    for (slave, arrivals) in (0..).zip(&report.arrivals) {
        let expected: Vec<u64> = (0..FRAMES).filter(|frame| frame / 3 % 2 == slave).collect();
        assert!(
            arrivals.sequence == expected,
            "{} did not get exactly its runs of 3",
            arrivals.port
        );
    }
    bond.stop()
}

fn weights_3_and_1_are_75_and_25_percent(xdp_mode: XdpMode) -> Result<()> {
    let (bond, bond0, wire) = bonded(xdp_mode, "--mode balance-rr --weight eth0=3")?;
    let far = [&wire.cables[0].far, &wire.cables[1].far];
    let report = exchange(&outward(&bond0), &[&bond0], &far)?;
    assert_eq!(report.faults, Faults::default());
    assert_eq!(report.counts(), [150_000, 50_000]);
    bond.stop()
}

fn a_backup_delivers_nothing_and_passes_link_local(xdp_mode: XdpMode) -> Result<()> {
    const COUNT: u64 = 1000;
    let (bond, bond0, wire) = bonded(xdp_mode, "--mode active-backup")?;
    let backup = &wire.cables[1];
    let mut refused = 0;
    for destination in [bond0.mac, Mac::MULTICAST, Mac::BROADCAST] {
        let flow = Flow { destination, frames: COUNT, ..inward(&bond0) };
        let report = exchange(&flow, &[&backup.far], &[&bond0, &backup.near])?;
        assert_eq!(report.faults, Faults { lost: COUNT, ..Faults::default() }, "to {destination}");
        refused += COUNT;
        let state = bond.show()?;
        let drops = state.slave("eth1").map(|slave| slave.drops["inactive_slave"]);
        assert_eq!(drops, Some(refused), "to {destination}");
    }

    // Link-local frames are the slave's own netdev's, on a backup as well as on the active slave.
    for cable in &wire.cables {
        let flow = Flow { destination: Mac::LINK_LOCAL, frames: COUNT, ..inward(&bond0) };
        let report = exchange(&flow, &[&cable.far], &[&cable.near, &bond0])?;
        assert_eq!(report.faults, Faults::default(), "on {}", cable.near.name);
        assert_eq!(report.counts(), [1000, 0], "on {}", cable.near.name);
    }
    assert_eq!(bond.show()?.slave("eth1").map(|slave| slave.rx_packets), Some(0));
    bond.stop()
}

fn a_backup_delivers_all_if_all_slaves_shall_be_active(xdp_mode: XdpMode) -> Result<()> {
    const COUNT: u64 = 1000;
    let (bond, bond0, wire) = bonded(xdp_mode, "--mode active-backup --all-slaves-active")?;
    for cable in &wire.cables {
        let report = exchange(&Flow { frames: COUNT, ..inward(&bond0) }, &[&cable.far], &[&bond0])?;
        assert_eq!(report.faults, Faults::default(), "from {}", cable.near.name);
    }
    let state = bond.show()?;
    assert_eq!(state.slave("eth1").map(|slave| slave.drops["inactive_slave"]), Some(0));
    bond.stop()
}

fn balance_rr_keeps_igmp_on_its_first_slave(xdp_mode: XdpMode) -> Result<()> {
    const IPV4: u16 = 0x0800;
    let (mut bond, bond0, wire) = bonded(xdp_mode, "--mode balance-rr")?;
    // A membership report (RFC 2236) to 239.1.1.1, with the router alert; its number in the source address.
    let report = |number: u8| {
        let ethernet = [&[0x01, 0, 0x5e, 1, 1, 1][..], &bond0.mac.0, &IPV4.to_be_bytes()].concat();
        let ip =
            [0x46, 0, 0, 32, 0, 0, 0, 0, 1, 2, 0, 0, 10, 3, 3, number, 239, 1, 1, 1, 0x94, 4, 0, 0];
        [&ethernet[..], &ip, &[0x16, 0, 0, 0, 239, 1, 1, 1], &[0; 14]].concat()
    };
    let far = [0, 1].map(|cable: usize| wire.cables[cable].far.packet_socket(IPV4));
    let [first, second] = far;
    let far = [first?, second?];
    let heard_by = |expected: usize| -> Result<()> {
        let host = bond0.packet_socket(IPV4)?;
        for number in 0..20 {
            while !host.send(&report(number))? {}
        }
        let mut buffer = [0; 2048];
        for (at, socket) in far.iter().enumerate() {
            let mut numbers = Vec::new();
            while socket.receive(&mut buffer)?.is_some() {
                numbers.push(buffer[29]);
            }
            let all: Vec<u8> = if at == expected { (0..20).collect() } else { Vec::new() };
            assert_eq!(numbers, all, "eth{at}, with eth{expected} the first");
        }
        Ok(())
    };
    heard_by(0)?;
    wire.cables[0].pull()?;
    bond.wait_for("eth0 is down", |state| {
        state.slave("eth0").is_some_and(|slave| slave.mii_status == "down")
    })?;
    heard_by(1)?;
    wire.cables[0].plug()?;
    bond.wait_until_whole()?;
    heard_by(0)?;
    bond.stop()
}
