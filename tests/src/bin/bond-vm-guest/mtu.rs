//! The longest frames that zero-copy can take.

use std::thread;

use anyhow::{Result, ensure};
use bond_tests::{BondProcess, ETHERTYPE, Mac, PacketSocket, Port, bond};

use crate::{Test, nics::Cables, traffic::settled};

/// What igb's buffer of 3 KiB holds beside header, two VLAN tags and checksum.
const LARGEST: usize = 3046;
const HEADER: usize = 14;
const FRAMES: u8 = 200;

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
    pass(&bond0, far, Mac::local(9, 9))?;
    pass(far, &bond0, bond0.mac)?;
    settled(&mut process, &whole)?;
    process.stop()
}

fn set_mtu(cables: &Cables, mtu: usize) -> Result<()> {
    for port in cables.near.iter().chain(&cables.far) {
        port.netns.ip(&format!("link set {} mtu {mtu}", port.name))?;
    }
    cables.near.iter().chain(&cables.far).try_for_each(|port| cables.wait_for_link(port))
}

/// Frames of the largest size, one after the other, each of other bytes.
fn pass(from: &Port, to: &Port, destination: Mac) -> Result<()> {
    let (sender, receiver) = (from.packet_socket(ETHERTYPE)?, to.packet_socket(ETHERTYPE)?);
    for number in 0..FRAMES {
        let mut frame = vec![number; HEADER + LARGEST];
        frame[..6].copy_from_slice(&destination.0);
        frame[12..HEADER].copy_from_slice(&ETHERTYPE.to_be_bytes());
        ensure!(sender.send(&frame)?, "no room for frame {number}");
        let received = next(&receiver)?;
        ensure!(received == frame, "frame {number} came as {} other bytes", received.len());
    }
    thread::sleep(PacketSocket::PATIENCE);
    ensure!(next(&receiver)?.is_empty(), "more frames came than were sent");
    Ok(())
}

/// The next frame; empty after half a second without one.
fn next(receiver: &PacketSocket) -> Result<Vec<u8>> {
    let mut buffer = vec![0; 2 * LARGEST];
    for _ in 0..25 {
        if let Some(length) = receiver.receive(&mut buffer)? {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
    Ok(Vec::new())
}
