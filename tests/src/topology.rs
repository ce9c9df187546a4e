//! The networks that the tests and the lab use.

use anyhow::Result;

use crate::{BondProcess, Cable, Mac, Netns, Port};

/// What stands on the switch's side of the two cables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// Two separate bridge ports, as active-backup wants.
    Plain,
    /// A static link aggregation group, as balance-rr wants: a second bond.
    StaticLag,
}

/// A host and a peer behind a switch:
///
/// ```text
///   host            switch              peer
///   eth0 ---------- sw0 \
///                        br0 -- port -- eth0 10.3.3.1/24
///   eth1 ---------- sw1 /
/// ```
#[derive(Debug)]
pub struct Lan {
    /// Ends before the namespaces it runs in.
    pub lag: Option<BondProcess>,
    pub host: Netns,
    pub switch: Netns,
    pub peer: Netns,
    /// eth0 to sw0, and eth1 to sw1.
    pub cables: [Cable; 2],
    /// The peer's side of the switch.
    pub port: Cable,
}

impl Lan {
    /// The peer's address.
    pub const PEER: std::net::Ipv4Addr = std::net::Ipv4Addr::new(10, 3, 3, 1);

    /// Builds it. IPv6 is off on every netdev.
    pub fn new(switch_kind: Switch) -> Result<Self> {
        let (host, switch, peer) =
            (Netns::new("host")?, Netns::new("switch")?, Netns::new("peer")?);
        for netns in [&host, &switch, &peer] {
            netns.quiet_ipv6()?;
        }
        let cables = [
            cable(&host, "eth0", &switch, "sw0", 0, 1)?,
            cable(&host, "eth1", &switch, "sw1", 1, 1)?,
        ];
        let port = cable(&peer, "eth0", &switch, "port", 2, 1)?;
        port.near.add_address(&format!("{}/24", Self::PEER))?;
        switch.ip("link add br0 type bridge mcast_snooping 0")?;
        switch.ip("link set port master br0")?;
        let lag = match switch_kind {
            Switch::Plain => {
                switch.ip("link set sw0 master br0")?;
                switch.ip("link set sw1 master br0")?;
                None
            }
            Switch::StaticLag => {
                let lag =
                    BondProcess::start(&switch, "bond0", "--iface sw0,sw1 --mode balance-rr")?;
                switch.ip("link set bond0 master br0")?;
                switch.ip("link set bond0 up")?;
                Some(lag)
            }
        };
        switch.ip("link set br0 up")?;
        Ok(Self { lag, host, switch, peer, cables, port })
    }
}

/// A host and a peer joined by cables with nothing in between, for exact counts: eth0 to w0, eth1 to w1, and so on.
#[derive(Debug)]
pub struct Wire {
    pub host: Netns,
    pub peer: Netns,
    pub cables: Vec<Cable>,
}

impl Wire {
    /// Builds it with `cables` cables of `queues` queues. IPv6 is off on every netdev.
    pub fn new(cables: u8, queues: u32) -> Result<Self> {
        let (host, peer) = (Netns::new("host")?, Netns::new("peer")?);
        host.quiet_ipv6()?;
        peer.quiet_ipv6()?;
        let mut wire = Self { host, peer, cables: Vec::new() };
        for number in 0..cables {
            wire.cables.push(wire.cable(number, queues)?);
        }
        Ok(wire)
    }

    /// Lays cable `number`, which must not be there.
    pub fn cable(&self, number: u8, queues: u32) -> Result<Cable> {
        cable(
            &self.host,
            &format!("eth{number}"),
            &self.peer,
            &format!("w{number}"),
            number,
            queues,
        )
    }
}

/// Joins two namespaces; the MACs are `02:00:00:00:01:<number>` near and `02:00:00:00:02:<number>` far.
fn cable(
    near: &Netns,
    near_name: &str,
    far: &Netns,
    far_name: &str,
    number: u8,
    queues: u32,
) -> Result<Cable> {
    let near = Port::new(near, near_name, Mac::local(1, number));
    let far = Port::new(far, far_name, Mac::local(2, number));
    Cable::connect(near, far, queues)
}
