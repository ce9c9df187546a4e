//! Mode 1, active-backup: one slave that is up is active, and only its frames are delivered.
//!
//! A flooding peer sends the same broadcast to every link, so the frames of a backup are copies.

use bond_ebpf::select::SlaveSet;

use super::Roles;

/// `active` is the slave that is active until now.
pub(super) fn roles(up: SlaveSet, primary: Option<u8>, active: Option<u8>) -> Roles {
    let active = choose(up, primary, active);
    Roles { usable: up, receive: active.into_iter().collect(), active }
}

/// The kernel's choice (`bond_find_best_slave`) with primary_reselect=always: the primary whenever
/// it is up, else the slave that is active now, else the first.
fn choose(up: SlaveSet, primary: Option<u8>, active: Option<u8>) -> Option<u8> {
    [primary, active, up.first()].into_iter().flatten().find(|slot| up.contains(*slot))
}
