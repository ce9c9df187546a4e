//! The namespaces and cables around a device under test.

use anyhow::{Context as _, Result, ensure};
use bond_tests::{Cable, LinkEvents, Mac, Netns, Port};

/// A host with slaves s0, s1 on the one side, and the ends w0, w1 of their cables on the other.
#[derive(Debug)]
pub struct Rig {
    pub host: Netns,
    pub wire: Netns,
    /// s0 to w0, and s1 to w1.
    pub cables: Vec<Cable>,
}

impl Rig {
    /// Lays the cables of `slaves` slaves.
    pub fn new(slaves: u8) -> Result<Self> {
        let (host, wire) = (Netns::new("dut")?, Netns::new("wire")?);
        for netns in [&host, &wire] {
            netns.quiet_ipv6()?;
        }
        let lay = |number| {
            let near = Port::new(&host, &format!("s{number}"), Mac::local(1, number));
            let far = Port::new(&wire, &format!("w{number}"), Mac::local(2, number));
            Cable::connect(near, far, 1, LinkEvents::Prompt)
        };
        let cables = (0..slaves).map(lay).collect::<Result<_>>()?;
        Ok(Self { host, wire, cables })
    }

    /// Lays the cable from h0 to h1, for a device that does not make its own.
    pub fn host_cable(&self) -> Result<Cable> {
        let near = Port::new(&self.host, "h0", Mac::local(3, 0));
        let far = Port::new(&self.host, "h1", Mac::local(3, 1));
        Cable::connect(near, far, 1, LinkEvents::Prompt)
    }

    /// The slaves' netdevs.
    pub fn slaves(&self) -> impl Iterator<Item = &Port> {
        self.cables.iter().map(|cable| &cable.near)
    }

    /// The far ends.
    #[must_use]
    pub fn wire_ends(&self) -> Vec<Port> {
        self.cables.iter().map(|cable| cable.far.clone()).collect()
    }
}

/// Makes a veth take frames that XDP redirects to its peer, as one with an XDP program of its own does.
///
/// It then has a NAPI, and the peer says that it can transmit such frames (`veth_gro_requested`, drivers/net/veth.c).
pub fn take_redirects(port: &Port) -> Result<()> {
    let done = port.netns.command("ethtool").args(["-K", &port.name, "gro", "on"]).output()?;
    ensure!(done.status.success(), "{}: {}", port.name, String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// The ifindex of a netdev.
pub fn index(port: &Port) -> Result<u32> {
    let list: serde_json::Value =
        serde_json::from_str(&port.netns.ip(&format!("-j link show {}", port.name))?)?;
    let index = list[0]["ifindex"].as_u64().context("a link without an index")?;
    Ok(index.try_into()?)
}
