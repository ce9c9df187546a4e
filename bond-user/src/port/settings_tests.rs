use super::*;
use crate::netlink::{
    VethSpec,
    testing::{in_netns, run},
};

const BOND: Mac = Mac([0x02, 0, 0, 0, 0, 0xb0]);
const WANTED: Wanted = Wanted { mac: BOND, mtu: 1400 };

/// A slave-to-be `v0`, up and with a carrier.
fn veth() -> (Netlink, Link) {
    let mut nl = Netlink::new().unwrap();
    let mac = Mac([0x02, 0, 0, 0, 0, 0x10]);
    nl.create_veth(&VethSpec { name: "v0", peer: "v1", mac, mtu: 1500, queues: 1 }).unwrap();
    for name in ["v0", "v1"] {
        let link = nl.link(name).unwrap().unwrap();
        nl.set_up(link.index).unwrap();
    }
    let link = nl.link("v0").unwrap().unwrap();
    (nl, link)
}

/// Everything that tools show of `name`, apart from its counters and the lifetimes of its addresses.
fn shown(name: &str) -> String {
    let link = run(&format!("ip -d link show {name}"));
    let addresses = run(&format!("ip -brief addr show {name}"));
    let offloads = run(&format!("ethtool -k {name}"));
    let ipv6 = run(&format!("sysctl net.ipv6.conf.{name}.disable_ipv6"));
    [link, addresses, offloads, ipv6].concat()
}

fn disable_ipv6() -> String {
    run("sysctl -n net.ipv6.conf.v0.disable_ipv6")
}

fn assert_restored(saved: &Saved, nl: &mut Netlink, before: &str) {
    for _ in 0..2 {
        let errors = saved.restore(nl);
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(shown(&saved.name), before);
    }
}

#[test]
#[ignore = "needs root"]
fn a_slave_that_was_up_comes_back_as_it_was() {
    in_netns(|| {
        let (mut nl, link) = veth();
        run("ethtool -K v0 gro on");
        let before = shown("v0");
        assert!(before.contains("fe80::"), "{before}");

        let saved = Saved::read(&mut nl, &link).unwrap();
        assert_eq!(shown("v0"), before);
        assert_eq!(saved.apply(&mut nl, WANTED).unwrap(), Applied::default());
        let slave = nl.link("v0").unwrap().unwrap();
        assert_eq!((slave.mac, slave.mtu, slave.up), (BOND, 1400, true));
        assert_eq!(nl.addresses(link.index).unwrap(), []);
        assert_eq!(disable_ipv6(), "1\n");
        assert!(run("ethtool -k v0").contains("generic-receive-offload: off"));
        assert_restored(&saved, &mut nl, &before);
    });
}

#[test]
#[ignore = "needs root"]
fn a_slave_that_was_down_goes_down_again() {
    in_netns(|| {
        let (mut nl, link) = veth();
        nl.set_down(link.index).unwrap();
        let (link, before) = (nl.link("v0").unwrap().unwrap(), shown("v0"));
        let saved = Saved::read(&mut nl, &link).unwrap();
        saved.apply(&mut nl, WANTED).unwrap();
        assert!(nl.link("v0").unwrap().unwrap().up);
        assert_restored(&saved, &mut nl, &before);
    });
}

#[test]
#[ignore = "needs root"]
fn addresses_stay_and_are_warned_of() {
    in_netns(|| {
        let (mut nl, link) = veth();
        run("ip addr add 10.9.0.5/24 dev v0");
        let before = shown("v0");
        let saved = Saved::read(&mut nl, &link).unwrap();
        let applied = saved.apply(&mut nl, WANTED).unwrap();
        assert_eq!(applied.warnings.len(), 1);
        assert!(
            applied.warnings[0].starts_with("v0 has 10.9.0.5/24: addresses belong on the bond")
        );
        assert_eq!((saved.ipv6_disabled, disable_ipv6().as_str()), (None, "0\n"));
        assert!(run("ip addr show v0").contains("10.9.0.5/24"));
        assert_restored(&saved, &mut nl, &before);
    });
}

#[test]
#[ignore = "needs root"]
fn a_driver_that_refuses_its_mac_address_is_told() {
    in_netns(|| {
        // ifb has no ndo_set_mac_address.
        run("ip link add v0 type ifb");
        // A netdev gets its queueing discipline when it first comes up, and keeps it.
        run("ip link set v0 up");
        run("ip link set v0 down");
        let mut nl = Netlink::new().unwrap();
        let (link, before) = (nl.link("v0").unwrap().unwrap(), shown("v0"));
        let saved = Saved::read(&mut nl, &link).unwrap();
        assert!(saved.apply(&mut nl, WANTED).unwrap().mac_refused);
        let slave = nl.link("v0").unwrap().unwrap();
        assert_eq!((slave.mac, slave.mtu, slave.up), (link.mac, 1400, true));
        assert_restored(&saved, &mut nl, &before);
    });
}

#[test]
#[ignore = "needs root"]
fn a_refused_mtu_is_told_and_nothing_was_touched() {
    in_netns(|| {
        let (mut nl, link) = veth();
        run("ethtool -K v0 gro on");
        // It would not survive that IPv6 is switched off and on again.
        run("ip addr add fe80::5/64 dev v0");
        let before = shown("v0");
        let saved = Saved::read(&mut nl, &link).unwrap();
        assert_eq!(saved.ipv6_disabled, Some(false));
        let error = saved.apply(&mut nl, Wanted { mac: BOND, mtu: 60 }).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot set the MTU of v0: Invalid argument (os error 22): mtu less than device minimum; every slave has \
             the bond's MTU, 60: use a NIC that can, or start the bond with another MTU"
        );
        assert_eq!(shown("v0"), before);
    });
}

#[test]
#[ignore = "needs root"]
fn a_failing_step_undoes_those_before() {
    in_netns(|| {
        let (mut nl, link) = veth();
        let before = shown("v0");
        let mut saved = Saved::read(&mut nl, &link).unwrap();
        // The kernel lets nobody change this one.
        saved.offloads.insert("vlan-challenged".to_owned(), false);
        let error = saved.apply(&mut nl, WANTED).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot set the offloads of v0 (ethtool): Invalid argument (os error 22)"
        );
        assert_eq!(shown("v0"), before);
    });
}

#[test]
#[ignore = "needs root"]
fn an_mtu_too_small_for_ipv6_is_taken_and_put_back() {
    in_netns(|| {
        let (mut nl, link) = veth();
        let before = shown("v0");
        let saved = Saved::read(&mut nl, &link).unwrap();
        saved.apply(&mut nl, Wanted { mac: BOND, mtu: 1000 }).unwrap();
        let slave = nl.link("v0").unwrap().unwrap();
        assert_eq!((slave.mac, slave.mtu, slave.up), (BOND, 1000, true));
        assert_restored(&saved, &mut nl, &before);
    });
}

#[test]
#[ignore = "needs root"]
fn another_netdev_of_the_same_name_is_left_alone() {
    in_netns(|| {
        let (mut nl, link) = veth();
        let saved = Saved::read(&mut nl, &link).unwrap();
        nl.delete(link.index).unwrap();
        let (_, other) = veth();
        assert_ne!(other.index, link.index);
        nl.set_mac(other.index, BOND).unwrap();
        let before = shown("v0");
        assert_restored(&saved, &mut nl, &before);
        let error = saved.apply(&mut nl, WANTED).unwrap_err();
        assert_eq!(error.to_string(), "v0 is gone");
        assert_eq!(shown("v0"), before);
    });
}
