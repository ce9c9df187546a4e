//! Everything of a namespace that a bond could change.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{Netns, netns::run};

/// Links with their MACs, MTUs, flags, masters, XDP programs and promiscuity, addresses, offloads, and the bond's state
/// directory; two are equal when nothing changed in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    links: BTreeMap<String, Value>,
    offloads: BTreeMap<String, String>,
    state_files: Vec<String>,
}

impl Snapshot {
    /// Takes the snapshot of `netns`.
    pub fn take(netns: &Netns) -> Result<Self> {
        let mut snapshot =
            Self { links: BTreeMap::new(), offloads: BTreeMap::new(), state_files: Vec::new() };
        let list: Vec<Value> = serde_json::from_str(&netns.ip("-d -j address show")?)?;
        for link in list {
            let name = link["ifname"].as_str().context("a link without a name")?.to_owned();
            let offloads = run(netns.command("ethtool").args(["-k", &name]))?;
            snapshot.offloads.insert(name.clone(), offloads);
            snapshot.links.insert(name, link);
        }
        if let Ok(entries) = fs::read_dir(netns.bond_directory()?) {
            let names =
                entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
            snapshot.state_files = names.collect();
            snapshot.state_files.sort();
        }
        Ok(snapshot)
    }

    /// What `ip -d -j address` tells of link `name`.
    #[must_use]
    pub fn link(&self, name: &str) -> Option<&Value> {
        self.links.get(name)
    }

    /// The names of the links.
    #[must_use]
    pub fn links(&self) -> Vec<&str> {
        self.links.keys().map(String::as_str).collect()
    }
}
