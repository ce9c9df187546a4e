//! Mode balance-xor: every flow has its slave, by the kernel's hash.

use std::collections::BTreeSet;

use anyhow::Result;
use bond_tests::{
    BondProcess, Faults, Flow, Mac, PacketSocket, Port, Wire, XdpMode, exchange, native_and_generic,
};

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_FLOW: u32 = 0x88b5;
const PORTS: std::ops::Range<u16> = 5000..5100;

native_and_generic!(
    layer2_tells_flows_by_their_macs,
    layer3_and_4_tell_flows_by_their_ports,
    frames_from_every_slave_are_delivered,
);

fn bonded(xdp_mode: XdpMode, arguments: &str) -> Result<(BondProcess, Port, Wire)> {
    let wire = Wire::new(2, 1)?;
    let arguments =
        format!("--iface eth0,eth1 --mode balance-xor --xdp-mode {} {arguments}", xdp_mode.name());
    let bond = BondProcess::start(&wire.host, "bond0", &arguments)?;
    let bond0 = bond.port()?;
    Ok((bond, bond0, wire))
}

fn layer2_tells_flows_by_their_macs(xdp_mode: XdpMode) -> Result<()> {
    let (mut bond, bond0, wire) = bonded(xdp_mode, "")?;
    let far = [&wire.cables[0].far, &wire.cables[1].far];
    let flow = |host: u8| Flow {
        id: host.into(),
        source: bond0.mac,
        destination: Mac::local(9, host),
        frames: 1000,
    };
    for host in 0..8 {
        let report = exchange(&flow(host), &[&bond0], &far)?;
        assert_eq!(report.faults, Faults::default(), "to host {host}");
        let hash = u32::from(host ^ bond0.mac.0[5]) ^ ETHERTYPE_FLOW;
        let expected = if hash.is_multiple_of(2) { [1000, 0] } else { [0, 1000] };
        assert_eq!(report.counts(), expected, "to host {host}");
        assert!(report.arrivals.iter().all(|port| port.out_of_order() == 0), "to host {host}");
    }
    wire.cables[1].pull()?;
    bond.wait_for("eth1 is down", |state| {
        state.slave("eth1").is_some_and(|slave| slave.mii_status == "down")
    })?;
    for host in 0..8 {
        let report = exchange(&flow(host), &[&bond0], &far)?;
        assert_eq!(report.faults, Faults::default(), "to host {host} over one slave");
        assert_eq!(report.counts(), [1000, 0], "to host {host} over one slave");
    }
    bond.stop()
}

/// A UDP frame from 10.3.3.2 to 10.3.3.1, without payload.
fn udp(source: Mac, port: u16) -> Vec<u8> {
    let ip = [0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 10, 3, 3, 2, 10, 3, 3, 1];
    let [p0, p1] = port.to_be_bytes();
    let header = [&Mac::local(2, 0).0[..], &source.0, &ETHERTYPE_IPV4.to_be_bytes()].concat();
    [&header[..], &ip, &[p0, p1, 0, 53, 0, 8, 0, 0], &[0; 18]].concat()
}

/// The slave out of two: `bond_xmit_hash` with layer3+4, written out for these frames.
fn slave_of(port: u16) -> usize {
    let [p0, p1] = port.to_be_bytes();
    let mut hash = u32::from_ne_bytes([p0, p1, 0, 53]);
    hash ^= u32::from_ne_bytes([10, 3, 3, 2]) ^ u32::from_ne_bytes([10, 3, 3, 1]);
    hash ^= hash >> 16;
    hash ^= hash >> 8;
    (hash >> 1) as usize % 2
}

/// The source ports of the UDP frames that arrive until it is silent.
fn ports_of(socket: &PacketSocket) -> Result<BTreeSet<u16>> {
    let (mut ports, mut buffer) = (BTreeSet::new(), [0; 2048]);
    while let Some(length) = socket.receive(&mut buffer)? {
        assert_eq!(length, 60);
        assert!(ports.insert(u16::from_be_bytes([buffer[34], buffer[35]])), "twice");
    }
    Ok(ports)
}

fn layer3_and_4_tell_flows_by_their_ports(xdp_mode: XdpMode) -> Result<()> {
    let (bond, bond0, wire) = bonded(xdp_mode, "--xmit-hash-policy layer3+4")?;
    let far = [0, 1].map(|cable: usize| wire.cables[cable].far.packet_socket(ETHERTYPE_IPV4));
    let host = bond0.packet_socket(ETHERTYPE_IPV4)?;
    for port in PORTS {
        while !host.send(&udp(bond0.mac, port))? {}
    }
    for (slave, socket) in far.into_iter().enumerate() {
        let expected: BTreeSet<u16> = PORTS.filter(|port| slave_of(*port) == slave).collect();
        assert!(expected.len() > 30, "both slaves have their flows");
        assert_eq!(ports_of(&socket?)?, expected, "eth{slave}");
    }
    assert_eq!(bond.show()?.host.rx_packets, 100);
    bond.stop()
}

fn frames_from_every_slave_are_delivered(xdp_mode: XdpMode) -> Result<()> {
    let (bond, bond0, wire) = bonded(xdp_mode, "--layout pipeline --cores 0,1")?;
    let far = [&wire.cables[0].far, &wire.cables[1].far];
    let flow = Flow { id: 1, source: Mac::local(2, 0), destination: bond0.mac, frames: 20_000 };
    let report = exchange(&flow, &far, &[&bond0])?;
    assert_eq!(report.faults, Faults::default());
    let state = bond.show()?;
    let received = |name| state.slave(name).map(|slave| slave.rx_packets);
    assert_eq!(["eth0", "eth1"].map(received), [Some(10_000); 2]);
    bond.stop()
}
