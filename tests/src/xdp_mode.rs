//! The two ways an XDP program can run on a netdev, and a macro that runs a test in both.

/// How the bond attaches its XDP programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the kernel's generic receive path.
    Generic,
}

impl XdpMode {
    /// The name that `bond run --xdp-mode` takes and `bond show` prints.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Generic => "generic",
        }
    }
}

/// Makes two tests, `<name>::native` and `<name>::generic`, of each function `fn(XdpMode) -> anyhow::Result<()>`.
#[macro_export]
macro_rules! native_and_generic {
    ($($test:ident),+ $(,)?) => {$(
        mod $test {
            use $crate::XdpMode;

            #[test]
            #[ignore = "needs root"]
            fn native() -> anyhow::Result<()> {
                super::$test(XdpMode::Native)
            }

            #[test]
            #[ignore = "needs root"]
            fn generic() -> anyhow::Result<()> {
                super::$test(XdpMode::Generic)
            }
        }
    )+};
}
