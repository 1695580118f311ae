//! Canonicalisation (to be replaced).
/// Error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebAddressError {
    /// No host.
    #[error("a web address needs a host")]
    NoHost,
}
pub(super) fn canonicalise(text: &[u8]) -> Result<String, WebAddressError> {
    let text = String::from_utf8_lossy(text).into_owned();
    let rest = text.split_once("://").map_or(&*text, |(_, r)| r);
    let rest = rest.split('#').next().unwrap_or_default();
    if rest.is_empty() {
        return Err(WebAddressError::NoHost);
    }
    Ok(if rest.contains('/') { rest.to_string() } else { format!("{rest}/") })
}
/// The canonical URL.
pub fn canonical_url(text: &[u8]) -> Result<String, WebAddressError> {
    canonicalise(text).map(|t| format!("http://{t}"))
}
