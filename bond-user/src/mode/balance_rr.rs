//! Mode 0, balance-rr: every slave that is up sends, and every slave receives.
//!
//! The order of sending is [`bond_ebpf::select::RoundRobin`]'s. Nothing is filtered on receive: the
//! peer treats the links as one (a static link aggregation), so a frame arrives once. That holds for a
//! slave whose link is not seen yet, too (`inactive` is never set in mode 0, drivers/net/bonding).

use bond_ebpf::select::SlaveSet;

use super::Roles;

pub(super) fn roles(up: SlaveSet) -> Roles {
    Roles { usable: up, receive: SlaveSet::from_bits(u16::MAX), active: None }
}
