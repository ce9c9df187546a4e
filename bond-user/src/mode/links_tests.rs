use LinkState::{Back, Down, Fail, Up};
use bond_ebpf::select::SlaveSet;
use proptest::prelude::*;

use super::*;
use crate::mode::{ActiveChange, Mode, PrimaryReselect};
use crate::watch::{Evidence, Source};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const fn carrier(carrier: bool) -> LinkEvent {
    LinkEvent::Carrier(Evidence { carrier, source: Source::Poll })
}

const FOUND: LinkEvent = carrier(true);
const LOST: LinkEvent = carrier(false);
const TIMER: LinkEvent = LinkEvent::Timer;

fn set(slots: &[u8]) -> SlaveSet {
    slots.iter().copied().collect()
}

fn links(policy: Policy, slaves: usize, updelay: u64, downdelay: u64) -> Links {
    Links::new(policy, slaves, Delays { updelay: ms(updelay), downdelay: ms(downdelay) })
}

fn active_backup(primary: Option<u8>) -> Policy {
    Policy::new(Mode::ActiveBackup, 1, primary)
}

/// At this time in ms something happens to a slave.
type Cause = (u64, u8, LinkEvent);
/// Its state, who is needed with how many ms to go, usable slaves, and the active one.
type Effect<'a> = (LinkState, Option<(u8, u64)>, &'a [u8], Option<u8>);

/// Steps through causes and their effects.
fn follow(links: &mut Links, rows: &[(Cause, Effect<'_>)]) {
    for &((at, slot, event), (state, needed, usable, to)) in rows {
        let from = links.snapshot().active;
        let news = links.step(slot, event, ms(at)).expect("another state");
        let what = format!("{event:?} of slave {slot} at {at} ms");
        assert_eq!(news.state, state, "{what}");
        let needed = needed.map(|(slot, left)| Needed { slot, left: ms(left) });
        assert_eq!(news.needed, needed, "{what}");
        let Decision { snapshot, active_changed } = news.decision;
        assert_eq!((snapshot.usable, snapshot.active), (set(usable), to), "{what}");
        let change = ActiveChange { from, to };
        assert_eq!(active_changed, (from != to).then_some(change), "{what}");
    }
}

#[test]
fn downdelay_keeps_the_active_slave_until_it_is_over() {
    let mut links = links(active_backup(None), 2, 0, 100);
    follow(
        &mut links,
        &[
            ((0, 0, FOUND), (Up, None, &[0], Some(0))),
            ((1, 1, FOUND), (Up, None, &[0, 1], Some(0))),
            // A short loss: nothing is sent meanwhile, and nobody else becomes active.
            ((10, 0, LOST), (Fail, None, &[1], Some(0))),
            ((109, 0, FOUND), (Up, None, &[0, 1], Some(0))),
            // A long one.
            ((200, 0, LOST), (Fail, None, &[1], Some(0))),
            ((300, 0, TIMER), (Down, None, &[1], Some(1))),
            ((400, 0, FOUND), (Up, None, &[0, 1], Some(1))),
        ],
    );
    assert_eq!([0, 1].map(|slot| links.carrier(slot).link_failure_count()), [1, 0]);
}

#[test]
fn updelay_keeps_a_primary_out_until_it_is_over() {
    let mut links = links(active_backup(Some(1)), 2, 200, 0);
    follow(
        &mut links,
        &[
            // The first one is needed at once, the second has its time.
            ((0, 0, FOUND), (Back, Some((0, 200)), &[0], Some(0))),
            ((5, 1, FOUND), (Back, None, &[0], Some(0))),
            ((205, 1, TIMER), (Up, None, &[0, 1], Some(1))),
            ((300, 1, LOST), (Down, None, &[0], Some(0))),
            ((310, 1, FOUND), (Back, None, &[0], Some(0))),
            ((320, 1, LOST), (Down, None, &[0], Some(0))),
            ((330, 1, FOUND), (Back, None, &[0], Some(0))),
            ((530, 1, TIMER), (Up, None, &[0, 1], Some(1))),
        ],
    );
}

#[test]
fn when_the_last_slave_goes_the_one_with_the_least_updelay_left_is_up() {
    let mut links = links(active_backup(None), 4, 200, 100);
    follow(
        &mut links,
        &[
            ((0, 3, FOUND), (Back, Some((3, 200)), &[3], Some(3))),
            ((10, 2, FOUND), (Back, None, &[3], Some(3))),
            ((20, 0, FOUND), (Back, None, &[3], Some(3))),
            ((20, 1, FOUND), (Back, None, &[3], Some(3))),
            // Still active, so nobody is needed yet.
            ((30, 3, LOST), (Fail, None, &[], Some(3))),
            ((130, 3, TIMER), (Down, Some((2, 80)), &[2], Some(2))),
            ((135, 2, LOST), (Fail, None, &[], Some(2))),
            // No delay helps against a netdev that is gone. Of two equals the first is next.
            ((140, 2, LinkEvent::Gone(Source::Event)), (Down, Some((0, 80)), &[0], Some(0))),
            ((220, 1, TIMER), (Up, None, &[0, 1], Some(0))),
        ],
    );
}

#[test]
fn a_primary_or_a_higher_prio_need_not_wait_for_a_slave_that_is_going_down() {
    let mut prio = [0; 16];
    prio[2] = 7;
    let policy = active_backup(Some(1)).prefer(PrimaryReselect::Failure, prio);
    let mut links = links(policy, 4, 0, 1000);
    follow(
        &mut links,
        &[
            ((0, 0, FOUND), (Up, None, &[0], Some(0))),
            ((10, 0, LOST), (Fail, None, &[], Some(0))),
            ((20, 3, FOUND), (Up, None, &[3], Some(0))),
            ((30, 2, FOUND), (Up, None, &[2, 3], Some(2))),
            ((40, 2, LOST), (Fail, None, &[3], Some(2))),
            ((50, 1, FOUND), (Up, None, &[1, 3], Some(1))),
            ((60, 2, FOUND), (Up, None, &[1, 2, 3], Some(1))),
        ],
    );
}

#[test]
fn balance_rr_sends_on_no_slave_that_has_lost_its_carrier() {
    let mut links = links(Policy::new(Mode::BalanceRr, 1, None), 2, 200, 100);
    follow(
        &mut links,
        &[
            ((0, 0, FOUND), (Back, Some((0, 200)), &[0], None)),
            ((50, 1, FOUND), (Back, None, &[0], None)),
            ((250, 1, TIMER), (Up, None, &[0, 1], None)),
            // Within downdelay the link is back without an updelay.
            ((300, 1, LOST), (Fail, None, &[0], None)),
            ((399, 1, FOUND), (Up, None, &[0, 1], None)),
            ((400, 1, LOST), (Fail, None, &[0], None)),
            ((500, 1, TIMER), (Down, None, &[0], None)),
            ((510, 1, FOUND), (Back, None, &[0], None)),
            // Now nothing can be sent on.
            ((520, 0, LOST), (Fail, Some((1, 190)), &[1], None)),
        ],
    );
}

#[test]
fn delays_end_in_their_order_and_comings_before_goings() {
    let mut links = links(active_backup(None), 3, 100, 100);
    links.step(0, FOUND, ms(0));
    assert_eq!((links.deadline(), links.due(ms(999))), (None, None));
    links.step(1, FOUND, ms(10));
    links.step(0, LOST, ms(10));
    links.step(2, FOUND, ms(20));
    assert_eq!((links.deadline(), links.due(ms(109))), (Some(ms(110)), None));
    for (at, due) in [(110, Some(1)), (110, Some(0)), (110, None), (120, Some(2)), (120, None)] {
        assert_eq!(links.due(ms(at)), due, "at {at} ms");
        if let Some(slot) = due {
            links.step(slot, TIMER, ms(at));
        }
    }
    assert_eq!((links.deadline(), links.snapshot().active), (None, Some(1)));
}

fn event() -> impl Strategy<Value = LinkEvent> {
    prop_oneof![
        8 => any::<bool>().prop_map(carrier),
        1 => Just(LinkEvent::Gone(Source::Event)),
    ]
}

fn reselect() -> impl Strategy<Value = PrimaryReselect> {
    use PrimaryReselect::{Always, Better, Failure};
    prop::sample::select(&[Always, Better, Failure][..])
}

/// What holds after every step, whatever has happened.
fn check(links: &Links, mode: Mode, before: Snapshot) -> Result<(), TestCaseError> {
    let snapshot = links.snapshot();
    let states: Vec<LinkState> = (0..4).map(|slot| links.carrier(slot).state()).collect();
    let up: SlaveSet = (0u8..).zip(&states).filter(|(_, s)| **s == Up).map(|(at, _)| at).collect();
    prop_assert_eq!(snapshot.usable, up, "a slave is usable when it is up, and only then");
    if mode == Mode::ActiveBackup {
        let active = snapshot.active.map(|slot| states[usize::from(slot)]);
        prop_assert!(matches!(active, None | Some(Up | Fail)), "{:?} is active", active);
        prop_assert!(active.is_some() || up.is_empty(), "one is active when one is up");
        prop_assert!(active != Some(Fail) || snapshot.active == before.active, "it was before");
        prop_assert_eq!(snapshot.receive, snapshot.active.into_iter().collect());
    } else {
        prop_assert_eq!(snapshot.active, None);
    }
    let stranded = up.is_empty() && snapshot.active.is_none();
    prop_assert!(!stranded || !states.contains(&Back), "who could send waits: {:?}", states);
    Ok(())
}

proptest! {
    #![proptest_config(crate::testing::property_tests())]

    #[test]
    fn invariants_hold_after_every_event(
        mode in prop::sample::select(&[Mode::BalanceRr, Mode::ActiveBackup][..]),
        primary in prop::option::of(0..4u8),
        reselect in reselect(),
        prios in prop::array::uniform16(-1..2i32),
        delays in (0..40u64, 0..40u64),
        steps in prop::collection::vec((0..30u64, 0..4u8, event(), prop::option::of(0..3u32)), 0..80),
    ) {
        let policy = Policy::new(mode, 1, primary).prefer(reselect, prios);
        let mut links = links(policy, 4, delays.0, delays.1);
        let mut now = 0;
        for (passed, slot, event, mbps) in steps {
            now += passed;
            let before = links.snapshot();
            if let Some(news) = links.step(slot, event, ms(now)) {
                prop_assert_eq!(news.state == Back && news.needed.is_none_or(|n| n.slot != slot),
                    links.carrier(slot).state() == Back);
                prop_assert_eq!(news.decision.snapshot, links.snapshot());
                let change = ActiveChange { from: before.active, to: links.snapshot().active };
                prop_assert_eq!(news.decision.active_changed,
                    (change.from != change.to).then_some(change));
            } else {
                prop_assert_eq!(links.snapshot(), before);
            }
            check(&links, mode, before)?;
            if event == LinkEvent::Gone(Source::Event) {
                let before = links.snapshot();
                prop_assert_eq!(links.removed(slot).snapshot, before, "nothing is left to lose");
            }
            if let Some(mbps) = mbps {
                let before = links.snapshot();
                links.speed(slot, LinkSpeed { mbps, full_duplex: true });
                check(&links, mode, before)?;
            }
            while let Some(slot) = links.due(ms(now)) {
                let before = links.snapshot();
                prop_assert!(links.step(slot, TIMER, ms(now)).is_some(), "a delay that is over");
                check(&links, mode, before)?;
            }
            prop_assert!(links.deadline().is_none_or(|deadline| deadline > ms(now)));
        }
    }
}
