//! Who is to be active, in modes with one active slave.

use super::{BondConfig, ConfigError};
use crate::mode::Mode;

impl BondConfig {
    /// Whether the preferences are for slaves, in a mode that has an active one.
    pub(super) fn validate_preferences(&self) -> Result<(), ConfigError> {
        let given = [
            ("--primary", self.primary.is_some()),
            ("--primary-reselect", self.primary_reselect.is_some()),
            ("--prio", !self.prio.is_empty()),
        ];
        for (option, _) in given.into_iter().filter(|(_, given)| *given) {
            if self.mode != Mode::ActiveBackup {
                return Err(ConfigError::WithoutActive { option, mode: self.mode });
            }
        }
        if let Some(primary) = self.primary.clone().filter(|name| !self.slaves.contains(name)) {
            return Err(ConfigError::PrimaryNotSlave { primary, slaves: self.slaves.join(", ") });
        }
        for (at, (name, prio)) in self.prio.iter().enumerate() {
            if !self.slaves.contains(name) {
                let (name, slaves) = (name.clone(), self.slaves.join(", "));
                return Err(ConfigError::PrioNotSlave { name, prio: *prio, slaves });
            }
            if self.prio[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(ConfigError::RepeatedPrio(name.clone()));
            }
        }
        Ok(())
    }

    /// The prio of a slave.
    pub fn prio_of(&self, slave: &str) -> i32 {
        self.prio.iter().find(|(name, _)| name == slave).map_or(0, |(_, prio)| *prio)
    }
}
