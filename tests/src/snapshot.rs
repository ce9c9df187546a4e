//! Everything of a namespace that a bond could change.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{Netns, netns::run};

/// Links with their MACs, MTUs, flags, masters, XDP programs and promiscuity, addresses, offloads, and the files in the
/// bond's state directory.
#[derive(Clone, Debug)]
pub struct Snapshot {
    links: BTreeMap<String, Value>,
    /// Each setting by its place, such as `eth0/mtu`.
    settings: BTreeMap<String, String>,
}

impl Snapshot {
    /// Takes the snapshot of `netns`.
    pub fn take(netns: &Netns) -> Result<Self> {
        let mut snapshot = Self { links: BTreeMap::new(), settings: BTreeMap::new() };
        for name in link_names(netns)? {
            netns.settle(&name)?;
        }
        let list: Vec<Value> = serde_json::from_str(&netns.ip("-d -j address show")?)?;
        for link in list {
            let name = link["ifname"].as_str().context("a link without a name")?.to_owned();
            for (key, value) in link.as_object().into_iter().flatten() {
                snapshot.settings.insert(format!("{name}/{key}"), value.to_string());
            }
            let offloads = run(netns.command("ethtool").args(["-k", &name]))?;
            for (offload, state) in offloads.lines().filter_map(|line| line.trim().split_once(": "))
            {
                snapshot.settings.insert(format!("{name}/{offload}"), state.to_owned());
            }
            snapshot.links.insert(name, link);
        }
        for file in fs::read_dir(netns.bond_directory()?).into_iter().flatten() {
            snapshot.settings.insert(file?.path().display().to_string(), "exists".to_owned());
        }
        Ok(snapshot)
    }

    /// What is different from an `earlier` snapshot, one line a setting.
    #[must_use]
    pub fn changes_since(&self, earlier: &Self) -> Vec<String> {
        let mut places: Vec<_> = earlier.settings.keys().chain(self.settings.keys()).collect();
        places.sort();
        places.dedup();
        let changed = places.into_iter().filter_map(|place| {
            let [before, now] = [earlier, self]
                .map(|snapshot| snapshot.settings.get(place).map_or("-", String::as_str));
            (before != now).then(|| format!("{place}: {before} -> {now}"))
        });
        changed.collect()
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

fn link_names(netns: &Netns) -> Result<Vec<String>> {
    let list: Vec<Value> = serde_json::from_str(&netns.ip("-j link show")?)?;
    Ok(list.iter().filter_map(|link| link["ifname"].as_str().map(str::to_owned)).collect())
}
