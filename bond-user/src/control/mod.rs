//! The control thread: follows links, decides, publishes; answers `bond show`; cleans up.

mod announce;
mod bond;
mod error;
mod failover;
mod fit;
mod fitter;
mod ipc;
mod join;
mod link_mode;
mod links;
mod moderate;
mod packet;
mod privileges;
mod rejoin;
mod signals;
mod slice;
mod slot;
mod start;
mod tell;
mod uppers;
mod view;

pub use error::BondError;

use crate::config::BondConfig;
use crate::netlink::Netlink;

/// Runs a bond until SIGINT or SIGTERM, and leaves the machine as it was found.
///
/// # Errors
/// What kept the bond from starting, or ended it. The machine is as before in either case.
pub fn run(config: BondConfig) -> Result<(), BondError> {
    slice::shorten();
    let signals = signals::Signals::new()?;
    let mut bond = start::start(config, &signals)?;
    let served = bond.serve(&signals);
    let stopped = bond.stop();
    served.and(stopped)
}

/// Puts back what a killed process left of `bond`. Returns its pid, or `None` if nothing is left.
///
/// # Errors
/// [`BondError::Running`] when it runs; else what could not be put back.
pub fn cleanup(bond: &str) -> Result<Option<u32>, BondError> {
    let mut nl = Netlink::new().map_err(BondError::io("cannot open a netlink socket"))?;
    let _claim = start::claim(bond)?;
    start::clear_leftovers(bond, &mut nl)
}
