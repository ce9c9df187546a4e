use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};

use super::{
    testing::{in_netns, run},
    *,
};

const MAC: Mac = Mac([0x02, 0, 0, 0, 0, 0x17]);

/// The veth pair `v0` and `v0-peer`, both down.
fn veth(nl: &mut Netlink) -> (Link, Link) {
    nl.create_veth(&VethSpec { name: "v0", peer: "v0-peer", mac: MAC, mtu: 1400, queues: 2 })
        .unwrap();
    (nl.link("v0").unwrap().unwrap(), nl.link("v0-peer").unwrap().unwrap())
}

/// The events that arrive until `done` holds for one; fails after two seconds.
fn wait(events: &mut Events, done: impl Fn(&Event) -> bool) -> Vec<Event> {
    let (start, mut seen) = (Instant::now(), Vec::new());
    while !seen.iter().any(&done) {
        assert!(start.elapsed() < Duration::from_secs(2), "not among {seen:?}");
        let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        poll(&mut [PollFd::new(&*events, PollFlags::IN)], Some(&timeout)).unwrap();
        events.read(|event| seen.push(event)).unwrap();
    }
    seen
}

#[test]
#[ignore = "needs root"]
fn veth_has_the_queues_mac_and_mtu_asked_for() {
    in_netns(|| {
        let mut nl = Netlink::new().unwrap();
        let (a, b) = veth(&mut nl);
        assert_eq!((a.kind.as_deref(), b.kind.as_deref()), (Some("veth"), Some("veth")));
        assert_eq!((a.num_rx_queues, a.num_tx_queues), (2, 2));
        assert_eq!((b.num_rx_queues, b.num_tx_queues), (2, 2));
        assert_eq!((a.mac, a.mtu, b.mtu), (MAC, 1400, 1400));
        assert!(!b.mac.is_zero() && !b.mac.is_multicast());
        assert_eq!(
            (a.up, a.carrier, a.operstate, a.xdp, a.master),
            (false, false, OperState::Down, None, None)
        );
        assert!(a.is_ethernet() && !a.loopback);

        let names: Vec<_> = nl.links().unwrap().into_iter().map(|link| link.name).collect();
        assert_eq!(names, ["lo", "v0-peer", "v0"]);
        assert_eq!(nl.link_by_index(a.index).unwrap(), Some(a));
        nl.delete(b.index).unwrap();
        assert_eq!(nl.link("v0").unwrap(), None);
    });
}

#[test]
#[ignore = "needs root"]
fn changes_are_made() {
    in_netns(|| {
        let mut nl = Netlink::new().unwrap();
        let (a, _) = veth(&mut nl);
        let other = Mac([0x02, 0, 0, 0, 0, 0x18]);
        nl.set_mac(a.index, other).unwrap();
        nl.set_mtu(a.index, 1300).unwrap();
        nl.set_up(a.index).unwrap();
        let changed = nl.link("v0").unwrap().unwrap();
        assert_eq!((changed.mac, changed.mtu, changed.up), (other, 1300, true));
        nl.set_down(a.index).unwrap();
        assert!(!nl.link("v0").unwrap().unwrap().up);
    });
}

#[test]
#[ignore = "needs root"]
fn carrier_follows_the_peer() {
    in_netns(|| {
        let mut nl = Netlink::new().unwrap();
        let (a, b) = veth(&mut nl);
        nl.set_up(a.index).unwrap();
        assert_eq!(nl.carrier(a.index).unwrap(), Some(false));
        nl.set_up(b.index).unwrap();
        assert_eq!(nl.carrier(a.index).unwrap(), Some(true));
        nl.set_down(b.index).unwrap();
        assert_eq!(nl.carrier(a.index).unwrap(), Some(false));
        nl.delete(a.index).unwrap();
        assert_eq!(nl.carrier(a.index).unwrap(), None);
    });
}

#[test]
#[ignore = "needs root"]
fn events_tell_of_link_down_and_removal() {
    in_netns(|| {
        let mut nl = Netlink::new().unwrap();
        let (a, b) = veth(&mut nl);
        nl.set_up(a.index).unwrap();
        nl.set_up(b.index).unwrap();
        // Which also has the kernel tell now what it may hold back.
        assert_eq!([a.index, b.index].map(|end| nl.carrier(end).unwrap()), [Some(true); 2]);
        let mut events = Events::subscribe().unwrap();
        let mut stale = 0;
        events.read(|_| stale += 1).unwrap();
        assert_eq!(stale, 0);

        nl.set_down(b.index).unwrap();
        wait(
            &mut events,
            |event| matches!(event, Event::Link(l) if l.index == a.index && l.up && !l.carrier),
        );
        nl.delete(a.index).unwrap();
        let removed = Event::Removed { index: a.index, name: "v0".to_owned() };
        wait(&mut events, |event| *event == removed);
    });
}

#[test]
#[ignore = "needs root"]
fn lost_events_are_told() {
    in_netns(|| {
        let mut nl = Netlink::new().unwrap();
        let (a, _) = veth(&mut nl);
        let mut events = Events::subscribe().unwrap();
        rustix::net::sockopt::set_socket_recv_buffer_size(&events, 4096).unwrap();
        for mtu in 1300..1340 {
            nl.set_mtu(a.index, mtu).unwrap();
        }
        let mut seen = Vec::new();
        events.read(|event| seen.push(event)).unwrap();
        assert!(seen.contains(&Event::Overrun), "{seen:?}");
        nl.set_mtu(a.index, 1280).unwrap();
        wait(&mut events, |event| matches!(event, Event::Link(l) if l.mtu == 1280));
    });
}

#[test]
#[ignore = "needs root"]
fn addresses_of_one_netdev_only() {
    in_netns(|| {
        let mut nl = Netlink::new().unwrap();
        let (a, b) = veth(&mut nl);
        run("ip addr add 10.9.0.5/24 dev v0");
        run("ip addr add 10.9.1.1 peer 10.9.1.2/32 dev v0");
        run("ip addr add 2001:db8::5/64 dev v0 nodad");
        run("ip addr add 10.9.2.1/24 dev v0-peer");
        let text: Vec<_> = nl.addresses(a.index).unwrap().iter().map(Address::to_string).collect();
        assert_eq!(text, ["10.9.0.5/24", "10.9.1.1/32", "2001:db8::5/64"]);
        assert_eq!(
            nl.addresses(b.index).unwrap(),
            [Address { ip: IpAddr::from([10, 9, 2, 1]), prefix_len: 24, tentative: false }]
        );
    });
}

#[test]
#[ignore = "needs root"]
fn errors_name_the_operation_the_netdev_and_the_cause() {
    in_netns(|| {
        let mut nl = Netlink::new().unwrap();
        let (a, _) = veth(&mut nl);
        let error = nl.set_mtu(a.index, 60).unwrap_err();
        assert_eq!(
            (error.op, error.name.as_str(), error.errno()),
            ("set the MTU of", "v0", Some(Errno::INVAL))
        );
        // The second half is the kernel's extended acknowledgement.
        assert_eq!(
            error.to_string(),
            "cannot set the MTU of v0: Invalid argument (os error 22): mtu less than device minimum"
        );
        let error = nl.set_up(9999).unwrap_err();
        assert!(error.is_gone());
        assert_eq!(error.name, "ifindex 9999");
        let taken = VethSpec { name: "v0", peer: "other", mac: MAC, mtu: 1500, queues: 1 };
        assert_eq!(nl.create_veth(&taken).unwrap_err().errno(), Some(Errno::EXIST));
        assert_eq!(nl.link("no-such-netdev").unwrap(), None);
    });
}

#[test]
#[ignore = "needs root"]
fn a_missing_capability_is_recognised() {
    in_netns(|| {
        let mut nl = Netlink::new().unwrap();
        let (a, _) = veth(&mut nl);
        let none = rustix::thread::CapabilitySet::empty();
        let sets =
            rustix::thread::CapabilitySets { effective: none, permitted: none, inheritable: none };
        rustix::thread::set_capabilities(None, sets).unwrap();
        let mut nl = Netlink::new().unwrap();
        let error = nl.set_up(a.index).unwrap_err();
        assert!(error.is_permission());
        assert!(error.to_string().ends_with("run as root or with CAP_NET_ADMIN"), "{error}");
    });
}
