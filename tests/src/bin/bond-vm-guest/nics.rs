//! The machine's NICs, dealt out to the namespaces of a test.

use std::{net::Ipv4Addr, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use bond_tests::{Echo, Mac, Netns, Port, bounded, wait_until};
use serde_json::Value;

/// Cables of the machine, and so NICs on each of the two sides.
const CABLES: u8 = 5;
const NEAR: u8 = 1;
const FAR: u8 = 2;
/// The emulated machine is slow, and removing a namespace with NICs in it slower.
const PATIENCE: Duration = Duration::from_secs(30);

/// Cables between a host (eth0, eth1, ...) and a peer (w0, w1, ...); the NICs go home when the namespaces end.
#[derive(Debug)]
pub(crate) struct Cables {
    pub(crate) host: Netns,
    pub(crate) peer: Netns,
    pub(crate) near: Vec<Port>,
    pub(crate) far: Vec<Port>,
    numbers: Vec<u8>,
}

impl Cables {
    /// The host's address, with its prefix.
    pub(crate) const HOST: &str = "10.3.3.120/24";
    /// The peer's address.
    pub(crate) const PEER: Ipv4Addr = Ipv4Addr::new(10, 3, 3, 1);

    /// Lays cables `numbers` of the machine and sets all their NICs up. IPv6 is off.
    pub(crate) fn lay(numbers: &[u8]) -> Result<Self> {
        let (host, peer) = (Netns::new("host")?, Netns::new("peer")?);
        host.quiet_ipv6()?;
        peer.quiet_ipv6()?;
        let ends = |netns: &Netns, side, prefix: &str| -> Result<Vec<Port>> {
            let end = |(at, number): (usize, &u8)| {
                let port = Port::new(netns, &format!("{prefix}{at}"), Mac::local(side, *number));
                deal(&port).map(|()| port)
            };
            numbers.iter().enumerate().map(end).collect()
        };
        let (near, far) = (ends(&host, NEAR, "eth")?, ends(&peer, FAR, "w")?);
        for port in &far {
            // Each of them stands for a switch.
            peer.ip(&format!("link set {} promisc on", port.name))?;
        }
        near.iter().chain(&far).try_for_each(|port| port.set_up(true))?;
        let cables = Self { host, peer, near, far, numbers: numbers.to_vec() };
        cables.near.iter().chain(&cables.far).try_for_each(|port| cables.wait_for_link(port))?;
        Ok(cables)
    }

    pub(crate) fn wait_for_link(&self, port: &Port) -> Result<()> {
        wait_until(&format!("{} has link", port.name), PATIENCE, || {
            let link = port.netns.ip(&format!("link show {}", port.name))?;
            Ok(link.contains("LOWER_UP").then_some(()))
        })
    }

    /// Asks the outside to pull the near plug of cable `number`, or to plug it in.
    pub(crate) fn set_link(&self, number: usize, up: bool) {
        println!("@link near{} {}", self.numbers[number], if up { "on" } else { "off" });
    }

    /// The number of the near NIC of that name.
    pub(crate) fn number(&self, name: &str) -> Result<usize> {
        let number = self.near.iter().position(|port| port.name == name);
        number.with_context(|| format!("{name} is no NIC of the host"))
    }

    /// Gives the peer an address, behind a bridge over all cables.
    pub(crate) fn bridge(&self) -> Result<()> {
        self.peer.ip("link add br0 type bridge mcast_snooping 0")?;
        for port in &self.far {
            self.peer.ip(&format!("link set {} master br0", port.name))?;
        }
        let bridge = Port::new(&self.peer, "br0", Mac::local(3, 0));
        bridge.set_up(true)?;
        bridge.add_address(&format!("{}/24", Self::PEER))
    }

    /// Waits until the peer answers the first ping.
    pub(crate) fn wait_for_answer(&self, echo: &Echo) -> Result<()> {
        wait_until("the peer answers", PATIENCE, || {
            Ok(echo.samples().0.iter().any(|sample| sample.rtt.is_some()).then_some(()))
        })
    }
}

/// Waits until every NIC is back in the first namespace.
pub(crate) fn wait_home() -> Result<()> {
    wait_until("every NIC is home", PATIENCE, || {
        let home = links()?.iter().filter(|link| is_ours(link)).count();
        if home < usize::from(2 * CABLES) {
            thread::sleep(Duration::from_millis(20));
            return Ok(None);
        }
        Ok(Some(()))
    })
}

/// Moves the NIC with the MAC of `port` to where and what that is called. Tests leave MTUs behind: it has 1500 again.
pub(crate) fn deal(port: &Port) -> Result<()> {
    let link = wait_until(&format!("NIC {} is home", port.mac), PATIENCE, || {
        Ok(links()?.into_iter().find(|link| mac(link) == Some(port.mac)))
    })?;
    let name = link["ifname"].as_str().context("a link without a name")?;
    let (netns, new_name) = (port.netns.name(), &port.name);
    ip(&format!("link set {name} down mtu 1500"))?;
    ip(&format!("link set {name} netns {netns} name {new_name}"))?;
    Ok(())
}

/// The MAC that a NIC was made with.
fn mac(link: &Value) -> Option<Mac> {
    link["permaddr"].as_str().or_else(|| link["address"].as_str())?.parse().ok()
}

fn is_ours(link: &Value) -> bool {
    mac(link).is_some_and(|Mac([a, b, c, d, side, number])| {
        [a, b, c, d] == [2, 0, 0, 0] && [NEAR, FAR].contains(&side) && number < CABLES
    })
}

/// The links of the first namespace.
fn links() -> Result<Vec<Value>> {
    Ok(serde_json::from_str(&ip("-d -j link show")?)?)
}

fn ip(arguments: &str) -> Result<String> {
    let mut command = std::process::Command::new("ip");
    let ended = bounded(command.args(arguments.split_whitespace()), PATIENCE)?;
    ensure!(ended.code == Some(0), "ip {arguments}: {}", ended.stderr.trim());
    Ok(ended.stdout)
}
