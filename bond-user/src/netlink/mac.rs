//! Ethernet addresses.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// An Ethernet (MAC) address. Text form, also in serde: `02:00:5e:10:00:ff`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Mac(pub [u8; 6]);

impl Mac {
    pub const ZERO: Self = Self([0; 6]);
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Group bit set: multicast or broadcast, so no address for a netdev.
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not six pairs of hexadecimal digits joined by colons.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a MAC address; write it as 02:00:5e:10:00:ff")]
pub struct ParseMacError(String);

impl FromStr for Mac {
    type Err = ParseMacError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || ParseMacError(text.to_owned());
        let mut mac = [0; 6];
        let mut pairs = text.split(':');
        for byte in &mut mac {
            let pair = pairs.next().filter(|p| p.len() == 2 && !p.starts_with('+'));
            *byte = pair.and_then(|p| u8::from_str_radix(p, 16).ok()).ok_or_else(error)?;
        }
        pairs.next().is_none().then_some(Self(mac)).ok_or_else(error)
    }
}

impl TryFrom<String> for Mac {
    type Error = ParseMacError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([0x02, 0, 0x5e, 0x10, 0, 0xff]);

    #[test]
    fn text_round_trip() {
        assert_eq!(MAC.to_string(), "02:00:5e:10:00:ff");
        assert_eq!("02:00:5E:10:00:fF".parse(), Ok(MAC));
        assert_eq!(serde_json::to_string(&MAC).unwrap(), r#""02:00:5e:10:00:ff""#);
        assert_eq!(serde_json::from_str::<Mac>(r#""02:00:5e:10:00:ff""#).unwrap(), MAC);
    }

    #[test]
    fn malformed_text_is_refused() {
        let bad = [
            "",
            "02",
            "02:00:5e:10:00",
            "02:00:5e:10:00:ff:00",
            "2:00:5e:10:00:ff",
            "+2:00:5e:10:00:ff",
        ];
        for text in
            bad.into_iter().chain(["02-00-5e-10-00-ff", "0g:00:5e:10:00:ff", "02:00:5e:10:00:ff:"])
        {
            assert_eq!(text.parse::<Mac>(), Err(ParseMacError(text.to_owned())));
        }
    }

    #[test]
    fn kinds() {
        assert!(!MAC.is_multicast() && !MAC.is_zero());
        assert!(Mac::BROADCAST.is_multicast());
        assert!(Mac([1, 0, 0x5e, 0, 0, 1]).is_multicast());
        assert!(Mac::ZERO.is_zero() && !Mac::ZERO.is_multicast());
    }
}
