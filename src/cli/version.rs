//! The version of the program and of the formats that it understands.

use std::sync::LazyLock;

/// Returns the version with the commit that the program was built from, if the build found one, and with the protocol
/// and the snapshot format, on which other programs depend.
pub(super) fn line() -> &'static str {
    static LINE: LazyLock<String> = LazyLock::new(|| {
        let (version, commit) = (env!("CARGO_PKG_VERSION"), env!("KSN_COMMIT"));
        let commit = if commit.is_empty() { String::new() } else { format!("commit {commit}, ") };
        let protocol = String::from_utf8_lossy(ksn::wire::ALPN);
        format!("{version} ({commit}protocol {protocol}, snapshot format {})", ksn::snapshot::FORMAT_VERSION)
    });
    &LINE
}
