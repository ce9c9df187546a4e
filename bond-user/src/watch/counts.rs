//! The carrier, from how often the kernel has counted it to come and go.

/// Changes of a netdev's carrier since it was registered: `carrier_up_count` and `carrier_down_count`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CarrierCounts {
    /// How often it came.
    pub up: u32,
    /// How often it went.
    pub down: u32,
}

impl CarrierCounts {
    /// How far `up` is ahead of `down`.
    const fn lead(self) -> u32 {
        self.up.wrapping_sub(self.down)
    }
}

/// What the counts are when there is a carrier.
///
/// The kernel counts a change only when there is one (`netif_carrier_on`, `netif_carrier_off`, net/sched/sch_generic.c),
/// so the two take turns. Which of them is ahead depends on what the driver did before it registered the netdev: the
/// carrier must have been known once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarrierGauge {
    /// The lead with a carrier; without one it is less by one.
    lead: u32,
}

impl CarrierGauge {
    /// A gauge from the carrier and the counts at one moment.
    #[must_use]
    pub const fn new(carrier: bool, counts: CarrierCounts) -> Self {
        Self { lead: if carrier { counts.lead() } else { counts.lead().wrapping_add(1) } }
    }

    /// The carrier at a moment between the reading of `down` and that of `up`, in this order.
    ///
    /// `None` when it came and went meanwhile: read again.
    #[must_use]
    pub const fn carrier(self, counts: CarrierCounts) -> Option<bool> {
        match self.lead.wrapping_sub(counts.lead()) {
            0 => Some(true),
            1 => Some(false),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The kernel's half: a carrier that changes, and its counts.
    #[derive(Clone, Copy)]
    struct Netdev {
        carrier: bool,
        counts: CarrierCounts,
    }

    impl Netdev {
        fn change(&mut self) {
            self.carrier = !self.carrier;
            let count = if self.carrier { &mut self.counts.up } else { &mut self.counts.down };
            *count = count.wrapping_add(1);
        }
    }

    #[test]
    fn counts_tell_the_carrier_whatever_the_driver_did_first() {
        // Without a carrier before it was registered: the first change is counted as up.
        let gauge = CarrierGauge::new(false, CarrierCounts { up: 0, down: 0 });
        let rows =
            [(0, 0, Some(false)), (1, 0, Some(true)), (1, 1, Some(false)), (2, 1, Some(true))];
        for (up, down, carrier) in rows {
            assert_eq!(gauge.carrier(CarrierCounts { up, down }), carrier, "{up} {down}");
        }
        // With one, as a netdev is made: the first change is counted as down.
        let gauge = CarrierGauge::new(true, CarrierCounts { up: 0, down: 0 });
        let rows = [(0, 0, Some(true)), (0, 1, Some(false)), (1, 1, Some(true)), (2, 1, None)];
        for (up, down, carrier) in rows {
            assert_eq!(gauge.carrier(CarrierCounts { up, down }), carrier, "{up} {down}");
        }
    }

    proptest! {
        #![proptest_config(crate::testing::property_tests())]

        #[test]
        fn what_is_told_was_so_while_it_was_read(
            carrier: bool,
            up: u32,
            down: u32,
            before in 0..5u32,
            meanwhile in 0..4u32,
        ) {
            let mut netdev = Netdev { carrier, counts: CarrierCounts { up, down } };
            let gauge = CarrierGauge::new(carrier, netdev.counts);
            (0..before).for_each(|_| netdev.change());
            let (down, mut seen) = (netdev.counts.down, vec![netdev.carrier]);
            for _ in 0..meanwhile {
                netdev.change();
                seen.push(netdev.carrier);
            }
            match gauge.carrier(CarrierCounts { up: netdev.counts.up, down }) {
                Some(told) => prop_assert!(seen.contains(&told)),
                None => prop_assert!(meanwhile >= 2),
            }
        }
    }
}
