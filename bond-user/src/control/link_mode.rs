//! Speed and duplex of slaves. To ask a driver for them takes the kernel's RTNL lock: the fitter asks.

use super::BondError;
use super::bond::Bond;
use super::fitter::Job;
use crate::port::LinkMode;

impl Bond {
    /// Has speed and duplex of a slave read, which change with its link.
    pub(super) fn ask_link_mode(&self, slot: u8) -> Result<(), BondError> {
        let Some(ifindex) = self.slot(slot).ifindex() else { return Ok(()) };
        self.fitter.ask(Job::LinkMode(slot, ifindex))
    }

    /// What was read, unless the slave has left meanwhile.
    pub(super) fn keep_link_mode(&mut self, slot: u8, ifindex: u32, mode: Option<LinkMode>) {
        let attached = self.slot_mut(slot).attached.as_mut();
        if let Some(attached) = attached.filter(|attached| attached.port.ifindex == ifindex) {
            attached.link_mode = mode;
        }
    }
}
