//! Bonding modes: who sends, who receives, who is active. Pure: no clock, socket or thread.
//!
//! Each kind of mode has a file with a function from link state to the roles of the slaves; [`Policy`] keeps
//! the link state and calls it, and [`Links`] makes that state from what the slaves' monitors say. The choice between
//! slaves frame by frame is [`bond_ebpf::select`]'s, which XDP programs share.

mod active_backup;
mod all_slaves;
mod links;
mod policy;
mod repeats;

use std::fmt;
use std::str::FromStr;

use bond_ebpf::select::SlaveSet;
use serde::{Serialize, Serializer};

pub use self::active_backup::{LinkSpeed, PrimaryReselect};
pub use self::links::{Links, Needed, News};
pub use self::policy::{ActiveChange, Decision, Event, Policy};
pub use self::repeats::Repeats;

/// The kernel's names of its modes, by number (`bond_mode_tbl` in `bond_options.c`).
const KERNEL_NAMES: [&str; 7] = [
    "balance-rr",
    "active-backup",
    "balance-xor",
    "broadcast",
    "802.3ad",
    "balance-tlb",
    "balance-alb",
];

/// A bonding mode, with the kernel's number (`BOND_MODE_*` in `if_bonding.h`).
///
/// Parses from the kernel's name or number, and displays and serialises as the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Mode {
    /// Every usable slave in turn.
    BalanceRr = 0,
    /// One slave at a time; the others stand by.
    ActiveBackup = 1,
    /// Each flow on one usable slave, by a hash.
    BalanceXor = 2,
    /// Everything on every usable slave.
    Broadcast = 3,
}

impl Mode {
    /// The modes of this version, by number.
    pub const ALL: [Self; 4] =
        [Self::BalanceRr, Self::ActiveBackup, Self::BalanceXor, Self::Broadcast];

    /// The mode with the kernel's `number`, if this version has it.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::BalanceRr),
            1 => Some(Self::ActiveBackup),
            2 => Some(Self::BalanceXor),
            3 => Some(Self::Broadcast),
            _ => None,
        }
    }

    /// The kernel's number.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The kernel's name, as in its option `mode`.
    pub const fn name(self) -> &'static str {
        KERNEL_NAMES[self as usize]
    }

    /// The text of `Bonding Mode:` in `/proc/net/bonding` (`bond_mode_name` in `bond_main.c`).
    pub const fn description(self) -> &'static str {
        match self {
            Self::BalanceRr => "load balancing (round-robin)",
            Self::ActiveBackup => "fault-tolerance (active-backup)",
            Self::BalanceXor => "load balancing (xor)",
            Self::Broadcast => "fault-tolerance (broadcast)",
        }
    }

    /// Whether one slave at a time is active.
    pub const fn has_active_slave(self) -> bool {
        matches!(self, Self::ActiveBackup)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Why a text is not a [`Mode`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModeError {
    /// The kernel's bonding has it and this version has not.
    #[error("mode {0} is not available in this version: choose one of {available}", available = available())]
    NotAvailable(&'static str),
    /// Nobody has it.
    #[error("there is no mode {0:?}: choose one of {available}", available = available())]
    Unknown(String),
}

/// The modes that a user can choose from, by name and number.
fn available() -> String {
    Mode::ALL.map(|mode| format!("{mode} ({})", mode.number())).join(", ")
}

impl FromStr for Mode {
    type Err = ModeError;

    fn from_str(text: &str) -> Result<Self, ModeError> {
        (0..)
            .zip(KERNEL_NAMES)
            .find(|(number, name)| text == *name || text == u8::to_string(number))
            .ok_or_else(|| ModeError::Unknown(text.to_owned()))
            .and_then(|(number, name)| {
                Self::from_number(number).ok_or(ModeError::NotAvailable(name))
            })
    }
}

/// What a mode has its slaves do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Roles {
    /// May be sent on.
    usable: SlaveSet,
    /// Have their frames delivered.
    receive: SlaveSet,
    /// The one active slave, in modes that have one.
    active: Option<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_texts() {
        let rows = Mode::ALL.map(|mode| (mode.number(), mode.to_string(), mode.description()));
        let expected = [
            (0, "balance-rr", "load balancing (round-robin)"),
            (1, "active-backup", "fault-tolerance (active-backup)"),
            (2, "balance-xor", "load balancing (xor)"),
            (3, "broadcast", "fault-tolerance (broadcast)"),
        ];
        assert_eq!(rows, expected.map(|(n, name, text)| (n, name.to_owned(), text)));
        for mode in Mode::ALL {
            assert_eq!(Mode::from_number(mode.number()), Some(mode));
            assert_eq!(mode.name().parse(), Ok(mode));
            assert_eq!(mode.number().to_string().parse(), Ok(mode));
        }
        let json = serde_json::to_string(&Mode::ALL).unwrap();
        assert_eq!(json, r#"["balance-rr","active-backup","balance-xor","broadcast"]"#);
    }

    #[test]
    fn errors_say_what_there_is() {
        for text in ["802.3ad", "4"] {
            let error = text.parse::<Mode>().unwrap_err();
            assert_eq!(
                error.to_string(),
                "mode 802.3ad is not available in this version: choose one of \
                 balance-rr (0), active-backup (1), balance-xor (2), broadcast (3)"
            );
        }
        for number in 4..7u8 {
            let by_number = number.to_string().parse::<Mode>();
            let name = KERNEL_NAMES[usize::from(number)];
            assert_eq!(by_number, Err(ModeError::NotAvailable(name)));
            assert_eq!(by_number, name.parse());
        }
        for text in ["", "7", "01", "+1", " 1", "Active-Backup", "active_backup"] {
            assert_eq!(text.parse::<Mode>(), Err(ModeError::Unknown(text.to_owned())));
        }
        assert_eq!(
            ModeError::Unknown("fast".to_owned()).to_string(),
            "there is no mode \"fast\": choose one of \
             balance-rr (0), active-backup (1), balance-xor (2), broadcast (3)"
        );
    }
}
