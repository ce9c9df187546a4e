//! The longest frames that zero-copy can take.

use anyhow::{Result, ensure};
use bond_tests::{BondProcess, Mac, bond, pass};

use crate::{Test, nics::Cables, traffic::settled};

/// What igb's buffer of 3 KiB holds beside header, two VLAN tags and checksum.
const LARGEST: usize = 3046;

pub(crate) fn tests() -> Vec<Test> {
    let rows = [("virtio+virtio", [0, 1]), ("igb+igb", [2, 3])];
    rows.map(|(pair, cables)| {
        let run = move || largest(&cables);
        Test { name: format!("{pair}/mtu"), run: Box::new(run) }
    })
    .into()
}

/// One byte more is refused before anything is changed; frames of the largest MTU pass whole, both ways.
fn largest(numbers: &[u8]) -> Result<()> {
    let cables = Cables::lay(numbers)?;
    set_mtu(&cables, LARGEST + 1)?;
    let links = || cables.host.ip("-d -j link show");
    let before = links()?;
    let refused = bond(&cables.host, "run bond0 --iface eth0,eth1 --bind-mode zero-copy")?;
    ensure!(refused.code == Some(1), "{refused:?}");
    let reason = format!(
        "MTU {} is too large: a frame must fit one UMEM chunk, at most {LARGEST}",
        LARGEST + 1
    );
    ensure!(refused.stderr.contains(&reason), "{refused:?}");
    ensure!(links()? == before, "changed from {before} to {}", links()?);

    set_mtu(&cables, LARGEST)?;
    let options = "--iface eth0,eth1 --bind-mode zero-copy --primary eth0";
    let mut process = BondProcess::start(&cables.host, "bond0", options)?;
    let whole = process.wait_until_whole()?;
    let modes: Vec<_> = whole.slaves.iter().map(|s| (&*s.xdp_mode, &*s.bind_mode)).collect();
    ensure!(modes == [("native", "zero-copy"); 2], "{modes:?}");
    let (bond0, far) = (process.port()?, &cables.far[0]);
    pass(LARGEST, &bond0, far, Mac::local(9, 9))?;
    pass(LARGEST, far, &bond0, bond0.mac)?;
    settled(&mut process, &whole)?;
    process.stop()
}

fn set_mtu(cables: &Cables, mtu: usize) -> Result<()> {
    for port in cables.near.iter().chain(&cables.far) {
        port.netns.ip(&format!("link set {} mtu {mtu}", port.name))?;
    }
    cables.near.iter().chain(&cables.far).try_for_each(|port| cables.wait_for_link(port))
}
