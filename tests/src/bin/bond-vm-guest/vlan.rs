//! Announcements for the VLANs on bond0: the kernel that the other tests run on may have none.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bond_tests::{ALL_ETHERTYPES, BondProcess, Lan, Mac, PacketSocket, Port, Switch};

use crate::Test;

pub(crate) fn tests() -> Vec<Test> {
    vec![Test { name: "vlan/announcements".to_owned(), run: Box::new(announcements) }]
}

/// A failover is announced for an address on a VLAN, and for one on a VLAN on it, each with its tags.
fn announcements() -> Result<()> {
    let lan = Lan::new(Switch::Plain)?;
    let bond = BondProcess::start(&lan.host, "bond0", "--iface eth0,eth1 --num-peer-notif 2")?;
    let mac = bond.port()?.mac;
    for (netns, lower) in [(&lan.host, "bond0"), (&lan.switch, "sw1")] {
        for (name, lower, id) in [("outer", lower, 5), ("inner", "outer", 6)] {
            netns.ip(&format!("link add link {lower} name {name} type vlan id {id}"))?;
            netns.ip(&format!("link set {name} up"))?;
        }
    }
    lan.host.ip("address add 10.5.5.120/24 dev outer")?;
    lan.host.ip("address add 10.6.6.120/24 dev inner")?;
    let listen = |name| Port::new(&lan.switch, name, mac).packet_socket(ALL_ETHERTYPES);
    let (outer, inner) = (listen("outer")?, listen("inner")?);
    lan.cables[0].pull()?;
    // Only frames with both tags come up the inner one; on the outer one they are seen before.
    let heard = [arps(&inner, mac)?, arps(&outer, mac)?];
    println!("@note announced on the inner VLAN {:?}, on the outer one {:?}", heard[0], heard[1]);
    ensure!(heard[0] == [[10, 6, 6, 120]; 2], "on the inner VLAN: {heard:?}");
    let both = [[10, 6, 6, 120], [10, 5, 5, 120]];
    ensure!(heard[1] == [both, both].concat(), "on the outer VLAN: {heard:?}");
    bond.stop()
}

/// The addresses that gratuitous ARPs without a tag announce on a netdev within a second.
fn arps(socket: &PacketSocket, mac: Mac) -> Result<Vec<[u8; 4]>> {
    let (start, mut addresses, mut buffer) = (Instant::now(), Vec::new(), [0; 2048]);
    let header = [&Mac::BROADCAST.0[..], &mac.0, &[8, 6]].concat();
    while start.elapsed() < Duration::from_secs(1) {
        let Some(length) = socket.receive(&mut buffer)? else { continue };
        let frame = &buffer[..length];
        if frame.starts_with(&header) {
            addresses.extend(frame[28..].first_chunk::<4>());
        }
    }
    Ok(addresses)
}
