//! Frames for the host gather while workers are overloaded.

use std::sync::Arc;

use super::BondError;
use super::bond::Bond;
use super::fitter::Job;
use crate::egress::Work;
use crate::poller::{Totals, Worker};
use crate::xsk::{PortId, XskRings};

impl Bond {
    /// Looks at what the workers have done, and lets frames gather or no longer.
    pub(super) fn moderate(&mut self) -> Result<(), BondError> {
        let Some(moderation) = &mut self.moderation else { return Ok(()) };
        let work = self.workers.iter().map(work).collect();
        match moderation.step(work, self.started.elapsed()) {
            Some(period) => self.fitter.ask(Job::Gather(period)),
            None => Ok(()),
        }
    }
}

fn work(worker: &Worker<XskRings>) -> Work {
    let counters = worker.counters();
    // The first is of the thread that receives.
    let receiving = &counters[0].worker;
    Work {
        turns: receiving.turns.get(),
        overloaded_turns: receiving.overloaded_turns.get(),
        delivered: Totals::of(counters.iter().map(Arc::as_ref), PortId::HOST).tx_frames,
    }
}
