use bond_ebpf::hash::HashPolicy;
use bond_ebpf::select::Weights;

use super::*;
use crate::xsk::Frames;

/// Frames with headers, by chunk.
struct Seen {
    frames: Frames,
    headers: Vec<[u8; 14]>,
    /// Slots that a duplicate was wanted for and not had.
    refused: Vec<u8>,
}

impl Seen {
    fn new(chunks: u32) -> Self {
        let headers = vec![[0; 14]; chunks as usize];
        Self { frames: Frames::new(0, chunks), headers, refused: Vec::new() }
    }

    /// One frame to each of these hosts: of no known ethertype, from 02:00:00:00:00:00.
    fn batch(&mut self, hosts: impl IntoIterator<Item = u8>) -> Batch {
        let frame = |host| {
            let frame = self.frames.take().expect("a free chunk");
            self.headers[frame.desc().chunk as usize] =
                [2, 0, 0, 0, 0, host, 2, 0, 0, 0, 0, 0, 0, 0];
            frame
        };
        hosts.into_iter().map(frame).collect()
    }

    fn host(&self, frame: &Frame) -> u8 {
        self.bytes(frame)[5]
    }

    /// What lies in the lanes: slot, and the hosts in order.
    fn lanes(&mut self, stage: &mut Stage) -> Vec<(u8, Vec<u8>)> {
        let lanes = stage.lanes();
        let taken: Vec<_> = lanes.map(|(slot, lane)| (slot, std::mem::take(lane))).collect();
        let hosts = |lane: &Batch| lane.iter().map(|frame| self.host(frame)).collect();
        let seen = taken.iter().map(|(slot, lane)| (*slot, hosts(lane))).collect();
        taken.into_iter().flat_map(|(_, lane)| lane).for_each(|frame| self.frames.put(frame));
        seen
    }
}

impl Sight for Seen {
    fn bytes<'a>(&'a self, frame: &'a Frame) -> &'a [u8] {
        &self.headers[frame.desc().chunk as usize]
    }

    fn duplicate(&mut self, frame: &Frame, slot: u8) -> Option<Frame> {
        let copy = self.frames.take();
        match &copy {
            Some(copy) => {
                self.headers[copy.desc().chunk as usize] =
                    self.headers[frame.desc().chunk as usize];
            }
            None => self.refused.push(slot),
        }
        copy
    }
}

fn snapshot(mode: Mode, usable: &[u8]) -> Snapshot {
    Snapshot {
        mode,
        usable: usable.iter().copied().collect(),
        receive: SlaveSet::EMPTY,
        active: None,
        packets_per_slave: 1,
        xmit_hash_policy: HashPolicy::Layer2,
        weights: Weights::EVEN,
    }
}

#[test]
fn balance_xor_gives_each_flow_its_slave() {
    let (mut seen, mut stage) = (Seen::new(64), Stage::new());
    let mut batch = seen.batch(0..8);
    stage.sort(snapshot(Mode::BalanceXor, &[1, 4, 7]), &mut batch, &mut seen);
    let expected = [(1, vec![0, 3, 6]), (4, vec![1, 4, 7]), (7, vec![2, 5])];
    assert_eq!(seen.lanes(&mut stage), expected);
    // The hash of the rest is taken modulo what is left.
    let mut batch = seen.batch(0..8);
    stage.sort(snapshot(Mode::BalanceXor, &[1, 7]), &mut batch, &mut seen);
    assert_eq!(seen.lanes(&mut stage), [(1, vec![0, 2, 4, 6]), (7, vec![1, 3, 5, 7])]);
}

#[test]
fn broadcast_gives_everything_to_all() {
    let (mut seen, mut stage) = (Seen::new(64), Stage::new());
    let mut batch = seen.batch([9, 8, 7]);
    stage.sort(snapshot(Mode::Broadcast, &[0, 2, 5]), &mut batch, &mut seen);
    assert!(batch.is_empty());
    let all = || vec![9, 8, 7];
    assert_eq!(seen.lanes(&mut stage), [(0, all()), (2, all()), (5, all())]);
    assert_eq!(seen.frames.census().held, 0, "what was duplicated is back");
}

#[test]
fn without_free_chunks_broadcast_reaches_the_last_slave() {
    let (mut seen, mut stage) = (Seen::new(3), Stage::new());
    let mut batch = seen.batch([1, 2]);
    stage.sort(snapshot(Mode::Broadcast, &[0, 2, 5]), &mut batch, &mut seen);
    assert_eq!(seen.lanes(&mut stage), [(0, vec![1]), (5, vec![1, 2])]);
    assert_eq!(seen.refused, [0, 2, 2]);
}

#[test]
fn without_a_slave_everything_stays() {
    for mode in Mode::ALL {
        let (mut seen, mut stage) = (Seen::new(4), Stage::new());
        let mut batch = seen.batch([1, 2]);
        stage.sort(snapshot(mode, &[]), &mut batch, &mut seen);
        assert_eq!(batch.len(), 2, "{mode}");
        assert_eq!(seen.lanes(&mut stage), [], "{mode}");
        batch.drain(..).for_each(|frame| seen.frames.put(frame));
    }
}
