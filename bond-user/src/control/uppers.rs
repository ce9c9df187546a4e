//! The VLAN netdevs on bond0, whose addresses are announced too. Pure: link events tell.

use crate::netlink::{Link, Mac, Vlan};

/// A VLAN netdev somewhere in this network namespace.
#[derive(Clone, Debug)]
struct Upper {
    name: String,
    ifindex: u32,
    /// The netdev it is on.
    lower: u32,
    vlan: Vlan,
    mac: Mac,
}

/// A netdev whose frames leave by bond0, with the tags that they get on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tagged {
    pub(super) name: String,
    pub(super) ifindex: u32,
    pub(super) mac: Mac,
    /// The outer one first.
    pub(super) tags: Vec<Vlan>,
}

/// All VLAN netdevs of this network namespace.
#[derive(Clone, Debug, Default)]
pub(super) struct Uppers(Vec<Upper>);

impl Uppers {
    /// A netdev is there, or has changed.
    pub(super) fn learn(&mut self, link: &Link) {
        self.forget(link.index);
        if let (Some(lower), Some(vlan)) = (link.lower, link.vlan) {
            let (name, ifindex, mac) = (link.name.clone(), link.index, link.mac);
            self.0.push(Upper { name, ifindex, lower, vlan, mac });
        }
    }

    /// A netdev is gone.
    pub(super) fn forget(&mut self, ifindex: u32) {
        self.0.retain(|upper| upper.ifindex != ifindex);
    }

    /// The VLAN netdevs on the netdev `ifindex`, those on them too.
    pub(super) fn on(&self, ifindex: u32) -> Vec<Tagged> {
        let mut found: Vec<Tagged> = Vec::new();
        self.gather(ifindex, &[], &mut found);
        found
    }

    fn gather(&self, lower: u32, tags: &[Vlan], found: &mut Vec<Tagged>) {
        // The kernel's VLAN netdevs form no ring; eight levels are its own limit of nesting.
        if tags.len() == 8 {
            return;
        }
        for upper in self.0.iter().filter(|upper| upper.lower == lower) {
            let tags = [tags, &[upper.vlan]].concat();
            self.gather(upper.ifindex, &tags, found);
            let Upper { name, ifindex, mac, .. } = upper.clone();
            found.push(Tagged { name, ifindex, mac, tags });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::testing::link_with;

    const fn vlan(id: u16) -> Vlan {
        Vlan { id, protocol: 0x8100 }
    }

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn link(index: u32, lower: Option<u32>, vlan: Option<Vlan>) -> Link {
        Link { lower, vlan, mac: MAC, ..link_with(index) }
    }

    #[test]
    fn vlans_and_vlans_on_them_with_all_their_tags() {
        let mut uppers = Uppers::default();
        uppers.learn(&link(1, None, None)); // bond0
        uppers.learn(&link(2, Some(7), None)); // a veth, with its peer
        uppers.learn(&link(10, Some(1), Some(vlan(5))));
        uppers.learn(&link(11, Some(10), Some(vlan(6))));
        uppers.learn(&link(12, Some(99), Some(vlan(7)))); // on another netdev
        let tagged = |ifindex, ids: &[u16]| {
            let tags = ids.iter().map(|id| vlan(*id)).collect();
            Tagged { name: format!("if{ifindex}"), ifindex, mac: MAC, tags }
        };
        assert_eq!(uppers.on(1), [tagged(11, &[5, 6]), tagged(10, &[5])]);
        uppers.learn(&link(10, Some(1), Some(vlan(8))));
        assert_eq!(uppers.on(1), [tagged(11, &[8, 6]), tagged(10, &[8])]);
        uppers.forget(10);
        assert_eq!(uppers.on(1), []);
        assert_eq!(uppers.on(10), [tagged(11, &[6])]);
    }
}
