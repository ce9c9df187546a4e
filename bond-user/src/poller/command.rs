//! What the control thread asks of a worker between two turns.
//!
//! Sockets are opened and closed by another thread, because both may block; the worker only
//! takes them in and lets them go. Both directions are bounded lock-free queues.

use crossbeam_queue::ArrayQueue;

use super::{Dataplane, Rings, SlavePort, Umem};
use crate::xsk::{Reclaimed, UmemId};

/// Commands or replies under way at most: one slave is changed at a time.
const DEPTH: usize = 32;

/// A request to a worker.
#[derive(Debug)]
pub enum Command<R: Rings> {
    /// Take a slave in, with a UMEM of its own if it has one.
    Attach(u8, SlavePort<R>, Option<(UmemId, Umem<R::Memory>)>),
    /// Let a slave go.
    Detach(u8),
    /// The slave's sockets are closed: take its chunks back, and give the UMEM with this id up.
    Reclaim(u8, Option<UmemId>),
}

/// A worker's answer: one to each command, in order.
#[derive(Debug)]
pub enum Reply<R: Rings> {
    /// The slave is in and its fill rings are full.
    Attached,
    /// The slave's queues, to be closed. `None` if there was no such slave.
    Detached(Option<SlavePort<R>>),
    /// What came back from the slave, and the UMEM that was given up.
    Reclaimed(Reclaimed, Option<Umem<R::Memory>>),
}

/// The two queues between the control thread and one worker.
#[derive(Debug)]
pub struct Mailbox<R: Rings> {
    commands: ArrayQueue<Command<R>>,
    replies: ArrayQueue<Reply<R>>,
}

impl<R: Rings> Default for Mailbox<R> {
    fn default() -> Self {
        Self { commands: ArrayQueue::new(DEPTH), replies: ArrayQueue::new(DEPTH) }
    }
}

impl<R: Rings> Mailbox<R> {
    /// Control thread: asks. Gives the command back when the worker does not keep up.
    ///
    /// # Errors
    /// The command, when the queue is full.
    pub fn ask(&self, command: Command<R>) -> Result<(), Command<R>> {
        self.commands.push(command)
    }

    /// Control thread: the next answer.
    pub fn answer(&self) -> Option<Reply<R>> {
        self.replies.pop()
    }

    /// Worker: carries out what was asked.
    pub(super) fn obey(&self, plane: &mut Dataplane<R>) {
        // Each turn comes by, and to pop from an empty queue takes a fence.
        if self.commands.is_empty() {
            return;
        }
        while !self.replies.is_full()
            && let Some(command) = self.commands.pop()
        {
            let reply = match command {
                Command::Attach(slot, slave, umem) => {
                    plane.attach(slot, slave, umem);
                    Reply::Attached
                }
                Command::Detach(slot) => Reply::Detached(plane.detach(slot)),
                Command::Reclaim(slot, umem) => {
                    let back = plane.reclaim(slot);
                    Reply::Reclaimed(back, umem.and_then(|id| plane.remove_umem(id)))
                }
            };
            // Not full: this worker is the only one that pushes.
            drop(self.replies.push(reply));
        }
    }
}
