use LinkState::{Back, Down, Fail, Up};
use Source::{Event, Poll};
use proptest::prelude::*;

use super::*;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const fn carrier(carrier: bool, source: Source) -> LinkEvent {
    LinkEvent::Carrier(Evidence { carrier, source })
}

const LOST: LinkEvent = carrier(false, Poll);
const FOUND: LinkEvent = carrier(true, Poll);

fn delayed(updelay: u64, downdelay: u64) -> Carrier {
    Carrier::new(Delays { updelay: ms(updelay), downdelay: ms(downdelay) })
}

/// Time in ms and event; the new state if there is one, when the delay is over, and the failures counted.
type Row = (u64, LinkEvent, Option<LinkState>, Option<u64>, u32);

fn follow(link: &mut Carrier, rows: &[Row]) {
    for &(at, event, news, deadline, failures) in rows {
        assert_eq!(link.step(event, ms(at)), news, "{event:?} at {at} ms");
        assert_eq!(link.deadline(), deadline.map(ms), "after {event:?} at {at} ms");
        assert_eq!(link.link_failure_count(), failures, "after {event:?} at {at} ms");
    }
}

#[test]
fn without_delays_whoever_sees_it_first_decides() {
    let mut link = Carrier::new(Delays::default());
    let rows = [
        (0, false, Poll, None, 0),
        (10, true, Event, Some(Up), 0),
        (20, true, Poll, None, 0),
        (30, false, Poll, Some(Down), 1),
        (31, false, Event, None, 1),
        (50, true, Poll, Some(Up), 1),
        (50, true, Event, None, 1),
        (60, false, Event, Some(Down), 2),
        (70, false, Poll, None, 2),
    ];
    for (at, up, source, news, failures) in rows {
        follow(&mut link, &[(at, carrier(up, source), news, None, failures)]);
        assert_eq!(link.has_carrier(), up, "at {at} ms");
    }
    assert_eq!(link.seen(), Some(Seen { carrier: false, source: Event, since: ms(60) }));
}

#[test]
fn down_from_the_start_is_no_failure() {
    let mut link = delayed(200, 100);
    let rows = [
        (5, LOST, None, None, 0),
        (900, LinkEvent::Timer, None, None, 0),
        (901, LinkEvent::Needed, None, None, 0),
        (902, LinkEvent::Gone(Event), None, None, 0),
    ];
    follow(&mut link, &rows);
    assert_eq!((link.state(), link.seen()), (Down, None));
}

#[test]
fn downdelay_bridges_a_short_loss_and_ends_a_long_one_on_time() {
    let mut link = delayed(0, 100);
    follow(
        &mut link,
        &[
            (0, FOUND, Some(Up), None, 0),
            (1000, LOST, Some(Fail), Some(1100), 0),
            (1001, carrier(false, Event), None, Some(1100), 0),
            (1099, LinkEvent::Timer, None, Some(1100), 0),
            (1099, FOUND, Some(Up), None, 0),
            // The next loss has all of its delay again.
            (1100, LOST, Some(Fail), Some(1200), 0),
            (1200, LinkEvent::Timer, Some(Down), None, 1),
            (1300, LinkEvent::Timer, None, None, 1),
            (1400, FOUND, Some(Up), None, 1),
        ],
    );
}

#[test]
fn what_is_seen_when_the_delay_is_over_counts_before_it() {
    let mut link = delayed(100, 100);
    follow(
        &mut link,
        &[
            (0, FOUND, Some(Back), Some(100), 0),
            (100, LOST, Some(Down), None, 1),
            (200, FOUND, Some(Back), Some(300), 1),
            (300, FOUND, Some(Up), None, 1),
            (400, LOST, Some(Fail), Some(500), 1),
            (507, FOUND, Some(Up), None, 1),
            (600, LOST, Some(Fail), Some(700), 1),
            (700, LOST, Some(Down), None, 2),
        ],
    );
}

#[test]
fn a_loss_during_updelay_is_a_failure_and_the_delay_begins_anew() {
    let mut link = delayed(200, 100);
    follow(
        &mut link,
        &[
            (0, FOUND, Some(Back), Some(200), 0),
            // No downdelay for what is not up.
            (150, LOST, Some(Down), None, 1),
            (160, FOUND, Some(Back), Some(360), 1),
            (359, LinkEvent::Timer, None, Some(360), 1),
            (360, LinkEvent::Timer, Some(Up), None, 1),
        ],
    );
}

#[test]
fn updelay_ends_when_the_slave_is_needed() {
    let mut link = delayed(200, 100);
    follow(
        &mut link,
        &[
            (0, LinkEvent::Needed, None, None, 0),
            (10, FOUND, Some(Back), Some(210), 0),
            (11, LinkEvent::Needed, Some(Up), None, 0),
            (12, LinkEvent::Needed, None, None, 0),
            (20, LOST, Some(Fail), Some(120), 0),
            (21, LinkEvent::Needed, None, Some(120), 0),
        ],
    );
}

#[test]
fn a_netdev_that_is_gone_is_down_at_once() {
    let mut link = delayed(200, 100);
    follow(
        &mut link,
        &[
            (0, FOUND, Some(Back), Some(200), 0),
            (50, LinkEvent::Gone(Poll), Some(Down), None, 1),
            (60, FOUND, Some(Back), Some(260), 1),
            (260, LinkEvent::Timer, Some(Up), None, 1),
            (300, LinkEvent::Gone(Event), Some(Down), None, 2),
            (310, LinkEvent::Gone(Event), None, None, 2),
            (400, FOUND, Some(Back), Some(600), 2),
            (600, LinkEvent::Timer, Some(Up), None, 2),
            (700, LOST, Some(Fail), Some(800), 2),
            (710, LinkEvent::Gone(Event), Some(Down), None, 3),
        ],
    );
    assert_eq!(link.seen(), Some(Seen { carrier: false, source: Poll, since: ms(700) }));
}

#[test]
fn the_evidence_tells_what_is_and_what_comes() {
    let mut link = delayed(1500, 1500);
    assert_eq!(link.evidence(ms(900)), "no carrier yet");
    let rows = [
        (1000, carrier(true, Event), "carrier for 0.3 s, seen by link event, going up in 1.2 s"),
        (2500, LinkEvent::Timer, "carrier for 1.8 s, seen by link event"),
        (5000, LOST, "no carrier for 0.3 s, seen by carrier poll, going down in 1.2 s"),
        (6500, LinkEvent::Timer, "no carrier for 1.8 s, seen by carrier poll"),
    ];
    for (at, event, text) in rows {
        link.step(event, ms(at));
        assert_eq!(link.evidence(ms(at + 300)), text);
    }
    let texts = [Up, Fail, Down, Back].map(|state| state.to_string());
    assert_eq!(texts, ["up", "going down", "down", "going back"]);
}

fn event() -> impl Strategy<Value = LinkEvent> {
    let source = || prop_oneof![Just(Event), Just(Poll)];
    prop_oneof![
        6 => (any::<bool>(), source()).prop_map(|(up, source)| carrier(up, source)),
        4 => Just(LinkEvent::Timer),
        1 => Just(LinkEvent::Needed),
        1 => source().prop_map(LinkEvent::Gone),
    ]
}

proptest! {
    #![proptest_config(crate::testing::property_tests())]

    #[test]
    fn the_state_follows_the_carrier_within_its_delays(
        updelay in 0..50u64,
        downdelay in 0..50u64,
        steps in prop::collection::vec((0..30u64, event()), 0..100),
    ) {
        let mut link = delayed(updelay, downdelay);
        let (mut now, mut seen, mut since, mut failures) = (0, false, 0, 0);
        for (passed, event) in steps {
            now += passed;
            let before = link.state();
            let news = link.step(event, ms(now));
            let carrier = match event {
                LinkEvent::Carrier(evidence) => evidence.carrier,
                LinkEvent::Gone(_) => false,
                LinkEvent::Timer | LinkEvent::Needed => seen,
            };
            if carrier != seen {
                (seen, since) = (carrier, now);
            }
            let state = link.state();
            prop_assert_eq!(news, (state != before).then_some(state));
            failures += u32::from(news == Some(Down));
            prop_assert_eq!(link.link_failure_count(), failures);
            prop_assert_eq!(link.has_carrier(), seen);
            // Up and back have a carrier, the others have none; no delay is longer than it should be.
            prop_assert_eq!(matches!(state, Up | Back), seen);
            let delay = match state {
                Back => Some(updelay),
                Fail => Some(downdelay),
                Up | Down => None,
            };
            prop_assert_eq!(link.deadline(), delay.map(|delay| ms(since + delay)));
            prop_assert!(link.deadline().is_none_or(|deadline| deadline > ms(now)));
            // Only a delay, a need or a recovery leads up, and only a delay or a netdev that is gone from up to down.
            if news == Some(Up) && event != LinkEvent::Needed && before != Fail {
                prop_assert!(now >= since + updelay);
            }
            if news == Some(Down) && matches!(before, Up | Fail) && !matches!(event, LinkEvent::Gone(_)) {
                prop_assert!(now >= since + downdelay);
            }
        }
    }
}
