//! What becomes of the frames when the active slave loses its carrier.

use std::{thread, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use bond_tests::{BondProcess, ETHERTYPE, Flow, Mac, Pace, Port, Report, Sink, send};
use serde_json::json;

use crate::{Test, nics::Cables, record, traffic::settled};

const PULLS: u32 = 10;
const FRAMES: u64 = 1000;
const RATE: u32 = 2000;
/// Frames of a quarter of a second: this machine stands still now and then.
const MOST_LOST: u64 = RATE as u64 / 4;
/// Into the flow: when the cable is pulled.
const PULL_AT: Duration = Duration::from_millis(150);
/// After the plug: how long frames that were stuck may still come out.
const LATE: Duration = Duration::from_millis(500);

pub(crate) fn tests() -> Vec<Test> {
    let rows = [("virtio+virtio", [0, 1]), ("igb+igb", [2, 3])];
    rows.map(|(pair, cables)| {
        let run = move || pulled_under_traffic(pair, cables);
        Test { name: format!("{pair}/carrier"), run: Box::new(run) }
    })
    .into()
}

/// The cable of the active slave is pulled and plugged in under numbered frames: the bond goes on, no frame comes
/// twice or after the plug, and none is missing from the UMEMs.
fn pulled_under_traffic(pair: &str, numbers: [u8; 2]) -> Result<()> {
    let cables = Cables::lay(&numbers)?;
    let mut bond =
        BondProcess::start(&cables.host, "bond0", "--iface eth0,eth1 --mode active-backup")?;
    let before = bond.wait_until_whole()?;
    let bond0 = bond.port()?;
    let (mut lost, mut late) = (Vec::new(), Vec::new());
    for round in 0..PULLS {
        let flow =
            Flow { id: round, source: bond0.mac, destination: Mac::local(9, 9), frames: FRAMES };
        let pull = pull(&cables, &mut bond, &bond0, &flow)?;
        let faults = pull.during.faults;
        ensure!((faults.altered, faults.duplicated) == (0, 0), "pull {round}: {faults:?}");
        lost.push(faults.lost);
        late.push(pull.late);
    }
    println!("@note of {FRAMES} frames at {RATE}/s lost at each pull: {lost:?}");
    println!("@note frames that came out after the plug: {late:?}");
    record("carrier", json!({ "pair": pair, "rate": RATE, "lost": lost, "late": late }));
    settled(&mut bond, &before)?;
    bond.stop()?;
    ensure!(lost.iter().all(|&lost| lost <= MOST_LOST), "more than {MOST_LOST} lost: {lost:?}");
    ensure!(late.iter().all(|&late| late == 0), "stale frames after the plug: {late:?}");
    Ok(())
}

struct Pull {
    /// Until the plug.
    during: Report,
    /// Frames of the flow that came after the plug.
    late: usize,
}

fn pull(cables: &Cables, bond: &mut BondProcess, bond0: &Port, flow: &Flow) -> Result<Pull> {
    let active = bond.show()?.active_slave.context("no active slave")?;
    let number = cables.number(&active)?;
    let socket = bond0.packet_socket(ETHERTYPE)?;
    let sink = Sink::open(flow, &[&cables.far[0], &cables.far[1]])?;
    let pace = Pace { rate: RATE, window: u64::MAX };
    thread::scope(|scope| {
        let sending = scope.spawn(|| send(flow, &[socket], pace, None));
        thread::sleep(PULL_AT);
        cables.set_link(number, false);
        sending.join().map_err(|_panic| anyhow!("the sender panicked"))?
    })?;
    let during = sink.finish()?;
    let late = Sink::open(flow, &[&cables.far[number]])?;
    cables.set_link(number, true);
    bond.wait_until_whole()?;
    thread::sleep(LATE);
    let late = late.finish()?.counts()[0];
    Ok(Pull { during, late })
}
