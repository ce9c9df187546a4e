//! Modes 0, 2 and 3, balance-rr, balance-xor and broadcast: every slave that is up sends, and every slave receives.
//!
//! They differ in whom the next frame goes to: [`bond_ebpf::select`] and [`bond_ebpf::hash`] tell, and in broadcast it is
//! everybody. Nothing is filtered on receive: the peer treats the links as one (a static link aggregation), so a frame
//! arrives once; duplicates of broadcast are the receiver's. That holds for a slave whose link is not seen yet, too
//! (`inactive` is never set in these modes, drivers/net/bonding).

use bond_ebpf::select::SlaveSet;

use super::Roles;

pub(super) fn roles(up: SlaveSet) -> Roles {
    Roles { usable: up, receive: SlaveSet::from_bits(u16::MAX), active: None }
}
