//! Mode 0, balance-rr: every slave that is up sends and receives.
//!
//! The order of sending is [`bond_ebpf::select::RoundRobin`]'s. Nothing is filtered on receive: the
//! peer treats the links as one (a static link aggregation), so a frame arrives once.

use bond_ebpf::select::SlaveSet;

use super::Roles;

pub(super) fn roles(up: SlaveSet) -> Roles {
    Roles { usable: up, receive: up, active: None }
}
