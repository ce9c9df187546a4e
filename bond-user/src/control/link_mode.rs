//! Speed and duplex of slaves. To ask a driver for them takes the kernel's RTNL lock: the fitter asks.

use std::time::Instant;

use super::BondError;
use super::bond::Bond;
use super::fitter::Job;
use crate::mode::{LinkSpeed, PrimaryReselect};
use crate::port::LinkMode;

impl Bond {
    /// Has speed and duplex of a slave read, which change with its link.
    pub(super) fn ask_link_mode(&self, slot: u8) -> Result<(), BondError> {
        let Some(ifindex) = self.slot(slot).ifindex() else { return Ok(()) };
        self.fitter.ask(Job::LinkMode(slot, ifindex))
    }

    /// What was read, unless the slave has left meanwhile.
    pub(super) fn keep_link_mode(
        &mut self,
        slot: u8,
        ifindex: u32,
        mode: Option<LinkMode>,
    ) -> Result<(), BondError> {
        let attached = self.slot_mut(slot).attached.as_mut();
        let Some(attached) = attached.filter(|attached| attached.port.ifindex == ifindex) else {
            return Ok(());
        };
        attached.link_mode = mode;
        if self.config.primary_reselect != Some(PrimaryReselect::Better) {
            return Ok(());
        }
        let seen = Instant::now();
        let speed = mode.map_or_else(LinkSpeed::default, |mode| LinkSpeed {
            mbps: mode.speed,
            full_duplex: mode.full_duplex,
        });
        let decision = self.links.speed(slot, speed);
        let reason = format!("{}: link has {speed}", self.slot(slot).name);
        self.carry_out(&decision, reason, seen)
    }
}
