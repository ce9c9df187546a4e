//! A slave as the control thread knows it, whether its netdev is there or not.

use std::time::Instant;

use super::packet::PacketSocket;
use crate::netlink::{Link, Mac, Netlink, NetlinkError};
use crate::port::{CarrierFiles, LinkMode, Port, RunLock};

/// One configured slave.
#[derive(Debug)]
pub(super) struct Slot {
    /// Name of its netdev.
    pub(super) name: String,
    /// Most receive queues that it may have: those of the start.
    pub(super) queues_max: u32,
    /// While the netdev is there.
    pub(super) attached: Option<Attached>,
    /// Why the netdev could not be taken back, so that the log says it once.
    pub(super) refused: Option<String>,
    /// When to try again.
    pub(super) retry: Instant,
    /// Jobs of the fitter for this slot whose answer is due.
    pub(super) unanswered: u32,
    /// One of them opens the slave.
    pub(super) fitting: bool,
    /// Set up, as the last link event told while it is being opened, which sets it up.
    pub(super) admin_up: bool,
    /// Since when its link is awaited, which it had before its driver was touched.
    pub(super) settling: Option<Instant>,
}

impl Slot {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            queues_max: 0,
            attached: None,
            refused: None,
            retry: Instant::now(),
            unanswered: 0,
            fitting: false,
            admin_up: true,
            settling: None,
        }
    }

    /// ifindex of its netdev, while it is there.
    pub(super) fn ifindex(&self) -> Option<u32> {
        self.attached.as_ref().map(|attached| attached.port.ifindex)
    }
}

/// A slave whose netdev is there and works for the bond.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) port: Port,
    /// It is ours, and no other bond's.
    pub(super) claim: RunLock,
    /// Its own MAC.
    pub(super) perm_mac: Mac,
    /// Its MAC now: the bond's, unless the driver refused.
    pub(super) mac: Mac,
    /// For what the control thread sends itself. Holds promiscuous mode, if that is needed.
    pub(super) packet: PacketSocket,
    pub(super) promisc: bool,
    /// Its carrier, read without the RTNL lock. `None`: rtnetlink is asked.
    pub(super) carrier: Option<CarrierFiles>,
    /// Set up, as the last link event told.
    pub(super) admin_up: bool,
    /// Speed and duplex, read when it joined and whenever its link changed. `None`: its driver does not tell.
    pub(super) link_mode: Option<LinkMode>,
    pub(super) sockets: Sockets,
}

/// The sockets of a slave whose netdev is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sockets {
    Open,
    /// To be opened anew, which is tried again and again since then.
    Closed(Instant),
    /// To be opened anew once the netdev is set up: some drivers do not bind before.
    ClosedWhileDown,
}

impl Attached {
    /// The carrier poll: whether the netdev is up and has a carrier now. `None`: it is gone.
    pub(super) fn poll_carrier(&self, nl: &mut Netlink) -> Result<Option<bool>, NetlinkError> {
        match self.carrier.as_ref().map(CarrierFiles::read) {
            Some(Ok(carrier)) => Ok(Some(self.admin_up && carrier)),
            // Gone, or not to be read.
            Some(Err(_)) | None => nl.carrier(self.port.ifindex),
        }
    }

    /// What a link event tells. Its carrier may be older than what was polled since: then the poll holds.
    pub(super) fn learn(&mut self, link: &Link) -> bool {
        self.admin_up = link.up;
        let now = self.carrier.as_ref().and_then(|carrier| carrier.read().ok());
        now.map_or(link.carrier, |carrier| link.up && carrier)
    }
}
