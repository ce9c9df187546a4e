//! What the lab measured, and whether the bond did its job.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bond_tests::{Samples, State};
use serde::Serialize;

/// Longest outage of a pull with which a bond has done its job.
const OUTAGE_LIMIT: Duration = Duration::from_millis(100);

/// A pull of a cable.
#[derive(Clone, Debug)]
pub(super) struct Pull {
    /// The slave whose cable it was.
    pub(super) slave: String,
    /// The other one.
    pub(super) other: String,
    /// Just before.
    pub(super) at: Instant,
    /// Just before it was plugged in again.
    pub(super) until: Instant,
    /// The active slave in between.
    pub(super) active: Option<String>,
}

impl Pull {
    /// The pings that the pull could disturb: those it caught on the way, and all until the plug.
    pub(super) fn pings(&self, samples: &Samples) -> Samples {
        let margin = Duration::from_millis(50);
        samples.between(self.at.checked_sub(margin).unwrap_or(self.at), self.until)
    }
}

/// The numbers, as `--json` prints them.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) mode: String,
    pub(super) xdp_mode: String,
    pub(super) sent: usize,
    pub(super) lost: usize,
    pub(super) outages_ms: Vec<f64>,
    /// Received and sent.
    pub(super) frames_per_slave: BTreeMap<String, u64>,
    #[serde(skip)]
    pub(super) failings: Vec<String>,
}

impl Outcome {
    /// Judges a run: `samples` are all pings, `period` apart, and `state` is the bond's at the end.
    pub(super) fn new(samples: &Samples, period: Duration, pulls: &[Pull], state: &State) -> Self {
        let outages: Vec<_> = pulls.iter().map(|pull| pull.pings(samples).outage(period)).collect();
        let frames = state
            .slaves
            .iter()
            .map(|slave| (slave.ifname.clone(), slave.rx_packets + slave.tx_packets));
        Self {
            mode: state.mode.clone(),
            xdp_mode: state.slaves[0].xdp_mode.clone(),
            sent: samples.0.len(),
            lost: samples.lost(),
            outages_ms: outages.iter().map(|outage| milliseconds(*outage)).collect(),
            frames_per_slave: frames.collect(),
            failings: failings(samples, pulls, &outages, state),
        }
    }
}

/// In milliseconds, to the microsecond.
pub(super) fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// The job: replies flow again soon after each pull, over the other slave; nothing is lost at any other time; both
/// slaves carry frames; at the end all is as at the start.
fn failings(samples: &Samples, pulls: &[Pull], outages: &[Duration], state: &State) -> Vec<String> {
    let mut failings = Vec::new();
    let mut expect = |kept: bool, failing: String| {
        if !kept {
            failings.push(failing);
        }
    };
    for (pull, &outage) in pulls.iter().zip(outages) {
        let Pull { slave, other, active, .. } = pull;
        expect(
            outage <= OUTAGE_LIMIT,
            format!(
                "{slave} pulled: {:.1} ms without a reply, more than {OUTAGE_LIMIT:?}",
                milliseconds(outage)
            ),
        );
        let moved = state.active_slave.is_none() || active.as_ref() == Some(other);
        expect(moved, format!("{slave} pulled: the active slave is {active:?}, not {other}"));
    }
    let in_pulls: usize = pulls.iter().map(|pull| pull.pings(samples).lost()).sum();
    let elsewhere = samples.lost() - in_pulls;
    expect(elsewhere == 0, format!("{elsewhere} pings were lost while no cable was pulled"));
    for slave in &state.slaves {
        expect(
            slave.rx_packets > 0 && slave.tx_packets > 0,
            format!("{} did not carry both ways", slave.ifname),
        );
    }
    expect(
        state.is_whole() && state.mii_status == "up",
        "not every slave is up at the end".to_owned(),
    );
    failings
}
