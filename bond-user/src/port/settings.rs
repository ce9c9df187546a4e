//! What a bond changes at a slave, and puts back.

use std::{fs, io, path::PathBuf};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::ethtool::{Ethtool, Offloads, RX_ALTERING};
use crate::netlink::{Address, Link, Mac, Netlink, NetlinkError};

/// The settings a slave had before it joined the bond. Write it to the state file, then [`Saved::apply`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    pub ifindex: u32,
    pub name: String,
    pub mac: Mac,
    pub mtu: u32,
    pub up: bool,
    /// Offloads that merge received frames, as requested.
    pub offloads: Offloads,
    /// `net.ipv6.conf.NAME.disable_ipv6`; `None` when it was left alone: the slave has addresses, or the kernel has no
    /// IPv6.
    pub ipv6_disabled: Option<bool>,
}

/// What a slave is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub mac: Mac,
    /// Bytes of payload.
    pub mtu: u32,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The driver does not let its MAC address be changed: receive the bond's frames in promiscuous mode.
    pub mac_refused: bool,
    /// For the log: what the administrator should look at.
    pub warnings: Vec<String>,
}

/// A setting of a slave could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    #[error(
        "{source}; every slave has the bond's MTU, {mtu}: use a NIC that can, or start the bond with another MTU"
    )]
    Mtu { mtu: u32, source: NetlinkError },
    #[error("cannot {op} the offloads of {name} (ethtool): {errno}")]
    Offloads { op: &'static str, name: String, errno: Errno },
    #[error("cannot {op} {}: {source}", path.display())]
    File { op: &'static str, path: PathBuf, source: io::Error },
    #[error("{name} is gone")]
    Gone { name: String },
}

impl Saved {
    /// Reads what [`Saved::apply`] may change. Changes nothing.
    pub fn read(nl: &mut Netlink, link: &Link) -> Result<Self, SettingsError> {
        let name = link.name.clone();
        let offloads = Ethtool::new().and_then(|e| e.offloads(&name, RX_ALTERING)).or_else(
            |errno| match errno {
                Errno::OPNOTSUPP => Ok(Offloads::new()),
                errno => Err(SettingsError::Offloads { op: "read", name: name.clone(), errno }),
            },
        )?;
        let addressed = nl.addresses(link.index)?.iter().any(|address| !address.is_link_local());
        let ipv6_disabled = if addressed { None } else { Ipv6Switch::of(&name).read()? };
        Ok(Self {
            ifindex: link.index,
            name,
            mac: link.mac,
            mtu: link.mtu,
            up: link.up,
            offloads,
            ipv6_disabled,
        })
    }

    /// Makes the netdev a slave: the bond's MTU, no IPv6 of its own (as the kernel's bonding keeps addrconf off slaves),
    /// no merged frames, the bond's MAC address, up. Undoes everything when a step fails.
    pub fn apply(&self, nl: &mut Netlink, wanted: Wanted) -> Result<Applied, SettingsError> {
        self.steps(nl, wanted).inspect_err(|_| self.put_back(nl))
    }

    /// [`Saved::restore`], with what could not be put back in the log.
    pub(crate) fn put_back(&self, nl: &mut Netlink) {
        for error in self.restore(nl) {
            tracing::warn!("{error}");
        }
    }

    fn steps(&self, nl: &mut Netlink, wanted: Wanted) -> Result<Applied, SettingsError> {
        let link = self.find(nl)?.ok_or_else(|| SettingsError::Gone { name: self.name.clone() })?;
        let addresses = nl.addresses(self.ifindex)?;
        let addresses = addresses.iter().filter(|address| !address.is_link_local());
        let warnings = addresses.map(|address| self.addressed(address)).collect();
        // First: a driver that refuses it is asked again and again, and nothing is touched for that.
        if link.mtu != wanted.mtu {
            let mtu = wanted.mtu;
            nl.set_mtu(self.ifindex, mtu).map_err(|source| SettingsError::Mtu { mtu, source })?;
        }
        if self.ipv6_disabled.is_some() {
            Ipv6Switch::of(&self.name).write(true)?;
        }
        let off = self.offloads.keys().map(|feature| (feature.clone(), false)).collect();
        self.set_offloads(&link.name, &off)?;
        let mac_refused = match set_mac(nl, self.ifindex, wanted.mac) {
            Err(error) if is_refusal(&error) => true,
            other => other.map(|()| false)?,
        };
        nl.set_up(self.ifindex)?;
        Ok(Applied { mac_refused, warnings })
    }

    /// Puts everything back, as far as it goes, and returns what could not be. A netdev that is gone, or another that
    /// has its name by now, has nothing to put back. Doing it again changes nothing.
    ///
    /// Detach XDP programs first: drivers refuse some offloads and MTUs beside one.
    #[must_use = "each error is a setting that was not put back"]
    pub fn restore(&self, nl: &mut Netlink) -> Vec<SettingsError> {
        let link = match self.find(nl) {
            Ok(Some(link)) => link,
            Ok(None) => return Vec::new(),
            Err(error) => return vec![error.into()],
        };
        let mut errors = Vec::new();
        let mut step = |result: Result<(), SettingsError>| errors.extend(result.err());
        // Down first, or IPv6 would make addresses again; its link-local address is made from the MAC address.
        if !self.up && link.up {
            step(nl.set_down(self.ifindex).map_err(Into::into));
        }
        step(set_mac(nl, self.ifindex, self.mac).map_err(Into::into));
        if link.mtu != self.mtu {
            step(nl.set_mtu(self.ifindex, self.mtu).map_err(Into::into));
        }
        step(self.set_offloads(&link.name, &self.offloads));
        if let Some(disabled) = self.ipv6_disabled {
            step(Ipv6Switch::of(&link.name).write(disabled));
        }
        if self.up {
            step(nl.set_up(self.ifindex).map_err(Into::into));
        }
        errors
    }

    /// The netdev these settings are of, whatever its name is now: an index is not used twice.
    fn find(&self, nl: &mut Netlink) -> Result<Option<Link>, NetlinkError> {
        nl.link_by_index(self.ifindex)
    }

    fn set_offloads(&self, name: &str, offloads: &Offloads) -> Result<(), SettingsError> {
        if offloads.is_empty() {
            return Ok(());
        }
        let set = Ethtool::new().and_then(|ethtool| ethtool.set_offloads(name, offloads));
        set.map_err(|errno| SettingsError::Offloads { op: "set", name: name.to_owned(), errno })
    }

    fn addressed(&self, address: &Address) -> String {
        let name = &self.name;
        format!(
            "{name} has {address}: addresses belong on the bond, and the bond takes the frames for this one"
        )
    }
}

/// Sets the MAC address, unless it is that already. A driver that cannot while the device is up is set down for it,
/// and up again.
fn set_mac(nl: &mut Netlink, ifindex: u32, mac: Mac) -> Result<(), NetlinkError> {
    let Some(link) = nl.link_by_index(ifindex)?.filter(|link| link.mac != mac) else {
        return Ok(());
    };
    match nl.set_mac(ifindex, mac) {
        Err(error) if error.errno() == Some(Errno::BUSY) && link.up => {
            nl.set_down(ifindex)?;
            let set = nl.set_mac(ifindex, mac);
            nl.set_up(ifindex)?;
            set
        }
        other => other,
    }
}

/// The driver cannot or may not set its address; EPERM is not among these, it is the caller's lack of CAP_NET_ADMIN.
fn is_refusal(error: &NetlinkError) -> bool {
    matches!(error.errno(), Some(Errno::OPNOTSUPP | Errno::ADDRNOTAVAIL | Errno::INVAL))
}

/// Keeps IPv6 off a netdev of ours, which would otherwise talk on it by itself.
pub(crate) fn disable_ipv6(name: &str) -> Result<(), SettingsError> {
    Ipv6Switch::of(name).write(true)
}

/// `net.ipv6.conf.NAME.disable_ipv6` in the calling thread's network namespace. Setting it drops the link-local
/// address; clearing it makes the address again once the netdev is up.
struct Ipv6Switch(PathBuf);

impl Ipv6Switch {
    fn of(name: &str) -> Self {
        Self(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6").into())
    }

    /// `None`: this kernel has no IPv6, or not for this netdev.
    fn read(&self) -> Result<Option<bool>, SettingsError> {
        match fs::read_to_string(&self.0) {
            Ok(text) => Ok(Some(text.trim() != "0")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.error("read", source)),
        }
    }

    /// Changes nothing without IPv6: the kernel also takes it off a netdev whose MTU falls below 1280.
    fn write(&self, disabled: bool) -> Result<(), SettingsError> {
        if self.read()?.is_none_or(|now| now == disabled) {
            return Ok(());
        }
        fs::write(&self.0, if disabled { "1" } else { "0" })
            .map_err(|source| self.error("write", source))
    }

    fn error(&self, op: &'static str, source: io::Error) -> SettingsError {
        SettingsError::File { op, path: self.0.clone(), source }
    }
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
