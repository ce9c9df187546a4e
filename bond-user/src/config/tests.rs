use super::*;

fn config() -> BondConfig {
    BondConfig {
        name: "bond0".into(),
        slaves: vec!["eth0".into(), "eth1".into()],
        mode: Mode::ActiveBackup,
        miimon: Duration::from_millis(10),
        primary: None,
        packets_per_slave: 1,
        mac: None,
        xdp: XdpChoice::Auto,
        bind: BindChoice::Auto,
        queues: None,
        force: false,
        cores: Vec::new(),
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
    assert!(refused(|c| c.miimon = Duration::ZERO).contains("1 ms or more"));
    assert!(refused(|c| c.mac = Some(Mac([1, 0, 0, 0, 0, 0]))).contains("unicast"));
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
    assert_eq!(cores(Some(4), &[]), Err(ConfigError::TooFewCores { queues: 4, available: 3 }));
    assert_eq!(cores(Some(65), &[]), Err(ConfigError::TooManyQueues(65)));
    assert_eq!(cores(None, &[1, 1]), Err(ConfigError::RepeatedCore(1)));
    assert_eq!(cores(None, &[2]), Err(ConfigError::NoCore { core: 2, available: vec![0, 1, 3] }));
    assert_eq!(
        cores(Some(1), &[0, 1]),
        Err(ConfigError::QueuesCores { name: "bond0".into(), queues: 1, cores: 2 })
    );
}
