//! A network namespace for a test, which leaves nothing behind.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::Link;

/// Runs `test` in a thread with a network namespace of its own; the namespace ends with the thread.
pub(crate) fn in_netns<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = thread::spawn(|| {
        // SAFETY: only the network namespace is unshared; memory and file descriptors stay shared with the process.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
            .expect("a network namespace takes CAP_SYS_ADMIN");
        test()
    });
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Runs a command in the calling thread's network namespace and returns what it prints.
pub(crate) fn run(command: &str) -> String {
    let mut words = command.split_whitespace();
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Waits at most two seconds for something the kernel does soon.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(2);
    while !condition() {
        assert!(Instant::now() < deadline, "not within two seconds: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A netdev called `if<index>`, of no kind, down.
pub(crate) fn link_with(index: u32) -> Link {
    let attributes: Vec<u8> = [
        (libc::IFLA_IFNAME, format!("if{index}\0").into_bytes()),
        (libc::IFLA_MTU, 1500u32.to_ne_bytes().to_vec()),
    ]
    .into_iter()
    .flat_map(|(kind, value)| {
        let length = u16::try_from(4 + value.len()).unwrap();
        let mut attribute = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        attribute.extend(value);
        attribute.resize(attribute.len().next_multiple_of(4), 0);
        attribute
    })
    .collect();
    let mut payload = vec![0; 16];
    payload[4..8].copy_from_slice(&index.to_ne_bytes());
    payload.extend(attributes);
    Link::parse(&payload).unwrap().unwrap()
}
