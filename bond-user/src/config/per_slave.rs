//! Options that are given slave by slave: `--prio eth0=10,eth1=-5`.

use std::fmt::Display;

use bond_ebpf::layout::MAX_SLAVES;
use bond_ebpf::select::Weights;

use super::{BondConfig, ConfigError};
use crate::mode::Mode;

impl BondConfig {
    /// Whether each name is a slave's, and none is there twice.
    pub(super) fn validate_per_slave(
        &self,
        option: &'static str,
        given: &[(String, impl Display)],
    ) -> Result<(), ConfigError> {
        for (at, (name, value)) in given.iter().enumerate() {
            let name = name.clone();
            if !self.slaves.contains(&name) {
                let (value, slaves) = (value.to_string(), self.slaves.join(", "));
                return Err(ConfigError::OptionNotSlave { option, name, value, slaves });
            }
            if given[..at].iter().any(|(earlier, _)| *earlier == name) {
                return Err(ConfigError::OptionRepeated { option, name });
            }
        }
        Ok(())
    }

    /// Whether the weights are for slaves, in a mode in which they share.
    pub(super) fn validate_weights(&self) -> Result<(), ConfigError> {
        let shares = matches!(self.mode, Mode::BalanceRr | Mode::BalanceXor);
        if !self.weight.is_empty() && !shares {
            return Err(ConfigError::WeightWithoutShares(self.mode));
        }
        self.validate_per_slave("--weight", &self.weight)
    }

    /// The prio of a slave.
    #[must_use]
    pub fn prio_of(&self, slave: &str) -> i32 {
        of(&self.prio, slave).unwrap_or(0)
    }

    /// The share of a slave.
    #[must_use]
    pub fn weight_of(&self, slave: &str) -> u8 {
        of(&self.weight, slave).unwrap_or(1)
    }

    /// The prios of all slots.
    #[must_use]
    pub fn prios(&self) -> [i32; MAX_SLAVES] {
        self.by_slot(0, Self::prio_of)
    }

    /// The shares of all slots.
    #[must_use]
    pub fn weights(&self) -> Weights {
        Weights::from_bytes(self.by_slot(1, Self::weight_of))
    }

    fn by_slot<T: Copy>(&self, otherwise: T, of: impl Fn(&Self, &str) -> T) -> [T; MAX_SLAVES] {
        let mut values = [otherwise; MAX_SLAVES];
        for (value, slave) in values.iter_mut().zip(&self.slaves) {
            *value = of(self, slave);
        }
        values
    }
}

/// What is given for a slave.
fn of<T: Copy>(given: &[(String, T)], slave: &str) -> Option<T> {
    given.iter().find(|(name, _)| name == slave).map(|(_, value)| *value)
}
