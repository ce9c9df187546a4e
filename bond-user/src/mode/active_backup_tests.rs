use proptest::prelude::*;

use super::PrimaryReselect::{Always, Better, Failure};
use super::*;
use crate::mode::Event::{LinkDown, LinkFail, LinkUp, Primary, Removed, Speed};
use crate::mode::{Event, Mode, Policy};

fn policy(primary: Option<u8>, reselect: PrimaryReselect, prio: &[i32]) -> Policy {
    let mut prios = [0; MAX_SLAVES];
    prios[..prio.len()].copy_from_slice(prio);
    Policy::new(Mode::ActiveBackup, 1, primary).prefer(reselect, prios)
}

/// Steps through events, each with the active slave after it.
fn follow(mut policy: Policy, rows: &[(Event, u8)]) {
    for &(event, active) in rows {
        let decision = policy.step(event);
        assert_eq!(decision.snapshot.active, Some(active), "{event:?}");
    }
}

const fn speed(mbps: u32, full_duplex: bool) -> LinkSpeed {
    LinkSpeed { mbps, full_duplex }
}

#[test]
fn a_primary_takes_over_the_first_time_and_then_as_primary_reselect_says() {
    for (reselect, back) in [(Always, 1), (Failure, 0), (Better, 0)] {
        follow(
            policy(Some(1), reselect, &[]),
            &[
                (LinkUp(0), 0),
                (LinkUp(1), 1),
                (LinkDown(1), 0),
                (LinkUp(1), back),
                // The active one fails: the primary is next, whatever is configured.
                (LinkDown(0), 1),
                (LinkUp(0), 1),
                // A slave that has left comes anew.
                (Removed(1), 0),
                (LinkUp(1), 1),
                (LinkDown(1), 0),
                (LinkUp(1), back),
                (Primary(Some(1)), 1),
            ],
        );
    }
}

#[test]
fn better_is_faster_or_as_fast_with_a_better_duplex() {
    // Speed and duplex of the active slave and of the primary, and who is active then.
    let rows = [
        (speed(1000, true), speed(10_000, true), 1),
        (speed(1000, true), speed(1000, true), 0),
        (speed(1000, true), speed(100, true), 0),
        (speed(1000, false), speed(1000, true), 1),
        (speed(1000, true), speed(1000, false), 0),
        (speed(1000, true), speed(2500, false), 1),
        (speed(0, false), speed(10, false), 1),
        (speed(10, false), speed(0, false), 0),
        (speed(0, false), speed(0, false), 0),
    ];
    for (active, primary, after) in rows {
        follow(
            policy(Some(1), Better, &[]),
            &[
                (LinkUp(1), 1),
                (LinkUp(0), 1),
                (Speed(0, active), 1),
                (LinkDown(1), 0),
                // How fast a link was that is down does not count, and is not told either.
                (Speed(1, speed(99_999, true)), 0),
                (LinkUp(1), 0),
                (Speed(1, primary), after),
            ],
        );
    }
}

#[test]
fn a_short_loss_leaves_the_speed_known() {
    follow(
        policy(Some(1), Better, &[]),
        &[
            (LinkUp(1), 1),
            (LinkUp(0), 1),
            (LinkDown(1), 0),
            (Speed(0, speed(1000, true)), 0),
            (LinkUp(1), 0),
            (Speed(1, speed(1000, true)), 0),
            (LinkFail(0), 0),
            (LinkUp(0), 0),
            (LinkFail(0), 0),
            (LinkDown(0), 1),
        ],
    );
}

#[test]
fn without_a_usable_primary_the_highest_prio_is_preferred() {
    for (reselect, again) in [(Always, 2), (Failure, 0), (Better, 0)] {
        follow(
            policy(Some(3), reselect, &[-1, -1, 5, 0]),
            &[
                (LinkUp(1), 1),
                // As preferred as the active one: no reason to change.
                (LinkUp(0), 1),
                (LinkDown(1), 0),
                (LinkUp(1), 0),
                (LinkUp(2), again),
                (LinkDown(0), 2),
                // The primary comes before any prio.
                (LinkUp(3), 3),
                (LinkDown(3), 2),
                (LinkDown(2), 1),
            ],
        );
    }
}

#[test]
fn who_is_going_down_stays_until_it_is_down_or_a_preferred_one_comes_up() {
    follow(
        policy(Some(2), Failure, &[0, 0, 0, 1]),
        &[
            (LinkUp(2), 2),
            (LinkUp(0), 2),
            (LinkDown(2), 0),
            (LinkUp(2), 0),
            // The primary is up, but did not come up now.
            (LinkFail(0), 0),
            (LinkUp(1), 0),
            (LinkUp(2), 0),
            (LinkUp(3), 2),
            (LinkFail(2), 2),
            (LinkFail(2), 2),
            (LinkDown(2), 3),
            (LinkFail(2), 3),
            (LinkFail(3), 3),
            (LinkUp(2), 2),
        ],
    );
}

#[test]
fn names() {
    assert_eq!([Always, Better, Failure].map(|r| r.to_string()), ["always", "better", "failure"]);
}

proptest! {
    #![proptest_config(crate::testing::property_tests())]

    /// The sentences of the kernel's documentation, one by one.
    #[test]
    fn the_choice_is_the_kernels(
        up in 0..16u16,
        primary in prop::option::of(0..4u8),
        active in prop::option::of(0..4u8),
        reselect in prop::sample::select(&[Always, Better, Failure][..]),
        prio in prop::array::uniform16(-1..2i32),
        speeds in prop::array::uniform4(0..3u32),
    ) {
        let up = SlaveSet::from_bits(up);
        let mut choice = Choice::new(primary);
        choice.prefer(reselect, prio);
        choice.force_primary = false;
        for (slot, mbps) in (0..4).zip(speeds) {
            choice.set_speed(slot, speed(mbps, true));
        }
        let chosen = choice.choose(up, SlaveSet::EMPTY, active, None);
        let mbps = |slot: u8| speeds[usize::from(slot)];
        let highest = up.iter().map(|slot| prio[usize::from(slot)]).max();
        let primary = primary.filter(|slot| up.contains(*slot));
        match (chosen, active.filter(|slot| up.contains(*slot))) {
            (None, _) => prop_assert!(up.is_empty()),
            (Some(chosen), None) => match primary {
                Some(primary) => prop_assert_eq!(chosen, primary),
                None => {
                    prop_assert_eq!(Some(prio[usize::from(chosen)]), highest);
                    let before = up.iter().take_while(|slot| *slot < chosen);
                    prop_assert!(before.map(|slot| prio[usize::from(slot)]).max() < highest);
                }
            },
            (Some(chosen), Some(current)) if chosen == current => {
                let best = primary.is_none_or(|primary| primary == current)
                    && (primary.is_some() || Some(prio[usize::from(current)]) == highest);
                prop_assert!(best || reselect != Always);
            }
            (Some(chosen), Some(current)) => {
                prop_assert!(reselect != Failure);
                prop_assert!(reselect == Always || mbps(chosen) > mbps(current));
                match primary {
                    Some(primary) => prop_assert_eq!(chosen, primary),
                    None => prop_assert!(prio[usize::from(chosen)] > prio[usize::from(current)]),
                }
            }
        }
    }
}
