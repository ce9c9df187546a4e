//! What the control thread asks of a worker between two turns.
//!
//! Sockets are opened and closed by another thread, because both may block; the worker only
//! takes them in and lets them go. Both directions are bounded lock-free queues.

use std::io;

use crossbeam_queue::ArrayQueue;

use crate::xsk::{Reclaimed, UmemId};

/// Commands or replies under way at most: one slave is changed at a time.
const DEPTH: usize = 32;

/// A request to a worker, or to one of its threads: `P` is what it gets of a slave, `U` what it gets of a UMEM.
#[derive(Debug)]
pub enum Command<P, U> {
    /// Take a slave in, with a UMEM of its own if it has one.
    Attach(u8, P, Option<(UmemId, U)>),
    /// Let a slave go.
    Detach(u8),
    /// The slave's sockets are closed: take its chunks back, and give the UMEM with this id up.
    Reclaim(u8, UmemId),
}

/// The answer: one to each command, in order.
#[derive(Debug)]
pub enum Reply<P, U> {
    /// The slave is in and its fill rings are full.
    Attached,
    /// The slave's queues, to be closed. `None` if there was no such slave.
    Detached(Option<P>),
    /// What came back from the slave, and the UMEM that was given up.
    Reclaimed(Reclaimed, Option<U>),
}

/// The two queues between the control thread and one thread of a worker.
#[derive(Debug)]
pub(super) struct Mailbox<P, U> {
    commands: ArrayQueue<Command<P, U>>,
    replies: ArrayQueue<io::Result<Reply<P, U>>>,
}

impl<P, U> Default for Mailbox<P, U> {
    fn default() -> Self {
        Self { commands: ArrayQueue::new(DEPTH), replies: ArrayQueue::new(DEPTH) }
    }
}

impl<P, U> Mailbox<P, U> {
    /// Control thread: asks. Gives the command back when the worker does not keep up.
    pub(super) fn ask(&self, command: Command<P, U>) -> Result<(), Command<P, U>> {
        self.commands.push(command)
    }

    /// Control thread: the next answer.
    pub(super) fn answer(&self) -> Option<io::Result<Reply<P, U>>> {
        self.replies.pop()
    }

    /// Worker: carries out what was asked.
    pub(super) fn obey(&self, mut carry_out: impl FnMut(Command<P, U>) -> io::Result<Reply<P, U>>) {
        // Each turn comes by, and to pop from an empty queue takes a fence.
        if self.commands.is_empty() {
            return;
        }
        while !self.replies.is_full()
            && let Some(command) = self.commands.pop()
        {
            // Not full: this thread is the only one that pushes.
            drop(self.replies.push(carry_out(command)));
        }
    }
}
