//! A NIC in software: four rings whose kernel half is ours.
//!
//! It runs the poller without a kernel, exactly: what arrives, what is sent and completed, and when
//! the rings are full are all decided by the test.

use std::collections::VecDeque;

use super::{BATCH, Kick, Memory, Rings};
use crate::xsk::{Desc, Frame};

/// The memory of a software UMEM: one number per chunk stands for the bytes of a frame.
#[derive(Debug)]
pub struct SoftMemory {
    tags: Vec<u64>,
}

impl SoftMemory {
    /// Memory of `chunks` chunks.
    #[must_use]
    pub fn new(chunks: u32) -> Self {
        Self { tags: vec![0; chunks as usize] }
    }
}

impl Memory for SoftMemory {
    fn copy_from(&mut self, dst: &mut Frame, from: &Self, src: &Frame) {
        self.tags[dst.desc().chunk as usize] = from.tags[src.desc().chunk as usize];
        dst.set_bytes(0, src.len());
    }
}

/// A frame on the software wire: what it carries, and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoftFrame {
    /// Stands for the bytes.
    pub tag: u64,
    /// Bytes.
    pub len: u16,
}

/// Both halves of the four rings of one queue.
#[derive(Debug)]
pub struct SoftNic {
    slots: usize,
    fill: VecDeque<Desc>,
    rx: VecDeque<(Desc, u64)>,
    tx: VecDeque<Desc>,
    completion: VecDeque<Desc>,
    /// Frames put on the tx ring, in order, with what they carried at that time.
    sent: Vec<SoftFrame>,
    /// What the next wake-ups answer, unless the next two say otherwise.
    pub answer: Kick,
    /// Each wake-up drops one frame, as copy mode does when the driver refuses it.
    pub refusing: bool,
    /// A wake-up that answers `Done` finishes sending, as copy mode does.
    pub sends_on_kick: bool,
    /// Wake-ups so far.
    pub kicks: u64,
}

impl SoftNic {
    /// Rings of `slots` slots each.
    #[must_use]
    pub fn new(slots: usize) -> Self {
        Self {
            slots,
            fill: VecDeque::with_capacity(slots),
            rx: VecDeque::with_capacity(slots),
            tx: VecDeque::with_capacity(slots),
            completion: VecDeque::with_capacity(slots),
            sent: Vec::new(),
            answer: Kick::Done,
            refusing: false,
            sends_on_kick: false,
            kicks: 0,
        }
    }

    /// Kernel half: a frame arrives. False when no chunk was filled or the rx ring is full: it is lost.
    pub fn arrive(&mut self, frame: SoftFrame) -> bool {
        if self.rx.len() == self.slots {
            return false;
        }
        let Some(Desc { chunk, .. }) = self.fill.pop_front() else { return false };
        self.rx.push_back((Desc { chunk, offset: 0, len: frame.len }, frame.tag));
        true
    }

    /// Kernel half: puts any descriptor on the rx ring, as a broken driver would.
    pub fn forge(&mut self, desc: Desc) {
        self.rx.push_back((desc, 0));
    }

    /// Kernel half: finishes sending at most `max` frames; returns how many.
    pub fn finish(&mut self, max: usize) -> usize {
        let count = max.min(self.tx.len());
        self.completion.extend(self.tx.drain(..count));
        count
    }

    /// Kernel half: takes everything off the tx ring and never completes it, as igb does without a carrier.
    pub fn swallow(&mut self) {
        self.tx.clear();
    }

    /// What was put on the tx ring since the last call, in order.
    pub fn take_sent(&mut self) -> Vec<SoftFrame> {
        std::mem::take(&mut self.sent)
    }

    /// Forgets what was put on the tx ring, but keeps room for as much.
    pub fn forget_sent(&mut self) {
        self.sent.clear();
    }

    /// Chunks waiting to receive.
    #[must_use]
    pub fn filled(&self) -> usize {
        self.fill.len()
    }
}

impl Rings for SoftNic {
    type Memory = SoftMemory;

    fn receive(&mut self, memory: &mut SoftMemory, max: usize, mut out: impl FnMut(Desc)) {
        let count = max.min(self.rx.len()).min(BATCH);
        for (desc, tag) in self.rx.drain(..count) {
            if let Some(slot) = memory.tags.get_mut(desc.chunk as usize) {
                *slot = tag;
            }
            out(desc);
        }
    }

    unsafe fn transmit(&mut self, memory: &SoftMemory, descs: impl Iterator<Item = Desc>) -> usize {
        let before = self.tx.len();
        self.tx.extend(descs.take(BATCH.min(self.slots - before)));
        let sent = |desc: &Desc| SoftFrame { tag: memory.tags[desc.chunk as usize], len: desc.len };
        self.sent.extend(self.tx.iter().skip(before).map(sent));
        self.tx.len() - before
    }

    unsafe fn fill(&mut self, _memory: &SoftMemory, descs: impl Iterator<Item = Desc>) -> usize {
        let before = self.fill.len();
        self.fill.extend(descs.take(BATCH.min(self.slots - before)));
        self.fill.len() - before
    }

    fn complete(&mut self, _memory: &SoftMemory, out: impl FnMut(Desc)) -> usize {
        let count = self.completion.len().min(BATCH);
        self.completion.drain(..count).for_each(out);
        count
    }

    fn kick(&mut self) -> Kick {
        self.kicks += 1;
        if self.refusing {
            return if self.finish(1) == 1 { Kick::Dropped } else { Kick::Done };
        }
        if self.sends_on_kick && self.answer == Kick::Done {
            self.finish(usize::MAX);
        }
        self.answer
    }

    fn wake_fill(&mut self) {}
}
