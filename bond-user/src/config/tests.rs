use super::*;

fn config() -> BondConfig {
    BondConfig {
        name: "bond0".into(),
        slaves: vec!["eth0".into(), "eth1".into()],
        mode: Mode::ActiveBackup,
        miimon: Duration::from_millis(10),
        updelay: Duration::ZERO,
        downdelay: Duration::ZERO,
        primary: None,
        primary_reselect: None,
        prio: Vec::new(),
        packets_per_slave: 1,
        xmit_hash_policy: HashPolicy::Layer2,
        weight: Vec::new(),
        all_slaves_active: false,
        num_peer_notif: 1,
        resend_igmp: 1,
        peer_notif_delay: Duration::ZERO,
        mac: None,
        xdp: XdpChoice::Auto,
        bind: BindChoice::Auto,
        queues: None,
        force: false,
        cores: Vec::new(),
        layout: Layout::RunToCompletion,
        poll: Poll::Adaptive,
    }
}

fn refused(change: impl FnOnce(&mut BondConfig)) -> String {
    let mut config = config();
    change(&mut config);
    config.validate().unwrap_err().to_string()
}

#[test]
fn the_plain_bond_is_fine() {
    assert_eq!(config().validate(), Ok(()));
}

#[test]
fn names_are_checked_before_the_kernel_is_asked() {
    assert_eq!(
        refused(|c| c.name = "bond0123456789".into()),
        "bond name \"bond0123456789\" is too long: 11 characters at most, so that bond0123456789-xsk is still an interface name"
    );
    assert!(refused(|c| c.name = "a/b".into()).starts_with("\"a/b\" is no interface name"));
    assert!(
        refused(|c| c.slaves = vec!["much-too-long-name".into()]).contains("is no interface name")
    );
    assert_eq!(
        refused(|c| c.slaves[1] = "eth0".into()),
        "interface eth0 is named twice: each slave once"
    );
    assert!(refused(|c| c.slaves[1] = "bond0".into()).contains("slave of itself"));
    assert!(refused(|c| c.slaves.clear()).contains("at least one slave"));
    assert!(
        refused(|c| c.slaves = (0..17).map(|i| format!("e{i}")).collect()).contains("16 at most")
    );
}

#[test]
fn options_that_cannot_work_together_are_refused() {
    assert_eq!(
        refused(|c| c.primary = Some("eth2".into())),
        "primary eth2 is not among the slaves (eth0, eth1)"
    );
    assert_eq!(
        refused(|c| {
            c.mode = Mode::BalanceRr;
            c.primary = Some("eth0".into());
        }),
        "--primary works in mode active-backup, not in balance-rr"
    );
    assert_eq!(
        refused(|c| {
            c.mode = Mode::BalanceRr;
            c.primary_reselect = Some(PrimaryReselect::Always);
        }),
        "--primary-reselect works in mode active-backup, not in balance-rr"
    );
    assert_eq!(
        refused(|c| {
            c.mode = Mode::BalanceRr;
            c.prio = prio(&[("eth0", 1)]);
        }),
        "--prio works in mode active-backup, not in balance-rr"
    );
    assert_eq!(
        refused(|c| c.prio = prio(&[("eth1", 1), ("eth2", -5)])),
        "--prio eth2=-5: eth2 is not among the slaves (eth0, eth1)"
    );
    assert_eq!(
        refused(|c| c.prio = prio(&[("eth0", 1), ("eth1", 1), ("eth0", 2)])),
        "--prio names eth0 twice: each slave once"
    );
    assert!(refused(|c| c.miimon = Duration::ZERO).contains("1 ms or more"));
    assert!(refused(|c| c.mac = Some(Mac([1, 0, 0, 0, 0, 0]))).contains("unicast"));
}

fn prio(given: &[(&str, i32)]) -> Vec<(String, i32)> {
    given.iter().map(|(name, prio)| ((*name).to_owned(), *prio)).collect()
}

#[test]
fn a_slave_without_a_prio_has_0() {
    let config = BondConfig {
        prio: prio(&[("eth1", i32::MIN)]),
        primary_reselect: Some(PrimaryReselect::Failure),
        ..config()
    };
    assert_eq!(config.validate(), Ok(()));
    assert_eq!((config.prio_of("eth0"), config.prio_of("eth1")), (0, i32::MIN));
}

#[test]
fn weights_are_of_slaves_in_modes_that_share() {
    let given = |mode, weights: &[(&str, u8)]| BondConfig {
        mode,
        weight: weights.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect(),
        ..config()
    };
    let three = given(Mode::BalanceXor, &[("eth1", 3)]);
    assert_eq!(three.validate(), Ok(()));
    let mut weights = [1; 16];
    weights[1] = 3;
    assert_eq!(three.weights().to_bytes(), weights);
    let refused = |mode, weights| given(mode, weights).validate().unwrap_err().to_string();
    assert_eq!(
        refused(Mode::BalanceRr, &[("eth1", 3), ("eth2", 1)]),
        "--weight eth2=1: eth2 is not among the slaves (eth0, eth1)"
    );
    assert_eq!(
        refused(Mode::BalanceRr, &[("eth1", 3), ("eth1", 1)]),
        "--weight names eth1 twice: each slave once"
    );
    assert_eq!(
        refused(Mode::ActiveBackup, &[("eth1", 3)]),
        "--weight works in modes balance-rr and balance-xor, not in active-backup"
    );
}

#[test]
fn one_worker_a_core() {
    let cores = |queues, cores: &[usize]| {
        BondConfig { queues, cores: cores.to_vec(), ..config() }.worker_cores(&[0, 1, 3])
    };
    assert_eq!(cores(None, &[]), Ok(vec![0]));
    assert_eq!(cores(Some(2), &[]), Ok(vec![0, 1]));
    assert_eq!(cores(None, &[3, 1]), Ok(vec![3, 1]));
    assert_eq!(cores(Some(2), &[3, 1]), Ok(vec![3, 1]));
    assert_eq!(
        cores(Some(4), &[]).unwrap_err().to_string(),
        "4 queue(s) need 4 cores and this process may use 3: lower --queues"
    );
    assert_eq!(cores(Some(65), &[]), Err(ConfigError::TooManyQueues(65)));
    assert_eq!(cores(None, &[1, 1]), Err(ConfigError::RepeatedCore(1)));
    assert_eq!(cores(None, &[2]), Err(ConfigError::NoCore { core: 2, available: vec![0, 1, 3] }));
    assert_eq!(
        cores(Some(1), &[0, 1]).unwrap_err().to_string(),
        "1 queues need 1 cores, and 2 are given: one worker owns one queue of bond0"
    );
}

#[test]
fn one_pipeline_a_pair_of_cores() {
    let cores = |queues, cores: &[usize], available: &[usize]| {
        let (cores, layout) = (cores.to_vec(), Layout::Pipeline);
        let config = BondConfig { queues, cores, layout, ..config() };
        config.worker_cores(available).map_err(|error| error.to_string())
    };
    let all = [0, 1, 3, 4];
    assert_eq!(cores(None, &[], &all), Ok(vec![0, 1]));
    assert_eq!(cores(Some(2), &[], &all), Ok(vec![0, 1, 3, 4]));
    assert_eq!(cores(None, &[3, 1], &all), Ok(vec![3, 1]));
    assert_eq!(cores(Some(2), &[4, 3, 1, 0], &all), Ok(vec![4, 3, 1, 0]));
    let refused = |error: &str| Err(error.to_owned());
    assert_eq!(
        cores(None, &[0, 1, 3], &all),
        refused(
            "--layout pipeline takes cores in pairs (poller,egress), and 3 are given: name one more or one less, or use --layout run-to-completion"
        )
    );
    assert_eq!(
        cores(None, &[], &[0]),
        refused(
            "1 queue(s) need 2 cores (poller and egress) and this process may use 1: use --layout run-to-completion"
        )
    );
    assert_eq!(
        cores(Some(3), &[], &all),
        refused(
            "3 queue(s) need 6 cores (poller and egress) and this process may use 4: lower --queues"
        )
    );
    assert_eq!(
        cores(Some(2), &[0, 1], &all),
        refused(
            "2 queues need 4 cores (poller and egress), and 2 are given: one worker owns one queue of bond0"
        )
    );
}
