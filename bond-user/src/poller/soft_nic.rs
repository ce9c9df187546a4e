//! A NIC in software: four rings whose kernel half is ours.
//!
//! It runs the poller without a kernel, exactly: what arrives, what is sent and completed, and when
//! the rings are full are all decided by the test.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::pipeline::Bell;
use super::{
    BATCH, Counters, Kick, Memory, Poller, Queue, Rings, RxRings, Sender, SlavePort, TxRings, Umem,
};
use crate::xsk::{Desc, Frame};

/// The memory of a software UMEM: one number per chunk stands for the bytes of a frame.
#[derive(Clone, Debug)]
pub struct SoftMemory {
    tags: Arc<[AtomicU64]>,
}

impl SoftMemory {
    /// Memory of `chunks` chunks.
    #[must_use]
    pub fn new(chunks: u32) -> Self {
        Self { tags: (0..chunks).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl SoftMemory {
    /// What the chunk of `desc` carries. Relaxed as bytes are: who has the token has synchronised.
    fn tag(&self, desc: Desc) -> u64 {
        self.tags[desc.chunk as usize].load(Relaxed)
    }
}

impl Memory for SoftMemory {
    fn copy_from(&self, dst: &mut Frame, from: &Self, src: &Frame) {
        self.tags[dst.desc().chunk as usize].store(from.tag(src.desc()), Relaxed);
        dst.set_bytes(0, src.len());
    }

    /// None: for a hash, all frames are of one flow.
    fn bytes<'a>(&'a self, _frame: &'a Frame) -> &'a [u8] {
        &[]
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

/// The four rings of one queue, with their kernel halves.
#[derive(Debug)]
pub struct SoftNic {
    rx: SoftRx,
    tx: SoftTx,
}

/// Rx and fill ring.
#[derive(Debug)]
pub struct SoftRx {
    slots: usize,
    fill: VecDeque<Desc>,
    rx: VecDeque<(Desc, u64)>,
}

/// Tx and completion ring.
#[derive(Debug)]
pub struct SoftTx {
    slots: usize,
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
        let [fill, tx, completion] = [(); 3].map(|()| VecDeque::with_capacity(slots));
        Self {
            rx: SoftRx { slots, fill, rx: VecDeque::with_capacity(slots) },
            tx: SoftTx {
                slots,
                tx,
                completion,
                sent: Vec::new(),
                answer: Kick::Done,
                refusing: false,
                sends_on_kick: false,
                kicks: 0,
            },
        }
    }
}

impl Rings for SoftNic {
    type Memory = SoftMemory;
    type Rx = SoftRx;
    type Tx = SoftTx;

    fn split(self) -> (SoftRx, SoftTx) {
        (self.rx, self.tx)
    }
}

impl SoftRx {
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

    /// Chunks waiting to receive.
    #[must_use]
    pub fn filled(&self) -> usize {
        self.fill.len()
    }
}

impl SoftTx {
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
}

impl RxRings for SoftRx {
    type Memory = SoftMemory;

    fn receive(&mut self, memory: &SoftMemory, max: usize, mut out: impl FnMut(Desc)) {
        let count = max.min(self.rx.len()).min(BATCH);
        for (desc, tag) in self.rx.drain(..count) {
            if let Some(slot) = memory.tags.get(desc.chunk as usize) {
                slot.store(tag, Relaxed);
            }
            out(desc);
        }
    }

    unsafe fn fill(&mut self, _memory: &SoftMemory, descs: impl Iterator<Item = Desc>) -> usize {
        let before = self.fill.len();
        self.fill.extend(descs.take(BATCH.min(self.slots - before)));
        self.fill.len() - before
    }

    fn wake_fill(&mut self) {}
}

impl TxRings for SoftTx {
    type Memory = SoftMemory;

    unsafe fn transmit(&mut self, memory: &SoftMemory, descs: impl Iterator<Item = Desc>) -> usize {
        let before = self.tx.len();
        self.tx.extend(descs.take(BATCH.min(self.slots - before)));
        let sent = |desc: &Desc| SoftFrame { tag: memory.tag(*desc), len: desc.len };
        self.sent.extend(self.tx.iter().skip(before).map(sent));
        self.tx.len() - before
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
}

/// Both halves of a pipeline over software NICs that share one UMEM, for a test's or a benchmark's own two threads.
///
/// # Errors
/// When its wake-up descriptor or a ring cannot be made.
pub fn pipeline(
    host: Queue<SoftNic>,
    umem: Umem<SoftMemory>,
    slaves: impl IntoIterator<Item = (u8, SlavePort<SoftNic>)>,
    counters: [Arc<Counters>; 2],
) -> io::Result<(Poller<SoftNic>, Sender<SoftNic>)> {
    let bell = Arc::new(Bell::new()?);
    let halves = super::pipeline::pipeline(host, umem, 0, counters, bell);
    let (mut poller, mut sender) = halves.map_err(io::Error::other)?;
    for (slot, slave) in slaves {
        let (rx, tx) = slave.split();
        sender.attach(slot, tx, None);
        poller.attach(slot, rx, None);
    }
    Ok((poller, sender))
}
