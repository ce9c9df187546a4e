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
        self.validate_per_slave("--prio", &self.prio)
    }
}
